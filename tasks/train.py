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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import Field, model_validator

from data_catalog.pack.file import PackReader
from data_catalog.weights.registry import load_registry
from data_catalog.weights.resolve import resolve_weights
from tasks.engine.config import StageConfig
from tasks.engine.run import Context, Job, Product, Stage, each
from tasks.training.splits import ClipSplits, split_clips

if TYPE_CHECKING:
    from models.tsanet import TSANet

__all__ = ["ClipSplits", "ModelConfig", "TrainConfig", "TrainResult", "build_network", "split_clips", "train"]

logger = logging.getLogger(__name__)

STAGE_VERSION = 1
"""1: Adam on the normalised score, best epoch by Spearman (or accuracy)."""

Option = bool | int | float | str
EpochRow = dict[str, float | None]
"""Epoch number, losses, learning rate and metrics of one epoch; None where a metric is undefined."""


Share = Annotated[float, Field(ge=0, lt=1)]
WITHOUT_EFFECT = frozenset({"loggers", "workers", "checkpoint_steps", "accelerator"})
"""Fields of TrainConfig that change how training runs, not what comes out."""


def names_file(weights: str | None) -> bool:
    """Whether the weights are a file or registered, and not a name that only the backbone knows."""
    return weights is not None and (bool(Path(weights).suffix) or weights in load_registry())


class ModelConfig(StageConfig):
    """Which network; see `models.tsanet.build_tsanet`.

    Attributes:
        weights: a file, a name of `tubeflow weights list`, or a name that the backbone knows (torchvision's
            "kinetics"); None starts from random weights.
        stacks: number of attention blocks one after another. Two and more of the paper's form, which normalises
            nothing, may not train from random weights; of `affinity: softmax` they do (docs/results.md).
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
        epochs: at most; fewer with `patience`.
        patience: stop when so many epochs in a row were no better than the best one; None never does.
        batch: clips of one step over all devices together; each takes its share.
        accumulate: steps whose gradients are summed before the weights change, so that `batch * accumulate` clips
            count as one batch (for BatchNorm they stay `accumulate` batches).
        ema: decay of a moving average of the weights, which is then what is validated and kept, e.g. 0.999.
        actions: train on these actions only; None for all.
        score_range: what the score is normalised with, see `tasks.training.targets.score_scale`.
        difficulty: predict the execution and multiply by the clip's known difficulty.
        flip: probability of a horizontal flip of a training clip.
        shift: smallest and largest temporal shift of a training clip in frames; `eval_shift` that of a test
            clip.
        validation: what the best epoch is chosen by instead of the test set. A number: this share of each action's
            training clips, picked by a digest of seed and clip_id (or the pack's split named "validation", if it
            has one). A text: the split of that name. Such clips don't train.
        select_on: split whose metric chooses the best epoch; where unset, "validation" if `validation` is set and
            else "test", as published figures do.
        freeze_batchnorm: keep the statistics of the backbone's weights.
        checkpoint_steps: batches between two checkpoints within an epoch, 0 for one per epoch.
        workers: reading processes of each device.
        devices: GPUs, or on a CPU processes, among which each batch is shared (Lightning's DDP).
        strategy: how they work together; "ddp_find_unused_parameters_true" for a network of which a step may leave
            parameters out (none of ours does).
        precision: of training and of the metrics of each epoch; the evaluate stage computes in float32.
        sync_batchnorm: BatchNorm's statistics over the batches of all devices; GPUs only.
        compile: torch.compile the network, minutes before the first step (`benchmarks.train_options --compile`).
        deterministic: refuse operations whose result may differ from run to run; a CPU has none here.
        loggers: where the metrics of each epoch are written to, besides the artifact.
    """

    # What was done before these were there; `select_on` is resolved by `key_view`.
    added: ClassVar[Mapping[str, Any]] = {"patience": None, "ema": None, "compile": False}

    seed: int = 0
    epochs: int = Field(default=100, ge=1)
    patience: int | None = Field(default=None, ge=1)
    batch: int = Field(default=4, ge=1)
    accumulate: int = Field(default=1, ge=1)
    ema: float | None = Field(default=None, gt=0, lt=1)
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
    validation: Share | str = 0.0
    select_on: Literal["test", "validation"] | None = None
    freeze_batchnorm: bool = False
    checkpoint_steps: int = Field(default=100, ge=0)
    workers: int = Field(default=0, ge=0)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(default=1, ge=1)
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    sync_batchnorm: bool = False
    compile: bool = False
    deterministic: bool = False
    loggers: tuple[Literal["csv", "tensorboard", "mlflow", "wandb"], ...] = ("csv", "tensorboard")

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.shift[0] > self.shift[1]:
            raise ValueError(f"shift is (smallest, largest), got {self.shift}")
        if self.batch % self.devices:
            raise ValueError(f"a batch of {self.batch} clips cannot be shared evenly by {self.devices} devices")
        if self.validation in ("train", "test"):
            raise ValueError(f"validation clips may be no {self.validation} clips; name another split, or give a share")
        return self

    @property
    def selecting(self) -> Literal["test", "validation"]:
        """Split whose metric chooses the best epoch."""
        return self.select_on or ("validation" if self.validation else "test")

    def key_view(self) -> dict[str, Any]:
        """Without what changes how training runs and not what comes out."""
        view = {name: value for name, value in super().key_view().items() if name not in WITHOUT_EFFECT}
        view["select_on"] = self.selecting
        if isinstance(self.validation, float) and self.validation:
            view["validation"] = f"{self.validation} of each action, by clip_id"  # how the clips are drawn
        return view


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


