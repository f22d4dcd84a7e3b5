"""Routes that ask a run's network about a clip: the score of its tube as it is now, and what a position attends to.

Networks are loaded once and kept, and so is what the convolutions make of a clip, so that a click costs one attention
block. One question at a time: two networks at work would only slow each other down.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Generic, Literal, TypedDict, TypeVar

import numpy as np
from fastapi import APIRouter, Query
from numpy.typing import NDArray
from pydantic import JsonValue

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.indexed_read import read_artifact
from data_catalog.media.frame_codec import decode_frames
from data_catalog.pack.file import PackLabels, PackReader
from data_catalog.store import ArtifactDamaged
from flows.draw.tube_layers import as_base64, number, numbers
from flows.inference.unlike_clips import find_novelty
from flows.runs.clip_steps import ClipStep, Segments, clip_steps
from flows.runs.clip_tube import scored_starts
from flows.runs.finished import NEWEST, FinishedRun, find_run, trained_state
from flows.runs.record import read_runs
from flows.view.clip_answer import recorded
from flows.view.rows import done_key
from flows.view.state import DatasetState, Snapshot, ViewState
from tasks.engine.job import Context
from tasks.pack import PackClip, write_pack
from tasks.trained import action_range, build_scorer, needs_difficulty, read_batch, score_clips, scorer_of

if TYPE_CHECKING:
    from torch import Tensor

    from models.tsanet import TSANet
    from tasks.training.scorer import ClipScorer

T = TypeVar("T")
Weights = Literal["last", "best"]
Index = Annotated[int, Query(ge=0, le=100_000)]
SIGNED = 127
KEPT_NETWORKS, KEPT_FEATURES, KEPT_SCORES = 2, 2, 256


class Kept(Generic[T]):
    """The few things used last, by name."""

    def __init__(self, size: int) -> None:
        self._size, self._found = size, OrderedDict[Hashable, T]()

    def get(self, name: Hashable, make: Callable[[], T]) -> T:
        """What is kept under a name, made where it isn't there."""
        if name not in self._found:
            self._found[name] = make()
            while len(self._found) > self._size:
                self._found.popitem(last=False)
        self._found.move_to_end(name)
        return self._found[name]


@dataclass(frozen=True, eq=False)
class RunNetwork:
    """A run's network on its device, and the labels that it was trained with."""

    run: FinishedRun
    network: TSANet
    labels: PackLabels
    device: str

    def scorer(self, reader: PackReader, span: tuple[float, float]) -> ClipScorer:
        """The network for the clips of a pack, whose scores lie in `span`. Raises ValueError where they don't fit."""
        model, train = self.run.config.model, self.run.config.train
        return scorer_of(self.network, reader, model.head, span, train.difficulty).to(self.device)


@dataclass(frozen=True, eq=False)
class ScoredClip:
    """A clip with its tube as it is now: the artifacts that a network is given."""

    state: DatasetState
    record: ClipRecord
    normalize_key: str
    masks_key: str


class ClipScore(TypedDict):
    """What a network says of a clip, and of each segment by itself."""

    score: float | None
    segments: JsonValue


class ClipKind(TypedDict):
    """Whether a clip is of the kind that a network was trained on, in the words of `tubeflow predict --json`."""

    distance: float | None
    unlike: bool | None
    unlike_above: float | None
    notes: list[str]


@dataclass(frozen=True, eq=False)
class AskedClip:
    """What one pass of a network makes of a clip: its score, and its pooled features (1, F) float32."""

    told: ClipScore
    features: NDArray[np.float32]


