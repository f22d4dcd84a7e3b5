"""Stage `features`: normalised frames of a clip → what the frozen part of the network makes of them, once.

With `mode: cut` the map at the cut, with `pooled` the vectors behind the whole backbone, of every segment, for every
augmentation that training may draw. The pixels are those that the pack holds. Everything that can change a feature is
in the key, and nothing else: the frames, crop and input size, the segments, the backbone, its weights and its cut, and
the augmentations; neither who is tracked nor the mask, the attention, the head or how it is trained. That is why the
stage works on single clips and reads their frames, not the pack: a pack is another one with every mask and label.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_catalog.datasets.records import ClipRecord
from data_catalog.features.mapped_features import Version, write_features
from data_catalog.media.frame_codec import decode_frames
from data_catalog.memory import kept_memory
from data_catalog.pack.file import shifted_times
from data_catalog.store import Store
from models.backbones import BACKBONES, I3D_SPLITS
from tasks.engine.config import StageConfig
from tasks.engine.errors import BadClip
from tasks.engine.job import Context, Job, Outcome, Product
from tasks.engine.stage import Stage, read_parent
from tasks.masks import MasksConfig
from tasks.pack import PackConfig, network_frames
from tasks.training.config import ModelConfig, TrainConfig
from tasks.training.first_weights import model_form, model_weights
from tasks.training.network import FROZEN_SEED, build_network

# Torch takes seconds to import, and the stages are imported by every command: functions import it.
if TYPE_CHECKING:
    from models.score_network import ScoreNetwork
    from models.tsanet import FrozenPart

STAGE_VERSION = 1
"""1: float16, channels last."""

FROZEN: dict[str, FrozenPart] = {"none": "none", "cut": "stage1", "pooled": "backbone", "own": "none"}
"""What of the backbone is frozen in each mode."""


class FeaturesConfig(StageConfig):
    """Whether a part of the backbone is frozen, and what it makes of each clip computed once and kept."""

    mode: Literal["none", "cut", "pooled", "own"] = Field(
        "none",
        description="none trains on pixels. cut freezes the backbone up to its split and keeps the map there: what "
        "stands behind it, the attention and the head are trained. pooled freezes all of it and keeps vectors: only "
        "the head is trained, without attention. own is for datasets of `tubeflow ingest features`, which "
        "have no videos: temporal module and head are trained on them.",
    )


class FeaturesSettings(StageConfig):
    """What the features are made with."""

    features: FeaturesConfig = Field(FeaturesConfig(), description="What is kept.")
    model: ModelConfig = Field(ModelConfig(), description="Which network; its backbone, weights and split count.")
    train: TrainConfig = Field(TrainConfig(), description="How it is trained; which augmentations may be drawn counts.")
    masks: MasksConfig = Field(MasksConfig(), description="Its crop and segments count.")
    pack: PackConfig = Field(PackConfig(), description="Its input size counts.")

    @property
    def frozen(self) -> FrozenPart:
        """What of the backbone makes the features."""
        return FROZEN[self.features.mode]

    def key_view(self) -> dict[str, Any]:
        """What can change a feature, but for the weights file, whose digest is in the key."""
        model = self.model
        split = model.split or (I3D_SPLITS[model.compat] if model.backbone == "i3d" else None)
        view = {
            "mode": self.features.mode,
            "backbone": model.backbone,
            "split": split if self.features.mode == "cut" else None,
            "weights": None if model.weights_are_files else model.weights or f"random, seed {FROZEN_SEED}",
            "crop": self.masks.crop,
            "input_size": self.pack.input_size,
            "starts": list(self.masks.starts),
            "segment_length": self.masks.segment_length,
        }
        if (origin := BACKBONES.origin(model.backbone)) is not None:
            view["backbone_plugin"] = origin
        return {"features": view}


def clip_versions(clip: ClipRecord, config: FeaturesSettings) -> tuple[Version, ...]:
    """The augmentations of a clip that features are made for: as it is evaluated, and all that training may draw."""
    training = config.train
    found = {(False, training.eval_shift)}
    if clip.split == "train":
        flips = [flip for flip, possible in ((False, training.flip < 1), (True, training.flip > 0)) if possible]
        found |= set(product(flips, range(training.shift[0], training.shift[1] + 1)))
    return tuple(sorted(found))


def feature_shape(config: FeaturesSettings, weights: Path) -> tuple[int, ...]:
    """Shape of one version of a clip's features: (N, T, Hf, Wf, C) or (N, F); `weights` is the weights folder.

    Raises:
        WeightsError: the size depends on weights that aren't there.
    """
    from models.backbones import build_backbone

    form = model_form(config.model, weights)
    network = build_backbone(config.model.backbone, config.key_view()["features"]["split"], form=form)
    segments = len(config.masks.starts)
    if config.features.mode == "pooled":
        return segments, network.features
    return segments, network.steps, *network.grid, network.channels


def feature_bytes(config: FeaturesSettings, weights: Path) -> int:
    """Bytes of one version of a clip's features; as `feature_shape`."""
    return int(np.prod(feature_shape(config, weights))) * np.dtype(np.float16).itemsize