def train(
    pack: Path,
    model: ModelConfig,
    config: TrainConfig,
    workdir: Path,
    on_epoch: Callable[[EpochRow], None] | None = None,
    gpu: int | None = None,
) -> TrainResult:
    """Train, or go on with the training whose checkpoints lie in `workdir`.

    Args:
        pack: written by `tasks.pack.write_pack`.
        workdir: belongs to this pack and this configuration alone; holds `checkpoints/` and `logs/`.
        on_epoch: called after each epoch with its row.
        gpu: number of the GPU, where there is only one to be used.

    Raises:
        ValueError: the pack does not fit the network, nothing to train on, or options that this machine doesn't have.
        DamagedPack: the pack cannot be read.
    """
    import torch

    from tasks.training.checkpoints import find_checkpoint
    from tasks.training.distributed import fit_in_processes
    from tasks.training.module import PREFIX, STATE, TubeModule
    from tasks.training.trainer import check_machine, fit

    started = time.monotonic()
    check_machine(config)
    reader = PackReader(pack)
    parts = split_clips(reader, config, model.head)
    network = build_network(model, config.seed)
    module = TubeModule(network, reader, parts, model, config, on_epoch)
    folder = workdir / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    found = find_checkpoint(folder)
    for note in found.notes:
        logger.warning(note)
    if config.devices > 1:
        fit_in_processes(pack, model, config, workdir, found.path, on_epoch)
    else:
        fit(module, config, workdir, found.path, gpu)
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


def _arrays(state: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}


class TrainView(Protocol):
    """What of the pipeline's config training sees."""

    @property
    def model(self) -> ModelConfig: ...
    @property
    def train(self) -> TrainConfig: ...


def train_config_view(config: TrainView) -> dict[str, Any]:
    """The part of the config that enters the key."""
    return {
        "model": config.model.key_view(),
        "train": config.train.key_view(),
    }


def _train_job(job: Job, config: TrainView, context: Context) -> Product:
    store = context.workspace.store
    workdir = store.work_folder("train", job.key)  # checkpoints to resume from, and the loggers' files
    workdir.mkdir(parents=True, exist_ok=True)
    device, _, number = context.resolved_device.partition(":")
    gpu = int(number) if number else None
    accelerator = "gpu" if device == "cuda" else "cpu"
    settings = config.train.model_copy(update={"accelerator": accelerator})
    start = [str(path) for path in _model_weights(config, context.workspace.weights).values()]
    model = config.model.model_copy(update={"weights": start[0]}) if start else config.model

    with FileLock(workdir / ".lock"):  # a second run of the same experiment waits, then finds the last checkpoint
        result = train(store.path("pack", job.parents["pack"]), model, settings, workdir, gpu=gpu)
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
