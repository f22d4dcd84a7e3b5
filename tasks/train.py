"""Stage `train`: a pack → a network's weights, at the last and the best epoch, and the metrics of every epoch.

Lightning runs the loop. What happens in a step depends only on (seed, epoch, step), never on what ran
before in the process, so training that was killed resumes from its last checkpoint, also in the middle of
an epoch, and on a CPU ends with the very same numbers. What this stage does not do: write weights to the
store; it returns them.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_catalog.datasets.records import ClipRecord
from data_catalog.locks import locked
from data_catalog.pack.feature_clips import FeatureClips
from data_catalog.pack.file import PackReader
from tasks.engine.config import StageConfig
from tasks.engine.job import Context, Job, Product
from tasks.engine.stage import Stage, each
from tasks.features import FeaturesConfig, feature_files
from tasks.own_features import feature_clips
from tasks.steps import StepLabels, own_steps, packed_steps
from tasks.training.config import HEAD_PLUGIN, OF_PIXELS, ON_OWN_FEATURES, EpochRow, ModelConfig, TrainConfig
from tasks.training.first_weights import first_file, model_weights
from tasks.training.targets import score_spans

if TYPE_CHECKING:
    from tasks.training.module import TubeModule

logger = logging.getLogger(__name__)

STAGE_VERSION = 1
"""1: Adam on the normalised score, best epoch by Spearman (or accuracy)."""


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What training returns.

    Attributes:
        last, best: state of the network (`TSANet.state_dict()`) as arrays, after the last epoch and after
            `best_epoch` (counted from 0): the highest Spearman, or accuracy, of the selecting split; among
            equals the smaller error, then the earlier one.
        history: one row per epoch.
        notes: sentences for the report, e.g. about a damaged checkpoint.
        resumed: name of the checkpoint from which this call resumed.
    """

    last: dict[str, NDArray[Any]]
    best: dict[str, NDArray[Any]]
    best_epoch: int
    history: tuple[EpochRow, ...]
    notes: tuple[str, ...]
    resumed: str | None
    parameters: int
    seconds: float


def train(
    pack: Path | FeatureClips,
    model: ModelConfig,
    config: TrainConfig,
    workdir: Path,
    on_epoch: Callable[[EpochRow], None] | None = None,
    gpu: int | None = None,
    features: Mapping[str, Path] | None = None,
    steps: StepLabels | None = None,
) -> TrainResult:
    """Train, or continue the training whose checkpoints lie in `workdir`.

    Args:
        pack: written by `tasks.pack.write_pack`; or clips of which there are features alone.
        workdir: belongs to this pack and this configuration alone; holds `checkpoints/` and `logs/`.
        on_epoch: called after each epoch with its row.
        gpu: number of the GPU, where there is only one to be used.
        features: file of each clip's features by clip id (`tasks.features`), made by the part of the backbone that
            `config.freeze` names; None trains on the pack's frames.
        steps: of the pack's clips, in its order, where `config.steps` learns them.

    Raises:
        ValueError: the pack does not fit the network, nothing to train on, or options that this machine doesn't have.
        DamagedPack: the pack cannot be read.
    """
    import torch

    from models.heads import FittedHead
    from tasks.training.checkpoints import find_checkpoint
    from tasks.training.distributed import fit_in_processes
    from tasks.training.module import PREFIXES, STATE, build_module
    from tasks.training.trainer import check_machine, fit

    started = time.monotonic()
    check_machine(config)
    reader = pack if isinstance(pack, FeatureClips) else PackReader(pack)
    module = build_module(reader, model, config, on_epoch, features, steps)
    if isinstance(module.network.head, FittedHead):
        result = _fitted(module, config, gpu, started)
        if on_epoch is not None:
            on_epoch(dict(result.history[0]))
        return result
    folder = workdir / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    found = find_checkpoint(folder)
    for note in found.notes:
        logger.warning(note)
    if config.devices > 1:
        if isinstance(pack, FeatureClips):
            raise ValueError("features that were made elsewhere are trained on one device; set train.devices to 1.")
        fit_in_processes(pack, model, config, workdir, found.path, on_epoch, features)
    else:
        fit(module, config, workdir, found.path, gpu)
    final = find_checkpoint(folder).path
    if final is None:
        raise OSError(f"the checkpoint that training has just written to {folder} is gone or damaged; run it again.")
    # Read back rather than taken from memory: with several processes the weights live in another one.
    saved = torch.load(final, map_location="cpu", weights_only=True)
    state = saved[STATE]
    return TrainResult(
        last=_arrays({_name(k, PREFIXES): v for k, v in saved["state_dict"].items()}),
        best=_arrays(state["best_weights"]),
        best_epoch=state["best_epoch"],
        history=tuple(state["history"]),
        notes=found.notes,
        resumed=found.path.name if found.path else None,
        parameters=sum(p.numel() for p in module.network.parameters()),
        seconds=time.monotonic() - started,
    )


def _name(name: str, prefixes: Sequence[str]) -> str:
    for prefix in prefixes:
        name = name.removeprefix(prefix)
    return name