class Networks:
    """Answers about clips, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._networks: Kept[RunNetwork] = Kept(KEPT_NETWORKS)
        self._features: Kept[tuple[Tensor, Tensor]] = Kept(KEPT_FEATURES)
        self._scores: Kept[AskedClip] = Kept(KEPT_SCORES)

    def ask(self, workspace: Workspace, subject: ScoredClip, run_id: str, weights: str) -> AskedClip:
        """Score of the clip and of its segments by a run's weights, and its features. Raises CatalogError."""
        record = subject.record
        name = (run_id, weights, subject.normalize_key, subject.masks_key, record.action, record.difficulty)
        with self._lock, _plainly():
            return self._scores.get(name, lambda: self._ask(workspace, subject, run_id, weights))

    def attention(
        self, workspace: Workspace, subject: ScoredClip, run_id: str, weights: str, position: tuple[int, int, int, int]
    ) -> dict[str, object]:
        """What a position (segment, step, row, column) attends to, in each block. Raises CatalogError."""
        name = (run_id, weights, subject.normalize_key, subject.masks_key)
        with self._lock, _plainly():
            loaded = self._load(workspace, run_id, weights)
            if not loaded.network.compares:
                raise CatalogError(
                    "This run's network compares no positions, so there is no attention to show; choose a run with "
                    "model.attention=tsa."
                )
            features, mask = self._features.get(name, lambda: self._make_features(loaded, workspace, subject))
            maps = loaded.network.attention_maps(features, mask, position)
            return {
                "shape": list(maps[0].shape[1:]),
                "inside": bool(mask[(0, *position)]),
                "blocks": [_signed(one[0].float().cpu().numpy()) for one in maps],
            }

    def _load(self, workspace: Workspace, run_id: str, weights: str) -> RunNetwork:
        return self._networks.get((run_id, weights), lambda: load_run(workspace, run_id, weights))

    def _ask(self, workspace: Workspace, subject: ScoredClip, run_id: str, weights: str) -> AskedClip:
        loaded = self._load(workspace, run_id, weights)
        run = loaded.run
        with packed(workspace, subject, run) as reader:
            span = action_range(loaded.labels, run.config.train, subject.record.action)
            scorer = loaded.scorer(reader, span)
            scored = score_clips(scorer, reader, [0], run.config.train.eval_shift)
        segments = [name for name in scored.table.columns if name.startswith("segment_")]
        row = scored.table.iloc[0]
        told = ClipScore(score=number(row["predicted"], 4), segments=numbers(row[segments].to_numpy(np.float64), 4))
        return AskedClip(told, scored.features)

    def _make_features(self, loaded: RunNetwork, workspace: Workspace, subject: ScoredClip) -> tuple[Tensor, Tensor]:
        run = loaded.run
        with packed(workspace, subject, run) as reader:
            span = action_range(loaded.labels, run.config.train, subject.record.action)
            scorer = loaded.scorer(reader, span)
            batch = read_batch(reader, 0, run.config.train.eval_shift)
            mask = batch["mask"].to(loaded.device)
            return loaded.network.attention_features(scorer.video(batch["frames"].to(loaded.device)), mask), mask


def load_run(workspace: Workspace, run_id: str, weights: str) -> RunNetwork:
    """A run's network with its weights. Raises CatalogError, ValueError where they don't fit each other."""
    run = find_run(workspace, run_id)
    state = trained_state(workspace, run, weights)
    with contextlib.closing(PackReader(workspace.store.path("pack", run.artifact(workspace, "pack")))) as reader:
        labels = reader.labels
        scorer = build_scorer(reader, state, run.config.model, run.config.train, (0.0, 1.0))
    device = Context(workspace, run.config.engine.device).resolved_device
    return RunNetwork(run, scorer.network.to(device), labels, device)


@contextlib.contextmanager
def packed(workspace: Workspace, subject: ScoredClip, run: FinishedRun) -> Iterator[PackReader]:
    """The clip alone in a pack as the run's network reads it."""
    record, config = subject.record, subject.state.config
    if config is None:
        raise CatalogError(subject.state.note or "This dataset was never run.")
    tube = read_artifact(workspace, "masks", subject.masks_key, ["coverage", "mask"]).arrays
    clip = PackClip(
        clip_id=record.clip_id,
        split="test",
        action=record.action,
        frames=partial(_frames, workspace, subject.normalize_key),
        coverage=tube["coverage"],
        mask=tube["mask"],
        score=record.score,
        difficulty=record.difficulty,
        judges=record.judges,
        label=record.label,
    )
    with tempfile.TemporaryDirectory(prefix="tubeflow-view-") as folder:
        path = Path(folder) / "clip.h5"
        write_pack(path, [clip], run.config.pack, config.masks)
        with contextlib.closing(PackReader(path)) as reader:
            yield reader


def _frames(workspace: Workspace, key: str) -> NDArray[np.uint8]:
    return decode_frames(read_artifact(workspace, "normalize", key).arrays)


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """What doesn't fit together is reported as something that the user can put right."""
    try:
        yield
    except ArtifactDamaged:  # a pack's is a ValueError as well
        raise
    except ValueError as exc:
        raise CatalogError(f"The run's network can't be asked about this clip: {exc}") from exc


