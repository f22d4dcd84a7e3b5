"""`tubeflow predict`: new videos through the same stages and the same cache, scored with the weights of a run."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from data_catalog.catalog import CatalogError, DatasetInfo, Workspace
from data_catalog.datasets.records import ClipRecord, Listing
from data_catalog.pack.file import PackReader
from flows.config import ConfigError, PipelineConfig, apply_overrides
from flows.datasets.clips import PREDICTED, dataset_clips
from flows.draw.overlay import overlay_video
from flows.inference.unlike_clips import Novelty, find_novelty
from flows.runs.clip_tube import read_clip, scored_starts
from flows.runs.finished import FinishedRun, calibration_of, trained_state
from flows.stages import CLIP_STAGES, section
from models.metrics.calibration import LEVELS
from tasks import pack as pack_stage
from tasks.assessment.published_tubes import PUBLISHED
from tasks.engine import progress
from tasks.engine.job import Context
from tasks.engine.plan import Planner
from tasks.evaluate import SIDES, with_intervals
from tasks.trained import action_range, needs_difficulty, score_pack, trained_actions

if TYPE_CHECKING:
    import pandas as pd

    from flows.runs.summary import RunSummary
    from tasks.engine.plan import StagePlan

Box = tuple[float, float, float, float]
Preprocess = Callable[[PipelineConfig, str, Path], "RunSummary"]
"""Runs normalize … pack of a dataset in the workspace of that folder."""

CHANGEABLE = ("detect.", "track.", "engine.")


@dataclass(frozen=True)
class NotScored:
    """A video without a score: at which stage it failed, why, and what to do."""

    clip_id: str
    stage: str
    reason: str
    remedy: str


class PredictionRecord(TypedDict):
    """What `tubeflow predict --json` prints: rows of `VideoScore` and of `NotScored`."""

    run_id: str
    weights: str
    videos: list[dict[str, object]]
    quarantined: list[dict[str, object]]
    unlike_above: float | None
    notes: list[str]


@dataclass(frozen=True)
class ScoreInterval:
    """Where the score of a clip like those of the run lies, with a probability of `level` percent; ends in points."""

    level: int
    low: float
    high: float


@dataclass(frozen=True)
class VideoScore:
    """What a run says of one video.

    Attributes:
        score: points, or with `head: classification` the probability of label 1.
        segments: the same of every segment by itself; of every step of features.
        empty_segments: segments in which the tube selects nothing, so that attention had no effect.
        overlay: the video with its tube; empty where there are features alone.
        distance: how far it is from the clips that the network was trained on, see `VideoScores.unlike_above`; None
            where that can't be told.
        unlike: whether that is too far for a clip of their kind.
        intervals: of the score; none where the run made none (`evaluate.intervals`).
    """

    clip_id: str
    video: str
    score: float
    segments: tuple[float, ...]
    empty_segments: int
    overlay: str
    distance: float | None = None
    unlike: bool | None = None
    intervals: tuple[ScoreInterval, ...] = ()


@dataclass(frozen=True)
class VideoScores:
    """What a run says of some videos.

    Attributes:
        classifies: scores are probabilities of label 1, no points.
        segments: first and last frame of each segment that is scored, from 0.
        videos: those with a score.
        failures: the others.
        novelty: how far the videos are from what the run was trained on; None where there are none.
    """

    run_id: str
    weights: str
    classifies: bool
    segments: tuple[tuple[int, int], ...]
    videos: tuple[VideoScore, ...]
    failures: tuple[NotScored, ...]
    novelty: Novelty | None = None

    def compared(self, novelty: Novelty) -> VideoScores:
        """The same with what is known of how unlike the training clips each video is."""
        far: Sequence[float | None] = novelty.distances or [None] * len(self.videos)
        videos = [
            replace(one, distance=distance, unlike=None if distance is None else novelty.is_unlike(distance))
            for one, distance in zip(self.videos, far, strict=True)
        ]
        return replace(self, videos=tuple(videos), novelty=novelty)

    @property
    def notes(self) -> list[str]:
        """One sentence for each video that is unlike the training clips, or one why that can't be told."""
        novelty = self.novelty
        if novelty is None:
            return []
        told = [
            novelty.sentence(one.clip_id, self.run_id, one.distance)
            for one in self.videos
            if one.unlike and one.distance is not None
        ]
        return [novelty.unknown] if novelty.unknown else told

    def as_json(self) -> PredictionRecord:
        """What `tubeflow predict --json` prints."""
        return {
            "run_id": self.run_id,
            "weights": self.weights,
            "videos": [asdict(one) for one in self.videos],
            "quarantined": [asdict(one) for one in self.failures],
            "unlike_above": None if self.novelty is None else self.novelty.bound,
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Request:
    """What is to be scored.

    Attributes:
        videos: video files, or folders of images.
        boxes: for each video its athletes' first-frame boxes (x, y, w, h) in pixels of the video, or none at all.
        action, difficulty: of all of these videos; None where the run needs none.
        weights: `last` or `best` epoch.
    """

    videos: tuple[Path, ...]
    boxes: tuple[tuple[Box, ...], ...] = ()
    action: str | None = None
    difficulty: float | None = None
    weights: str = "last"


def parse_boxes(texts: Sequence[str], videos: int) -> tuple[tuple[Box, ...], ...]:
    """`x,y,w,h` for each video in order; several athletes of one video are parted by `/`.

    Raises:
        ConfigError: not four numbers, a box without area, or not one box a video.
    """
    return check_boxes([[one.split(",") for one in text.split("/")] for text in texts], videos)


def check_boxes(
    boxes: Sequence[Sequence[Sequence[float | str]]], videos: int
) -> tuple[tuple[Box, ...], ...]:
    """For each video its athletes' boxes (x, y, w, h), checked; none at all where no video has any.

    Raises:
        ConfigError: not four numbers, a box without area, or not one video's boxes for each video.
    """
    if boxes and len(boxes) != videos:
        raise ConfigError(f"There are {videos} videos and {len(boxes)} --box; give one for each video, in order.")
    return tuple(tuple(_check_box(box) for box in athletes) for athletes in boxes)


def _check_box(box: Sequence[float | str]) -> Box:
    text = ",".join(map(str, box))
    try:
        x, y, w, h = (float(number) for number in box)
    except ValueError as exc:
        raise ConfigError(f"'{text}' is not a box; write x,y,w,h in pixels of the video, e.g. 210,40,60,150.") from exc
    if not (w > 0 and h > 0):
        raise ConfigError(f"The box '{text}' has no area; write x,y,w,h with w and h above 0.")
    return x, y, w, h


def prediction_config(run: FinishedRun, request: Request, overrides: Sequence[str]) -> PipelineConfig:
    """The run's config, with another detector or tracker where asked for; everything else must stay as trained.

    Raises:
        ConfigError: an override of what the weights were trained with, or nobody would say who is followed.
    """
    fixed = [text for text in overrides if not text.startswith(CHANGEABLE)]
    if fixed:
        raise ConfigError(f"'{fixed[0]}' can't be changed: the weights were trained with the run's own value.")
    values = run.config.model_dump(mode="json")
    values["features"] = {"mode": "none"}  # a network that was trained on features scores pixels, as train.freeze stays
    if request.boxes:
        values["detect"] = {"detector": "annotation"}
    elif values["track"]["tracker"] == PUBLISHED:
        raise ConfigError(
            f"Run '{run.run_id}' used published tubes, which new videos don't have; "
            "give --box and a tracker, e.g. -o track.tracker=mil."
        )
    config = apply_overrides(values, overrides)
    if not config.detect.needs_model and not request.boxes:
        raise ConfigError(
            "Who is to be followed? Run '" + run.run_id + "' took first-frame boxes from labels; give one with "
            "--box x,y,w,h, or a detector: -o detect.detector=athlete-n -o detect.select=followed "
            "-o detect.min_score=0.05"
        )
    return config


def add_videos(workspace: Workspace, request: Request, action: str) -> tuple[str, list[ClipRecord]]:
    """Enter the videos as a dataset of their own, named by a digest of what is asked; returns its name and clips.

    Raises:
        CatalogError: a file isn't there.
    """
    records = []
    boxes = request.boxes or ((),) * len(request.videos)
    taken: set[str] = set()
    for video, athletes in zip(request.videos, boxes, strict=True):
        path = video.absolute()
        if not path.exists():
            raise CatalogError(f"There is no video {video}; check the path.")
        clip_id = _clip_id(path, taken)
        records.append(ClipRecord(clip_id, str(path), "test", action, difficulty=request.difficulty, boxes=athletes))
    asked = [[record.video, record.boxes, record.action, record.difficulty] for record in records]
    name = "predict-" + hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:10]
    workspace.datasets.add(DatasetInfo(name, PREDICTED, str(Path.cwd())), Listing(tuple(records)))
    return name, records