def _fitted(module: TubeModule, config: TrainConfig, gpu: int | None, started: float) -> TrainResult:
    """What `train` returns of a head that is fitted at once: one epoch, whose weights are the last and the best."""
    import torch

    from tasks.fitted_head import fit_head

    on_gpu = config.accelerator == "gpu" or (config.accelerator == "auto" and torch.cuda.is_available())
    fit_head(module, torch.device("cuda", gpu or 0) if on_gpu else torch.device("cpu"))
    state = _arrays(module.network.state_dict())
    return TrainResult(
        last=state,
        best=state,
        best_epoch=0,
        history=tuple(module.history),
        notes=(),
        resumed=None,
        parameters=sum(p.numel() for p in module.network.parameters()),
        seconds=time.monotonic() - started,
    )


def _arrays(state: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}


class TrainSettings(StageConfig):
    """What training is configured with."""

    model: ModelConfig = Field(ModelConfig(), description="Which network.")
    train: TrainConfig = Field(TrainConfig(), description="How it is trained.")

    def key_view(self) -> dict[str, Any]:
        """Both sections."""
        return {"model": self.model.key_view(), "train": self.train.key_view()}


class TrainOnFeaturesSettings(TrainSettings):
    """What training on features is configured with; what made them reaches the key through their keys."""

    features: FeaturesConfig = Field(FeaturesConfig(), description="What the clips are read from.")

    def key_view(self) -> dict[str, Any]:
        """All three sections."""
        return {**super().key_view(), "features": self.features.key_view()}


class TrainOnOwnFeaturesSettings(TrainSettings):
    """What training on features that were made elsewhere is configured with."""

    def key_view(self) -> dict[str, Any]:
        """Both sections, without what is about a backbone and pixels."""
        view = super().key_view()
        model = {name: value for name, value in view["model"].items() if name in {*ON_OWN_FEATURES, HEAD_PLUGIN}}
        return {"model": model, "train": {name: v for name, v in view["train"].items() if name not in OF_PIXELS}}


def _train_job(job: Job, config: TrainSettings, context: Context) -> Product:
    store = context.workspace.store
    workdir = store.work_folder("train", job.key)  # checkpoints to resume from, and the loggers' files
    workdir.mkdir(parents=True, exist_ok=True)
    device, _, number = context.resolved_device.partition(":")
    gpu = int(number) if number else None
    accelerator = "gpu" if device == "cuda" else "cpu"
    settings = config.train.model_copy(update={"accelerator": accelerator})
    start = first_file(config.model, context.workspace.weights)
    model = config.model if start is None else config.model.model_copy(update={"weights": str(start)})

    own: dict[str, str] = {}
    with locked(workdir / ".lock"):  # a second run of the same experiment waits, then finds the last checkpoint
        if "pack" in job.parents:
            pack = store.path("pack", job.parents["pack"])
            steps = packed_steps(job, store) if settings.steps else None
            files = feature_files(job, store)
            result = train(pack, model, settings, workdir, gpu=gpu, features=files, steps=steps)
        else:
            clips = feature_clips(job.members, store, job.dataset)
            steps = own_steps(job, clips) if settings.steps else None
            result = train(clips, model, settings, workdir, gpu=gpu, steps=steps)
            scores = config.train.score_range, config.train.difficulty, config.train.actions
            own["score_spans"] = json.dumps(score_spans(clips.labels, *scores))  # there is no pack that would know
    arrays: dict[str, NDArray[Any]] = {"history": np.array([json.dumps(row) for row in result.history], dtype=object)}
    for name, weights in (("last", result.last), ("best", result.best)):
        arrays |= {f"{name}/{parameter}": value for parameter, value in weights.items()}
    arrays |= {} if steps is None else steps.as_arrays()
    facts = {
        "best_epoch": result.best_epoch,
        "parameters": result.parameters,
        "notes": json.dumps(result.notes),
        "train_seconds": result.seconds,
        **own,
    }
    return Product(arrays, facts, notes=result.notes)


def _no_weights(config: TrainSettings, folder: Path) -> dict[str, Path]:
    """Of a network on features that were made elsewhere, which begins from random weights."""
    return {}


def _told_of_steps(clip: ClipRecord, config: TrainSettings) -> Mapping[str, Any]:
    """A clip's steps, where they are learnt."""
    return {"steps": [list(step) for step in clip.steps]} if config.train.steps else {}


STAGE = Stage(
    "train",
    STAGE_VERSION,
    ("pack",),
    each(_train_job),
    uses_device=True,
    weights=lambda config, folder: model_weights(config.model, folder),
    inputs=_told_of_steps,
    composed=TrainSettings,
)

ON_FEATURES = replace(STAGE, parents=("pack", "features"), composed=TrainOnFeaturesSettings)
"""The same stage where `features.mode` is not none."""

ON_OWN_FEATURES_STAGE = replace(STAGE, parents=("features",), weights=_no_weights, composed=TrainOnOwnFeaturesSettings)
"""The same stage where features were made elsewhere."""


def with_steps(stage: Stage[Any]) -> Stage[Any]:
    """The same stage where steps of videos are learnt: it reads which source frame each frame is, too."""
    return replace(stage, parents=(*stage.parents, "normalize"))
