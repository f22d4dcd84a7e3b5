"""Evaluate trackers on clips with ground truth: who is evaluated, the runs, and the tables of what came out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from data_catalog.tracks.benchmarks import TrackingClip
from data_catalog.tracks.files import TrackFile, fill_absent, read_tracks, write_tracks
from flows.config import ConfigError
from models.metrics.tracking import paired_difference
from models.trackers import Tube
from tasks.assessment.one_pass import (
    SPREAD,
    ClipFigures,
    ClipResult,
    EvaluationConfig,
    TrackingSample,
    existing_tube,
    load_sample,
    measure_tube,
    overlap_by_frame,
    run_clip,
    true_tube,
)  # fmt: skip
from tasks.engine import progress

logger = logging.getLogger(__name__)

TRUTH = "truth"  # a candidate that is always right, at the size that is tracked at

# What the tables show, in order: attribute of ClipFigures, heading.
COLUMNS = {
    "auc": "AUC", "precision20": "P@20", "norm_precision20": "NP@.2", "overlap": "IoU", "rotated": "rot",
    "grid": "grid", "grid_mask": "g/m", "mask_grid": "m/m", "lost": "lost",
    "fps": "fps",
}  # fmt: skip
LEGEND = (
    "AUC, P@20, NP@.2: as pysot-toolkit has them, frames whose true box touches the left or top edge missed; "
    "IoU, rot: mean overlap of upright and of rotated boxes over all frames; grid: cells of quad and true quad; "
    "g/m, m/m: cells against those of the true mask, by quad and by mask (masks.source)."
)

COMPARED = ("auc", "overlap", "rotated", "grid", "grid_mask", "mask_grid", "precision20", "norm_precision20")


class Difference(TypedDict):
    """Mean of first minus second over clips, its 95 % interval, and on how many of the clips the first is better."""

    mean: float
    low: float
    high: float
    clips: int
    wins: int


class Spread(TypedDict):
    """A figure from the true first boxes, then of `runs` runs from moved ones."""

    exact: float
    runs: float
    mean: float
    deviation: float
    least: float
    most: float


@dataclass(frozen=True)
class TrackerFigures:
    """What came out for one candidate.

    Attributes:
        mean: over clips, by figure; None where no clip has it.
        spread: how figures move with the first box; empty without runs from moved boxes.
        attributes: the mean over the clips of each attribute.
        clips: the figures of each clip.
    """

    mean: Mapping[str, float | None]
    spread: Mapping[str, Spread]
    attributes: Mapping[str, Mapping[str, float | None]]
    clips: tuple[ClipFigures, ...]


class EvaluationRecord(TypedDict):
    """What `tubeflow tracks evaluate --json` prints; `trackers` are rows of `TrackerFigures`."""

    config: dict[str, object]
    trackers: dict[str, dict[str, object]]
    difference: NotRequired[dict[str, Difference]]


@dataclass(frozen=True)
class TrackerEvaluation:
    """All candidates on all clips; `difference` of the first minus the second where there are two."""

    config: EvaluationConfig
    trackers: Mapping[str, TrackerFigures]
    difference: Mapping[str, Difference] | None

    def as_json(self) -> EvaluationRecord:
        """What `tubeflow tracks evaluate --json` prints."""
        record: EvaluationRecord = {
            "config": self.config.model_dump(mode="json"),
            "trackers": {label: asdict(one) for label, one in self.trackers.items()},
        }
        if self.difference is not None:
            record["difference"] = dict(self.difference)
        return record


@dataclass(frozen=True)
class Candidate:
    """Who is evaluated: a tracker with weights and preset, or a folder of results in pysot-toolkit's format."""

    label: str
    tracker: str = ""
    weights: Path | None = None
    preset: str | None = None
    results: Path | None = None


