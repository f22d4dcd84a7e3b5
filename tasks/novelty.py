"""Stage `novelty`: weights and the clips that they were trained on → how unlike those a new clip may be.

The pooled features of each training clip are kept, and the distance that 95 of 100 clips of their kind stay within.
That distance is found on clips that are held out: those of split validation where there are enough, else the training
clips in folds, each compared with the others' only. A run doesn't make it; `predict` does, for the weights that it
scores with, when it is asked for the first time.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_catalog.atomic import replacing
from data_catalog.locks import locked
from data_catalog.pack.feature_clips import FeatureClips
from data_catalog.pack.file import PackReader
from models.clip_kind import conformal_bound, fewest, fit_kind
from tasks.engine.config import StageConfig
from tasks.engine.job import Context, Job, Product
from tasks.engine.progress import report
from tasks.engine.stage import Stage, each, read_parent
from tasks.features import feature_files
from tasks.own_features import feature_clips
from tasks.trained import State, batches_for, build_feature_scorer, build_scorer, state_of
from tasks.training.config import ModelConfig, TrainConfig
from tasks.training.splits import split_clips

# Torch takes seconds to import: functions import it.
if TYPE_CHECKING:
    from data_catalog.features.mapped_features import FeatureReader
    from tasks.training.scorer import ClipScorer, FeatureScorer

STAGE_VERSION = 1
"""1: Mahalanobis' distance of features of length 1, bound by a conformal quantile."""

CHUNK = 32
"""Clips whose features are kept at once, so that a killed computation goes on behind them."""
SPAN = (0.0, 1.0)
"""Of scores, which nobody looks at here."""


class NoveltySettings(StageConfig):
    """What is compared; `model` and `train` reach the key through the key of the training."""

    model: ModelConfig = Field(ModelConfig(), description="Which network was trained.")
    train: TrainConfig = Field(TrainConfig(), description="How it was trained.")
    weights: Literal["last", "best"] = Field("last", description="Of which epoch.")
    coverage: float = Field(0.95, gt=0, lt=1, description="Share of clips of the training's kind that pass for such.")
    folds: int = Field(5, ge=2, description="Into how many folds training clips are parted.")
    most: int = Field(500, ge=2, description="Clips of a split that are looked at, at most.")

    def key_view(self) -> dict[str, Any]:
        """All but model and train."""
        return self.model_dump(mode="json", exclude={"model", "train"})


def clip_vectors(
    scorer: ClipScorer | FeatureScorer,
    reader: PackReader | FeatureClips,
    indices: Sequence[int],
    eval_shift: int,
    features: FeatureReader | None = None,
    folder: Path | None = None,
) -> NDArray[np.float32]:
    """Pooled features of clips, on the device where the scorer is.

    Args:
        scorer: made for these clips.
        reader: the pack, or clips of which there are features alone.
        indices: numbers of the clips.
        eval_shift: frames by which a clip is moved in time.
        features: read instead of the pack's frames.
        folder: where what is done is kept, to go on there after a kill; it belongs to these arguments alone.

    Returns:
        (n, F) float32.
    """
    found = []
    for start in range(0, len(indices), CHUNK):
        report("novelty", start, len(indices))
        chunk = indices[start : start + CHUNK]
        file = None if folder is None else folder / f"{start}.npy"
        vectors = None if file is None else _kept(file, len(chunk))
        if vectors is None:
            vectors = _chunk_vectors(scorer, reader, chunk, eval_shift, features)
            if file is not None:
                with replacing(file) as path, path.open("wb") as out:
                    np.save(out, vectors, allow_pickle=False)
        found.append(vectors)
    report("novelty", len(indices), len(indices))
    return np.concatenate(found)


def _kept(file: Path, clips: int) -> NDArray[np.float32] | None:
    """What an earlier computation left, (clips, P); None where it left nothing that can be used."""
    try:
        vectors: NDArray[np.float32] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return vectors if vectors.dtype == np.float32 and vectors.shape[:1] == (clips,) else None


def _chunk_vectors(
    scorer: ClipScorer | FeatureScorer,
    reader: PackReader | FeatureClips,
    indices: Sequence[int],
    eval_shift: int,
    features: FeatureReader | None,
) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        batches = batches_for(scorer, reader, indices, eval_shift, features=features)
        return np.concatenate([scorer.clip_features(clips).float().cpu().numpy() for clips in batches])