def _clip_id(path: Path, taken: set[str]) -> str:
    """The file's name without its ending, made unique among the others."""
    stem = re.sub(r"[^\w.-]+", "_", path.stem if path.is_file() else path.name) or "video"
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    taken.add(name)
    return name


def choose_action(run: FinishedRun, reader: PackReader, wanted: str | None) -> str:
    """The action whose range of scores holds. Raises ConfigError where it must be said, or the run doesn't know it."""
    return choose_known(run, trained_actions(reader.labels, run.config.train), wanted)


def choose_known(run: FinishedRun, known: tuple[str, ...], wanted: str | None) -> str:
    """The wanted one of the actions that a run knows, or the only one. Raises ConfigError as `choose_action`."""
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted is not None and not any(known):
        raise ConfigError(f"Run '{run.run_id}' was trained on clips without actions; leave --action away.")
    if wanted not in known:
        said = "Say which action it is" if wanted is None else f"Run '{run.run_id}' doesn't know '{wanted}'"
        raise ConfigError(f"{said}; --action is one of: {', '.join(known)}.")
    return wanted


def predict_videos(
    workspace: Workspace,
    run: FinishedRun,
    request: Request,
    overrides: Sequence[str],
    folder: Path,
    preprocess: Preprocess,
) -> VideoScores:
    """Score videos and write `<clip_id>.mp4` of each into `folder`; those that can't be used are in `failures`.

    Raises:
        CatalogError, ConfigError: nothing can be scored; the message is for the user.
    """
    state = trained_state(workspace, run, request.weights)
    reader = PackReader(workspace.store.path("pack", run.artifact(workspace, "pack")))
    action = choose_action(run, reader, request.action)
    if needs_difficulty(run.config.model, run.config.train) and request.difficulty is None:
        raise ConfigError(f"Run '{run.run_id}' multiplies by the degree of difficulty; give it with --difficulty.")
    config = prediction_config(run, request, overrides)
    dataset, records = add_videos(workspace, request, action)
    summary = preprocess(config, dataset, workspace.root)
    starts = scored_starts(config.masks, config.normalize.length, config.train.eval_shift)
    found = VideoScores(
        run_id=run.run_id,
        weights=request.weights,
        classifies=config.model.head == "classification",
        segments=tuple((start, start + config.masks.segment_length - 1) for start in starts),
        videos=(),
        failures=tuple(NotScored(row.clip_id, row.stage, row.reason, row.remedy) for row in summary.failures),
    )
    if summary.failed == len(records):
        return found
    workspace = Workspace(workspace.root)  # the run has changed index and quarantine
    failed = frozenset(row.clip_id for row in summary.failures)
    plans = _plans(workspace, dataset, config, failed)
    job = plans["pack"].jobs[""]
    if not workspace.store.exists("pack", job.key):  # a full disk, say; the failures tell
        return found
    pack = workspace.store.path("pack", job.key)
    device = Context(workspace, config.engine.device).resolved_device
    span = action_range(reader.labels, config.train, action)
    progress.report("score", 0, None)
    calibration = calibration_of(workspace, run, request.weights)
    scored = score_pack(pack, state, config.model, config.train, span, device, spread=calibration is not None)
    table = scored.table if calibration is None else with_intervals(scored.table, calibration)
    progress.report("score", len(table), len(table))
    found = replace(found, videos=_scores(workspace, dataset, plans, records, table, folder))
    return found.compared(find_novelty(workspace, run, request.weights, scored.features))