def _signed(weights: NDArray[np.float32]) -> dict[str, object]:
    """A map as one signed byte a position, in shares of its largest magnitude."""
    largest = float(np.abs(weights).max()) if weights.size else 0.0
    scaled = np.rint(weights / largest * SIGNED) if largest > 0 else np.zeros_like(weights)
    return {"map": as_base64(scaled.astype(np.int8)), "max": largest}


def score_routes(state: ViewState) -> APIRouter:
    """/score and /attention."""
    router, networks = APIRouter(), Networks()

    @router.get("/score")
    def score(dataset: str, clip: str, run: str = NEWEST, weights: Weights = "last") -> dict[str, object]:
        snapshot = state.current()
        workspace = snapshot.workspace
        subject, run_id = find_subject(snapshot, dataset, clip), find_run_id(workspace, dataset, run)
        found = find_run(workspace, run_id)
        if needs_difficulty(found.config.model, found.config.train) and subject.record.difficulty is None:
            raise CatalogError("This run multiplies by the degree of difficulty, which the clip's labels don't tell.")
        asked = networks.ask(workspace, subject, run_id, weights)
        told = asked.told
        steps = steps_of(workspace, subject, found, told["segments"])
        before = recorded(workspace, run_id, clip).get(weights)
        known = None if before is None else before["score"]
        classifies = found.config.model.head == "classification"
        return {
            "run": run_id,
            "weights": weights,
            "unit": "probability" if classifies else "score",
            **told,
            **kind_of(workspace, clip, found, weights, asked.features),
            "steps": [step.as_json() for step in steps],
            "starts": list(found.config.masks.starts),
            "true": subject.record.label if classifies else subject.record.score,
            "recorded": before,
            "difference": None if known is None or told["score"] is None else round(told["score"] - known, 4),
        }

    @router.get("/attention")
    def attention(
        dataset: str,
        clip: str,
        segment: Index,
        step: Index,
        row: Index,
        column: Index,
        run: str = NEWEST,
        weights: Weights = "last",
    ) -> dict[str, object]:
        snapshot = state.current()
        subject, run_id = (
            find_subject(snapshot, dataset, clip),
            find_run_id(snapshot.workspace, dataset, run),
        )
        return networks.attention(snapshot.workspace, subject, run_id, weights, (segment, step, row, column))

    return router


def steps_of(
    workspace: Workspace, subject: ScoredClip, run: FinishedRun, scores: JsonValue
) -> tuple[ClipStep, ...]:
    """The clip's steps with what the scores of its segments make of them."""
    config = subject.state.config
    if config is None or not subject.record.steps:
        return ()
    index = read_artifact(workspace, "normalize", subject.normalize_key, ["source_index"]).arrays["source_index"]
    starts = scored_starts(config.masks, len(index), run.config.train.eval_shift)
    segments = Segments(starts, config.masks.segment_length)
    return clip_steps(subject.record, index, segments, np.array(scores, np.float64))


def kind_of(
    workspace: Workspace, clip: str, run: FinishedRun, weights: str, features: NDArray[np.float32]
) -> ClipKind:
    """Whether a clip of features (1, F) is like those that a run was trained on, where that was found out already."""
    novelty = find_novelty(workspace, run, weights, features, make=False)
    if novelty.unknown:
        return {"distance": None, "unlike": None, "unlike_above": None, "notes": [novelty.unknown]}
    [distance] = novelty.distances
    unlike = novelty.is_unlike(distance)
    notes = [novelty.sentence(clip, run.run_id, distance)] if unlike else []
    return {"distance": round(distance, 4), "unlike": unlike, "unlike_above": novelty.bound, "notes": notes}


def find_subject(snapshot: Snapshot, dataset: str, clip: str) -> ScoredClip:
    """The clip with its tube as it is now. Raises CatalogError where it isn't made yet."""
    state, record = snapshot.clip(dataset, clip)
    normalize, masks = (done_key(state.plans, stage, clip) for stage in ("normalize", "masks"))
    if normalize is None or masks is None:
        raise CatalogError(f"Clip '{clip}' has no tube mask yet, so there is nothing to score; run it first.")
    return ScoredClip(state, record, normalize, masks)


def find_run_id(workspace: Workspace, dataset: str, name: str) -> str:
    """A run of this dataset that evaluated a network; the newest by `last`. Raises CatalogError."""
    runs = [run.run_id for run in read_runs(workspace) if run.dataset == dataset and run.evaluated]
    if name == NEWEST and runs:
        return str(runs[-1])
    if name not in runs:
        raise CatalogError(f"Dataset '{dataset}' has no such run that trained a network; run it to the end first.")
    return name