@functools.lru_cache(maxsize=1)
def _network(
    model: str, weights: Path | None, digests: tuple[str, ...], starts: tuple[int, ...], frozen: FrozenPart, device: str
) -> ScoreNetwork:
    """One network a process; `_one_at_a_time` keeps threads from building or using it together.

    `digests` are of the weights' files, so that another file in its place is another network.
    """
    from models.score_network import ScoreNetwork

    config = ModelConfig.model_validate_json(model)
    file = None if weights is None else str(weights)
    network = build_network(config.model_copy(update={"weights": file or config.weights}), FROZEN_SEED, frozen)
    return ScoreNetwork(network, starts).eval().to(device)


_one_at_a_time = threading.Lock()


def _frozen_network(config: FeaturesSettings, context: Context, digests: Mapping[str, str]) -> ScoreNetwork:
    # The features are the same whatever stands behind them, so that networks of many experiments share one.
    kept = {name: getattr(config.model, name) for name in ("backbone", "split", "weights", "compat")}
    model = ModelConfig(attention="none", head="regression", **kept)
    files = list(model_weights(model, context.workspace.weights).values())
    return _network(
        json.dumps(model.model_dump(mode="json"), sort_keys=True),
        files[0] if files else None,
        tuple(digests[file.name] for file in files),
        tuple(config.masks.starts),
        config.frozen,
        context.resolved_device,
    )


def _features_jobs(jobs: Sequence[Job], config: FeaturesSettings, context: Context) -> Iterator[Outcome]:
    """Clip after clip; a shard's clips share the network."""
    with _one_at_a_time:
        network = _frozen_network(config, context, jobs[0].weights)
    with kept_memory():
        for job in jobs:
            try:
                yield job, _features_job(job, config, context, network)
            except Exception as exc:  # becomes the clip's outcome; `run_jobs` sorts out which kind
                yield job, exc


def _features_job(job: Job, config: FeaturesSettings, context: Context, network: ScoreNetwork) -> Product:
    frames = decode_frames(read_parent(job, "normalize", context).arrays)
    try:
        seen = network_frames(frames, config.masks.crop, config.pack.input_size)
    except ValueError as exc:
        raise BadClip(f"Clip '{job.clip_id}': {exc}", "Change masks.crop or normalize.width and height.") from exc
    versions: list[Version] = [(bool(flip), int(shift)) for flip, shift in job.inputs["versions"]]
    return stored(context, versions, (_made_of(network, seen, version, job) for version in versions))


def stored(context: Context, versions: Sequence[Version], made: Iterator[NDArray[np.floating]]) -> Product:
    """A clip's features in a file, as `write_features` writes them; of one that wasn't finished nothing is left."""
    file = context.workspace.store.scratch("features.h5")
    try:
        write_features(file, versions, made)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return Product(file=file)


def _made_of(network: ScoreNetwork, frames: NDArray[np.uint8], version: Version, job: Job) -> NDArray[np.float16]:
    """Features of one version of a clip: frames (L, S, S, 3) → (N, T, Hf, Wf, C) or (N, F)."""
    import torch

    flip, shift = version
    moved = frames[shifted_times(len(frames), shift)]
    moved = np.ascontiguousarray(moved[:, :, ::-1] if flip else moved)
    device = next(network.network.parameters()).device
    with torch.inference_mode(), _one_at_a_time:
        made: NDArray[np.float16] = network.features(torch.from_numpy(moved)[None].to(device))[0].cpu().numpy()
    if not np.isfinite(made).all():
        raise BadClip(
            f"What the frozen backbone makes of clip '{job.clip_id}' doesn't fit into float16.",
            "Train on pixels (features.mode=none, train.freeze=none), or take other model.weights.",
        )
    return made


def feature_files(job: Job, store: Store) -> dict[str, Path] | None:
    """File of each clip's features by clip id, for a job of a dataset stage; None where they aren't its parents."""
    if not any(STAGE.name in member.keys for member in job.members):
        return None
    return {member.clip.clip_id: store.path(STAGE.name, member.keys[STAGE.name]) for member in job.members}


def _weights(config: FeaturesSettings, folder: Path) -> Mapping[str, Path]:
    return model_weights(config.model, folder)


def _inputs(clip: ClipRecord, config: FeaturesSettings) -> dict[str, Any]:
    return {"versions": [[int(flip), shift] for flip, shift in clip_versions(clip, config)]}


STAGE = Stage(
    "features",
    STAGE_VERSION,
    ("normalize",),
    _features_jobs,
    inputs=_inputs,
    uses_device=True,
    weights=_weights,
    composed=FeaturesSettings,
)