def vectors_of(
    clips: PackReader | FeatureClips,
    state: State,
    model: ModelConfig,
    training: TrainConfig,
    device: str,
    indices: Sequence[int] | None = None,
    features: Mapping[str, Path] | None = None,
    folder: Path | None = None,
) -> NDArray[np.float32]:
    """Pooled features of clips, of a trained network; of all clips where `indices` is None.

    Args:
        clips: of a pack, or of which there are features alone.
        state: trained weights.
        model, training: the configuration of that training.
        device: where the network runs.
        indices: numbers of the clips.
        features: file of each clip's features by clip id, read instead of the pack's frames.
        folder: as of `clip_vectors`.

    Returns:
        (n, F) float32.

    Raises:
        ValueError: weights, network and clips don't fit together.
    """
    scorer: ClipScorer | FeatureScorer
    stored = None
    if isinstance(clips, FeatureClips):
        scorer, shift = build_feature_scorer(clips, state, model, training, SPAN).to(device), 0
    else:
        scorer, shift = build_scorer(clips, state, model, training, SPAN).to(device), training.eval_shift
        if features is not None:
            from data_catalog.features.mapped_features import FeatureReader

            stored = FeatureReader([features[clip] for clip in clips.labels.clip_id])
    chosen = range(len(clips)) if indices is None else indices
    return clip_vectors(scorer, clips, list(chosen), shift, stored, folder)


def in_turn(clip_ids: Sequence[str], seed: int) -> list[int]:
    """Places of clips in an order that a digest of seed and clip_id draws, whatever order they are in."""

    def turn(place: int) -> bytes:
        return hashlib.blake2b(f"{seed}:novelty:{clip_ids[place]}".encode(), digest_size=16).digest()

    return sorted(range(len(clip_ids)), key=turn)


def cross_distances(
    vectors: NDArray[np.floating], clip_ids: Sequence[str], seed: int, folds: int
) -> NDArray[np.float64]:
    """Distance of each clip to the kind of those in other folds: (n, F) to (n,).

    Raises:
        ValueError: fewer clips than can be parted, or all of them are the same.
    """
    fold = np.empty(len(vectors), np.int64)
    fold[in_turn(clip_ids, seed)] = np.arange(len(vectors)) % folds
    found = np.empty(len(vectors))
    for number in range(min(folds, len(vectors))):
        mine = fold == number
        found[mine] = fit_kind(vectors[~mine]).distance(vectors[mine])
    return found


def _novelty_job(job: Job, config: NoveltySettings, context: Context) -> Product:
    store = context.workspace.store
    of_pack = "pack" in job.parents
    clips: PackReader | FeatureClips
    if of_pack:
        clips = PackReader(store.path("pack", job.parents["pack"]))
    else:
        clips = feature_clips(job.members, store, job.dataset)
    state = state_of(read_parent(job, "train", context).arrays, config.weights)
    ids = clips.labels.clip_id
    parts = split_clips(clips, config.train, config.model)
    train, validation = (_some(part, ids, config) for part in (parts.train, parts.validation))
    if max(len(train), len(validation)) < fewest(config.coverage):
        return Product(attrs={"held_out": "too few", "clips": len(train), "bound": np.nan})
    work = store.work_folder(job.stage, job.key)
    files = feature_files(job, store) if of_pack else None
    with locked(work / ".lock"):
        both = vectors_of(
            clips, state, config.model, config.train, context.resolved_device, [*train, *validation], files, work
        )
        shutil.rmtree(work)
    known, others = both[: len(train)], both[len(train) :]
    names = [ids[index] for index in train]
    if len(others) >= fewest(config.coverage):
        held_out, distances = "validation", fit_kind(known).distance(others)
    else:
        held_out, distances = "folds", cross_distances(known, names, config.train.seed, config.folds)
    bound = conformal_bound(distances, config.coverage)
    arrays = {"vectors": known, "clip_id": np.array(names, dtype=object), "distances": distances}
    return Product(arrays, {"held_out": held_out, "clips": len(train), "bound": np.nan if bound is None else bound})


def _some(indices: Sequence[int], clip_ids: Sequence[str], config: NoveltySettings) -> list[int]:
    """At most `config.most` of the clips, so that a network isn't asked about thousands of them."""
    order = in_turn([clip_ids[index] for index in indices], config.train.seed)
    return sorted(indices[place] for place in order[: config.most])


STAGE = Stage(
    "novelty",
    STAGE_VERSION,
    ("pack", "train"),
    each(_novelty_job),
    uses_device=True,
)
"""Of networks that were trained on a pack; one on features that were made elsewhere has the parent train alone."""
