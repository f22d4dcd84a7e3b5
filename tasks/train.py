"""Train: a pack → a network's weights, at the last and at the best epoch, and the metrics of every epoch.

Lightning runs the loop. What happens in a step depends only on (seed, epoch, step), never on what ran
before in the process, so training that was killed goes on from its last checkpoint, also in the middle of
an epoch, and on a CPU ends with the very same numbers. What this stage does not do: write weights to the
store; it returns them.
"""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import Field, model_validator

from data_catalog.pack_file import PackReader
from data_catalog.weight_registry import load_registry
from data_catalog.weights import resolve_weights
from tasks.config import StageConfig
from tasks.stage import Context, Job, Product, Stage, each

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from models.tsanet import TSANet

logger = logging.getLogger(__name__)

STAGE_VERSION = 1
"""1: Adam on the normalised score, best epoch by Spearman (or accuracy)."""

Option = bool | int | float | str
EpochRow = dict[str, float | None]
"""Epoch number, losses, learning rate and metrics of one epoch; None where a metric is undefined."""


def names_file(weights: str | None) -> bool:
    """Whether the weights are a file or registered, and not a name that only the backbone knows."""
    return weights is not None and (bool(Path(weights).suffix) or weights in load_registry())


class ModelConfig(StageConfig):
    """Which network; see `models.tsanet.build_tsanet`.

    Attributes:
        weights: a file, a name of `tubeflow weights list`, or a name that the backbone knows (torchvision's
            "kinetics"); None starts from random weights.
        stacks: number of attention blocks one after another.
    """

    backbone: str = "i3d"
    split: str | None = None
    weights: str | None = None
    attention: Literal["tsa", "nonlocal", "none"] = "tsa"
    stacks: int = Field(default=1, ge=1)
    affinity: Literal["dot", "softmax"] | None = None
    attention_options: dict[str, Option] = Field(default_factory=dict)
    head: Literal["regression", "usdl", "musdl", "classification"] = "usdl"
    head_options: dict[str, Option] = Field(default_factory=dict)
    compat: Literal["paper", "released"] = "paper"

    def key_view(self) -> dict[str, Any]:
        """Without the weights' path or name, whose digest is in the key; a name that only the backbone knows stays."""
        return self.model_dump(mode="json", exclude={"weights"} if names_file(self.weights) else None)


