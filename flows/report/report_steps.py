"""What a report says of the steps of held-out clips: a table over all of them, each clip's own, and a file of both."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_catalog.atomic import replacing
from data_catalog.catalog import Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.foreign_text import spreadsheet_cell
from flows.report.data import StepRow
from flows.report.facts import ReportFacts
from flows.runs.clip_steps import ClipStep, Segments, clip_steps, normalized_frames
from flows.runs.results import kinds_named
from tasks.engine.plan import StagePlan

FILE = "step_scores.csv"
COLUMNS = ("weights", "clip_id", "split", "step", "start", "end", "first_frame", "last_frame", "segments", "score")
SHOWN = 40
Steps = Mapping[tuple[str, str], tuple[ClipStep, ...]]
"""Weights (last, best) and clip id → the clip's steps with their scores."""


def scored_steps(
    workspace: Workspace, dataset: str, plans: Mapping[str, StagePlan], facts: ReportFacts, predictions: pd.DataFrame
) -> tuple[Steps, str | None]:
    """The steps of every evaluated clip that has some, by each set of weights; and what is odd about them, if anything.

    Raises:
        ArtifactDamaged: a clip's frames can't be read.
    """
    labelled = {clip.clip_id: clip for clip in workspace.datasets.clips(dataset) if clip.steps}
    names = [name for name in predictions.columns if name.startswith("segment_")]
    found: dict[tuple[str, str], tuple[ClipStep, ...]] = {}
    odd: list[tuple[ClipRecord, int]] = []
    for clip_id, rows in predictions[predictions["clip_id"].isin(labelled)].groupby("clip_id", sort=False):
        clip = labelled[str(clip_id)]
        if facts.starts:
            frames = normalized_frames(workspace, plans, clip.clip_id)
            if frames is None:
                continue
            index, end = frames.source_index, (clip.start_frame or 0) + frames.total
            segments = Segments(facts.starts, facts.segment_length)
        else:  # features that were made elsewhere: a segment is a row of them
            end = int(np.isfinite(rows[names].to_numpy(np.float64)[0]).sum())
            index, segments = np.arange(end, dtype=np.int64), Segments(tuple(range(len(names))), 1)
        odd += [(clip, end)] if clip.steps[-1].end > end else []
        for weights, scores in zip(rows["weights"], rows[names].to_numpy(np.float64), strict=True):
            found[str(weights), clip.clip_id] = clip_steps(clip, index, segments, scores)
    return found, _beyond(odd)


def write_step_scores(folder: Path, steps: Steps, predictions: pd.DataFrame) -> None:
    """Write `step_scores.csv` into a run's folder; nothing where no clip has steps. Raises OSError."""
    if not steps:
        return
    splits = dict(zip(predictions["clip_id"], predictions["split"], strict=True))
    with replacing(folder / FILE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for (weights, clip_id), of_clip in steps.items():
            for step in of_clip:
                first, last = (step.frames[0], step.frames[1] - 1) if step.frames else ("", "")
                segments = " ".join(map(str, step.segments))
                names = (weights, spreadsheet_cell(clip_id), splits[clip_id], spreadsheet_cell(step.name))
                score = "" if step.score is None else step.score
                writer.writerow([*names, step.start, step.end, first, last, segments, score])


def step_rows(steps: Steps, shown: pd.DataFrame) -> tuple[StepRow, ...]:
    """A row a kind of step, over the clips `shown`; in the order in which their clips' first one begins."""
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    places: dict[str, list[int]] = defaultdict(list)
    clips: dict[str, set[str]] = defaultdict(set)
    for clip_id, predicted in zip(shown["clip_id"], shown["predicted"], strict=True):
        for place, step in enumerate(steps.get(("last", clip_id), ())):
            places[step.name].append(place)
            clips[step.name].add(clip_id)
            if step.score is not None:
                scores[step.name].append((step.score, step.score - float(predicted)))
    order, named = sorted(places, key=lambda name: float(np.mean(places[name]))), kinds_named(shown)
    return tuple(
        StepRow(name, len(clips[name]), *_means(scores[name]), named.get(name)) for name in order[:SHOWN]
    )


def frames_named(shown: pd.DataFrame) -> tuple[int, int] | None:
    """Frames of the clips `shown` that lie in a step, and of how many the step is named right; None if not learnt."""
    if "step_frames" not in shown or not len(shown):
        return None
    return int(shown["step_frames"].sum()), int(shown["step_correct"].sum())


def _means(values: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    if not values:
        return None, None
    score, difference = np.mean(values, axis=0).tolist()
    return score, difference


def _beyond(odd: Sequence[tuple[ClipRecord, int]]) -> str | None:
    """One sentence where steps reach beyond their video; each clip with the frame that its video ends at."""
    if not odd:
        return None
    clip, end = odd[0]
    others = f", and those of {len(odd) - 1} other clips beyond theirs" if len(odd) > 1 else ""
    return (
        f"The steps of clip '{clip.clip_id}' reach frame {clip.steps[-1].end}, its video ends at {end}{others}; "
        "correct the table of steps and ingest the dataset again."
    )