def intervals_of(row: Mapping[Any, Any]) -> tuple[ScoreInterval, ...]:
    """The intervals of a scored clip, by the columns of `tasks.evaluate.with_intervals`; none that can't be told."""
    ends = [ScoreInterval(level, *(float(row.get(f"{side}_{level}", math.nan)) for side in SIDES)) for level in LEVELS]
    return tuple(one for one in ends if math.isfinite(one.low))


def _plans(
    workspace: Workspace, dataset: str, config: PipelineConfig, failed: frozenset[str]
) -> Mapping[str, StagePlan]:
    planner = Planner(workspace, dataset, dataset_clips(workspace, dataset))
    plans = planner.plan([(stage, section(stage, config)) for stage in CLIP_STAGES], [])
    plans["pack"] = planner.dataset_stage(pack_stage.STAGE, section(pack_stage.STAGE, config), plans, failed)
    return plans


def _scores(
    workspace: Workspace,
    dataset: str,
    plans: Mapping[str, StagePlan],
    records: Sequence[ClipRecord],
    table: pd.DataFrame,
    folder: Path,
) -> tuple[VideoScore, ...]:
    videos = {record.clip_id: record.video for record in records}
    segments = [name for name in table.columns if name.startswith("segment_")]
    scores = []
    for done, (_, row) in enumerate(table.iterrows()):
        progress.report("draw", done, len(table))
        clip_id, score = str(row["clip_id"]), float(row["predicted"])
        tube = read_clip(workspace, dataset, clip_id, plans)
        view = replace(tube.view, score=round(score, 2))
        path = overlay_video(view, folder / f"{clip_id}.mp4", fps=tube.fps)
        empty = int((~tube.mask.any(axis=(1, 2, 3))).sum())
        values = tuple(float(row[name]) for name in segments)
        ends = intervals_of(row.to_dict())
        scores.append(VideoScore(clip_id, videos[clip_id], score, values, empty, str(path), intervals=ends))
    progress.report("draw", len(table), len(table))
    return tuple(scores)