def parse_candidate(text: str) -> Candidate:
    """`NAME`, `NAME:WEIGHTS`, `NAME:WEIGHTS@PRESET`, a folder of results, or `truth`, the most that can be reached.

    Raises:
        ConfigError: there is no such tracker.
    """
    from models.trackers import TRACKERS

    if Path(text).is_dir():
        return Candidate(label=f"{Path(text).name} (results)", results=Path(text))
    named, _, preset = text.partition("@")
    name, _, weights = named.partition(":")
    if text == TRUTH:
        return Candidate(TRUTH, TRUTH)
    if name not in TRACKERS.names():
        raise ConfigError(
            f"'{text}' is neither a folder of results nor a tracker (NAME or NAME:WEIGHTS) nor {TRUTH}; "
            f"trackers are {', '.join(sorted(TRACKERS.names()))}."
        )
    label = f"{name}:{Path(weights).stem}" if weights else name
    return Candidate(label + (f"@{preset}" if preset else ""), name, Path(weights) if weights else None, preset or None)


def evaluate(
    candidates: Sequence[Candidate],
    clips: Sequence[TrackingClip],
    config: EvaluationConfig,
    device: str,
    weights: Path = Path("workspace/weights"),
    pictures: Path | None = None,
) -> dict[str, list[ClipResult]]:
    """Run every candidate on every clip; a clip is decoded once.

    Args:
        candidates, clips, config: who is evaluated, on what, and how.
        device: where trackers that use torch run.
        weights: folder that names of weights are sought in.
        pictures: a PNG of every clip goes to `pictures/CANDIDATE/CLIP.png`; None: nowhere.

    Raises:
        ConfigError: weights are missing, or a clip or results do not fit; one sentence.
    """
    from models.trackers import build_tracker

    found: dict[str, list[ClipResult]] = {candidate.label: [] for candidate in candidates}
    try:
        trackers = {
            one.label: build_tracker(one.tracker, weights=_find(one, weights), device=device, preset=one.preset)
            for one in candidates
            if one.tracker and one.tracker != TRUTH
        }
        tracks = {one.label: read_tracks(one.results, "pysot") for one in candidates if one.results}
        for done, clip in enumerate(clips):
            progress.report("evaluate", done, len(clips), f"clip '{clip.name}'")
            sample = load_sample(clip, config)
            for one in candidates:
                look = partial(_picture, pictures / file_name(one.label), sample, one.label) if pictures else _ignore
                if one.results:
                    result = _read_result(sample, tracks[one.label], one.results, look)
                elif one.tracker == TRUTH:
                    result = _read_truth(sample, look)
                else:
                    result = run_clip(sample, trackers[one.label], config, look)
                found[one.label].append(result)
                logger.info("%s on clip '%s': overlap %.3f", one.label, clip.name, result.figures.overlap)
        progress.report("evaluate", len(clips), len(clips))
    except ValueError as exc:
        raise ConfigError(f"{exc}".rstrip(".") + ".") from exc
    return found


def _find(one: Candidate, folder: Path) -> Path | None:
    from data_catalog.weights.resolve import resolve_weights
    from models.trackers import weight_suffixes

    if one.weights is None:
        return None
    return resolve_weights(one.weights, folder, suffixes=weight_suffixes(one.tracker))


Look = Callable[[Tube], None]


def _ignore(tube: Tube) -> None:
    """No picture is wanted."""


def _picture(folder: Path, sample: TrackingSample, label: str, tube: Tube) -> None:
    """Draw a tube that is in pixels of the tracked frames."""
    from flows.draw.tracking_sheet import TrackedClip, tracking_sheet

    overlaps = overlap_by_frame(sample, tube)
    title = f"{sample.name}: {label}, rotated IoU {np.nanmean(overlaps):.3f}"
    true_quads = sample.to_tracked(sample.quads)
    drawn = TrackedClip(
        title, sample.frames, true_quads, tube.quads, overlaps, tube.lost, sample.masks, tube.masks
    )
    tracking_sheet(drawn, folder / f"{sample.name}.png")