class TrainConfig(StageConfig):
    """How it is trained. The defaults are the paper's.

    Attributes:
        actions: train on these actions only; None for all.
        score_range: what the score is normalised with, see `tasks.targets.score_scale`.
        difficulty: predict the execution and multiply by the clip's known difficulty.
        flip: probability of a horizontal flip of a training clip.
        shift: smallest and largest temporal shift of a training clip in frames; `eval_shift` that of a test
            clip.
        validation: share of the training clips held out for choosing the best epoch, when the pack has no
            split named "validation"; the clips are picked by a digest of seed and clip_id.
        select_on: split whose metric chooses the best epoch. Published figures choose on the test set.
        schedule: "cosine" lets the learning rate fall to zero over all steps.
        freeze_batchnorm: keep the statistics of the backbone's weights.
        checkpoint_steps: batches between two checkpoints within an epoch, 0 for one per epoch.
    """

    seed: int = 0
    epochs: int = Field(default=100, ge=1)
    batch: int = Field(default=4, ge=1)
    accumulate: int = Field(default=1, ge=1)
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    clip_gradient: float | None = Field(default=None, gt=0)
    actions: tuple[str, ...] | None = None
    score_range: Literal["all", "train"] | tuple[float, float] = "all"
    difficulty: bool = False
    flip: float = Field(default=0.5, ge=0, le=1)
    shift: tuple[int, int] = (0, 0)
    eval_shift: int = 0
    validation: float = Field(default=0.0, ge=0, lt=1)
    select_on: Literal["test", "validation"] = "test"
    freeze_batchnorm: bool = False
    checkpoint_steps: int = Field(default=100, ge=0)
    workers: int = Field(default=0, ge=0)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(default=1, ge=1)
    strategy: str = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    sync_batchnorm: bool = False
    deterministic: bool = False
    loggers: tuple[Literal["csv", "tensorboard", "mlflow", "wandb"], ...] = ("csv", "tensorboard")

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.shift[0] > self.shift[1]:
            raise ValueError(f"shift is (smallest, largest), got {self.shift}")
        if self.batch % self.devices:
            raise ValueError(f"a batch of {self.batch} clips cannot be shared evenly by {self.devices} devices")
        return self


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What training gives back.

    Attributes:
        last, best: state of the network (`TSANet.state_dict()`) as arrays, after the last epoch and after
            `best_epoch` (counted from 0): the highest Spearman, or accuracy, of the selecting split; among
            equals the smaller error, then the earlier one.
        history: one row per epoch.
        notes: sentences for the report, e.g. about a damaged checkpoint.
        resumed: name of the checkpoint from which this call went on.
    """

    last: dict[str, NDArray[Any]]
    best: dict[str, NDArray[Any]]
    best_epoch: int
    history: tuple[EpochRow, ...]
    notes: tuple[str, ...]
    resumed: str | None
    parameters: int
    seconds: float


@dataclass(frozen=True)
class Parts:
    """Clip numbers of the pack by what they are used for."""

    train: list[int]
    validation: list[int]
    test: list[int]


def build_network(config: ModelConfig, seed: int) -> TSANet:
    """The network with weights that depend on the seed alone; the process's random state is left as it was."""
    import torch

    from models.tsanet import build_tsanet

    options: dict[str, object] = dict(config.head_options)
    # A score reaches regression and usdl as 0 to 100 within its action's range, see TubeModule.
    unit = {"regression": "score_scale", "usdl": "score_max"}.get(config.head)
    if unit is not None:
        options.setdefault(unit, 100.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_tsanet(
            backbone=config.backbone,
            split=config.split,
            weights=config.weights,
            attention=config.attention,
            stacks=config.stacks,
            affinity=config.affinity,
            attention_options=dict(config.attention_options),
            head=config.head,
            head_options=options,
            compat=config.compat,
        )


def part_clips(reader: PackReader, config: TrainConfig, head: str) -> Parts:
    """Who trains, who chooses the best epoch, who is tested.

    Clips without the label that the head needs do not train; they are still tested, so that they get a
    prediction.

    Raises:
        ValueError: when nothing is left to train on.
    """
    from data_catalog.loader import epoch_order

    labels = reader.labels
    wanted: NDArray[np.float64] = {
        "classification": labels.label,
        "musdl": labels.judges.sum(axis=1) * labels.difficulty,
    }.get(head, labels.score)
    usable = [i for i in reader.indices("train", config.actions) if np.isfinite(wanted[i])]
    validation = reader.indices("validation", config.actions)
    if config.validation and not validation:
        held_out = epoch_order(usable, config.seed, -1)[: round(len(usable) * config.validation)]
        validation = sorted(held_out)
        usable = [i for i in usable if i not in set(held_out)]
    if not usable:
        what = {"classification": "label", "musdl": "judges and difficulty"}.get(head, "score")
        raise ValueError(
            f"no clip of split 'train' has a {what}; check the labels, or choose another model.head than '{head}'."
        )
    if config.select_on == "validation" and not validation:
        raise ValueError("train.select_on is 'validation' but there is none; set train.validation to e.g. 0.2.")
    return Parts(usable, validation, reader.indices("test", config.actions))


def train(
    pack: Path,
    model: ModelConfig,
    config: TrainConfig,
    workdir: Path,
    on_epoch: Callable[[EpochRow], None] | None = None,
) -> TrainResult:
    """Train, or go on with the training whose checkpoints lie in `workdir`.

    Args:
        pack: written by `tasks.pack.write_pack`.
        workdir: belongs to this pack and this configuration alone; holds `checkpoints/` and `logs/`.
        on_epoch: called after each epoch with its row.

    Raises:
        ValueError: the pack does not fit the network, or nothing to train on.
        DamagedPack: the pack cannot be read.
    """
    import torch

    from tasks.checkpoints import find_checkpoint
    from tasks.lightning_module import PREFIX, STATE, TubeModule

    started = time.monotonic()
    reader = PackReader(pack)
    parts = part_clips(reader, config, model.head)
    network = build_network(model, config.seed)
    module = TubeModule(network, reader, parts, model, config, on_epoch)
    folder = workdir / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    found = find_checkpoint(folder)
    for note in found.notes:
        logger.warning(note)
    with _quiet_lightning():
        trainer = _trainer(config, workdir, folder)
        trainer.fit(module, ckpt_path=found.path, weights_only=True)
    final = find_checkpoint(folder).path
    if final is None:
        raise OSError(f"the checkpoint that training has just written to {folder} is gone or damaged; run it again.")
    # Read back rather than taken from memory: with several processes the weights live in another one.
    saved = torch.load(final, map_location="cpu", weights_only=True)
    state = saved[STATE]
    return TrainResult(
        last=_arrays({k.removeprefix(PREFIX): v for k, v in saved["state_dict"].items()}),
        best=_arrays(state["best_weights"]),
        best_epoch=state["best_epoch"],
        history=tuple(state["history"]),
        notes=found.notes,
        resumed=found.path.name if found.path else None,
        parameters=sum(p.numel() for p in network.parameters()),
        seconds=time.monotonic() - started,
    )


def _trainer(config: TrainConfig, workdir: Path, checkpoints: Path) -> Trainer:
    from lightning.pytorch import Trainer

    from tasks.checkpoints import DurableCheckpoints

    # Gradients that are still being accumulated are in no checkpoint: save between two optimiser steps only.
    every = -(-config.checkpoint_steps // config.accumulate) * config.accumulate
    # Scripts cannot be started again from inside a flow, so several devices mean spawned processes.
    strategy = "ddp_spawn" if config.devices > 1 and config.strategy == "auto" else config.strategy
    return Trainer(
        max_epochs=config.epochs,
        accelerator=config.accelerator,
        devices=config.devices,
        strategy=strategy,
        precision=config.precision,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.clip_gradient,
        sync_batchnorm=config.sync_batchnorm,
        deterministic=config.deterministic,
        callbacks=[DurableCheckpoints(checkpoints, every)],
        logger=[_logger(name, workdir / "logs") for name in config.loggers],
        default_root_dir=workdir,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        use_distributed_sampler=False,
    )


def _logger(name: str, folder: Path) -> Any:
    from lightning.pytorch import loggers

    folder.mkdir(parents=True, exist_ok=True)
    if name == "csv":
        return loggers.CSVLogger(folder, name="csv", version="")
    if name == "tensorboard":
        return loggers.TensorBoardLogger(folder, name="tensorboard", version="")
    if name == "mlflow":
        return loggers.MLFlowLogger(experiment_name="tubeflow", tracking_uri=(folder / "mlflow").as_uri())
    return loggers.WandbLogger(project="tubeflow", save_dir=folder)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """No banners and tips; what matters is reported by us."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _arrays(state: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}


class TrainView(Protocol):
    """What of the pipeline's config training sees."""

    @property
    def model(self) -> ModelConfig: ...
    @property
    def train(self) -> TrainConfig: ...


WITHOUT_EFFECT = {"loggers", "workers", "checkpoint_steps", "accelerator"}
"""Fields of TrainConfig that change how training runs, not what comes out."""


def train_config_view(config: TrainView) -> dict[str, Any]:
    """The part of the config that enters the key."""
    return {
        "model": config.model.key_view(),
        "train": config.train.model_dump(mode="json", exclude=WITHOUT_EFFECT),
    }


def _train_job(job: Job, config: TrainView, context: Context) -> Product:
    store = context.workspace.store
    workdir = store.work_folder("train", job.key)  # checkpoints to resume from, and the loggers' files
    workdir.mkdir(parents=True, exist_ok=True)
    accelerator = "gpu" if context.resolved_device.startswith("cuda") else "cpu"
    settings = config.train.model_copy(update={"accelerator": accelerator})
    start = [str(path) for path in _model_weights(config, context.workspace.weights).values()]
    model = config.model.model_copy(update={"weights": start[0]}) if start else config.model

    with FileLock(workdir / ".lock"):  # a second run of the same experiment waits, then finds the last checkpoint
        result = train(store.path("pack", job.parents["pack"]), model, settings, workdir)
    arrays: dict[str, NDArray[Any]] = {"history": np.array([json.dumps(row) for row in result.history], dtype=object)}
    for name, weights in (("last", result.last), ("best", result.best)):
        arrays |= {f"{name}/{parameter}": value for parameter, value in weights.items()}
    facts = {
        "best_epoch": result.best_epoch,
        "parameters": result.parameters,
        "notes": json.dumps(result.notes),
        "train_seconds": result.seconds,
    }
    return Product(arrays, facts, notes=result.notes)


def _model_weights(config: TrainView, folder: Path) -> dict[str, Path]:
    """The file that the network starts from, unless it is a name that the backbone itself knows.

    Raises:
        WeightsError: the file is not there, or the registered weights were not pulled yet.
    """
    name = config.model.weights
    if name is None or not names_file(name):
        return {}
    file = resolve_weights(name, folder)
    return {file.name: file}


STAGE = Stage(
    "train",
    STAGE_VERSION,
    ("pack",),
    each(_train_job),
    uses_device=True,
    weights=_model_weights,
    config_view=train_config_view,
)