def _read_truth(sample: TrackingSample, look: Look) -> ClipResult:
    tube = true_tube(sample)
    look(tube)
    return measure_tube(sample, tube)


def _read_result(sample: TrackingSample, tracks: TrackFile, folder: Path, look: Look) -> ClipResult:
    if sample.name not in tracks.tubes:
        raise ValueError(f"{folder} has no usable {sample.name}.txt")
    filled, absent = fill_absent(tracks.tubes[sample.name])
    tube = existing_tube(sample, filled, absent, folder)
    look(replace(tube, quads=sample.to_tracked(tube.quads).astype(np.float32)))
    return measure_tube(sample, tube, in_source=True)


def export_results(folder: Path, found: Mapping[str, Sequence[ClipResult]]) -> None:
    """Write boxes of every run as FOLDER/TRACKER/CLIP.txt, pysot-toolkit's format, in pixels of the source."""
    for label, results in found.items():
        tubes = {result.figures.clip: result.quads.astype(np.float32) for result in results}
        write_tracks(folder / file_name(label), tubes, "pysot")


def file_name(label: str) -> str:
    """A candidate's label as the name of a folder."""
    return label.replace(":", "_").replace("@", "_")


def mean_figures(figures: Sequence[ClipFigures]) -> dict[str, float | None]:
    """Mean over clips of every column; clips that have nothing to measure there do not count."""
    means: dict[str, float | None] = {}
    for name in COLUMNS:
        values = [value for one in figures if (value := getattr(one, name)) is not None]
        means[name] = float(np.mean(values)) if values else None
    return means


def by_attribute(figures: Sequence[ClipFigures]) -> dict[str, list[ClipFigures]]:
    """The clips of each attribute."""
    names = sorted({name for one in figures for name in one.attributes})
    return {name: [one for one in figures if name in one.attributes] for name in names}


def differences(first: Sequence[ClipFigures], second: Sequence[ClipFigures]) -> dict[str, Difference]:
    """Mean of first minus second over clips for each figure, with the 95 % bootstrap interval."""
    rows: dict[str, Difference] = {}
    for name in COMPARED:
        pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(first, second, strict=True)]
        whole = [(a, b) for a, b in pairs if a is not None and b is not None]
        if (interval := paired_difference([a for a, _ in whole], [b for _, b in whole])) is not None:
            wins = sum(a > b for a, b in whole)
            mean, low, high = interval
            rows[name] = {"mean": mean, "low": low, "high": high, "clips": len(whole), "wins": wins}
    return rows


def spread(figures: Sequence[ClipFigures]) -> dict[str, Spread]:
    """How far figures, means over clips, move with the first box: from the true ones, then mean, deviation, extremes.

    Empty where there were no runs from moved boxes.
    """
    rows: dict[str, Spread] = {}
    for name in SPREAD:
        having = [one for one in figures if name in one.jitter]
        if having:
            runs = np.asarray([one.jitter[name] for one in having]).mean(axis=0)   # of the clips, one a run
            exact = float(np.mean([getattr(one, name) for one in having]))
            rows[name] = {
                "exact": exact,
                "runs": float(len(runs)),
                "mean": float(runs.mean()),
                "deviation": float(runs.std()),
                "least": float(runs.min()),
                "most": float(runs.max()),
            }
    return rows


def summarise(found: Mapping[str, Sequence[ClipResult]], config: EvaluationConfig) -> TrackerEvaluation:
    """Means, spread and figures by attribute of every candidate; with two candidates their paired differences."""
    figures = {label: [result.figures for result in results] for label, results in found.items()}
    trackers = {
        label: TrackerFigures(
            mean=mean_figures(ones),
            spread=spread(ones),
            attributes={name: mean_figures(some) for name, some in by_attribute(ones).items()},
            clips=tuple(ones),
        )
        for label, ones in figures.items()
    }
    difference = differences(*figures.values()) if len(figures) == 2 else None
    return TrackerEvaluation(config, trackers, difference)
