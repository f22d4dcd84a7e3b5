"""The steps of a clip as its segments see them: where they lie, and the score that a network gives them.

Nobody judged a step. A step's score is the mean of what the head says of each segment that reaches into it, weighed by
how many of the segment's frames lie in the step; a head that was trained on whole clips says it of one segment as if
that were the clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import ClipRecord
from flows.draw.tube_layers import number
from models.metrics.step_scores import segment_overlaps, step_of_frames, step_scores
from tasks.engine.plan import StagePlan


@dataclass(frozen=True)
class Segments:
    """The segments of a clip: the first normalised frame of each, and how many frames one has."""

    starts: tuple[int, ...]
    length: int


@dataclass(frozen=True)
class ClipStep:
    """One step of a clip.

    Attributes:
        name: what kind of step it is.
        start: first frame in the video, from 0.
        end: one past the last.
        frames: first normalised frame, and one past the last; None where none of the clip's lies in the step.
        segments: numbers of the segments that reach into it, from 0.
        score: its score in the units of the segments'; None where no segment with a score reaches into it.
    """

    name: str
    start: int
    end: int
    frames: tuple[int, int] | None
    segments: tuple[int, ...]
    score: float | None = None

    def as_json(self) -> dict[str, object]:
        """What a page draws it from."""
        return {
            "name": self.name,
            "start": self.start,
            "end": self.end,
            "frames": self.frames,
            "segments": list(self.segments),
            "score": None if self.score is None else number(self.score, 4),
        }


def clip_steps(
    clip: ClipRecord,
    source_index: NDArray[np.int64],
    segments: Segments,
    scores: NDArray[np.float64] | None = None,
) -> tuple[ClipStep, ...]:
    """The steps that a clip is labelled with.

    Args:
        clip: the clip.
        source_index: (L,) int64, number of the source frame behind each normalised frame.
        segments: those of the clip, N.
        scores: (N,) float64, of each segment, nan where it has none; None where nothing is known of them.
    """
    frame_steps = step_of_frames(source_index, [(step.start, step.end) for step in clip.steps])
    overlaps = segment_overlaps(frame_steps, len(clip.steps), segments.starts, segments.length)
    of_steps = np.full(len(clip.steps), np.nan) if scores is None else step_scores(scores, overlaps)
    found = []
    for place, (step, score) in enumerate(zip(clip.steps, of_steps.tolist(), strict=True)):
        frames = np.flatnonzero(frame_steps == place)
        span = (int(frames[0]), int(frames[-1]) + 1) if len(frames) else None
        reaching = tuple(np.flatnonzero(overlaps[:, place]).tolist())
        found.append(ClipStep(*step, span, reaching, score if np.isfinite(score) else None))
    return tuple(found)


class NormalizedFrames(NamedTuple):
    """What a clip's frames were taken from.

    Attributes:
        source_index: (L,) int64, number of the source frame behind each normalised frame.
        total: how many frames of the source are the clip's.
    """

    source_index: NDArray[np.int64]
    total: int


def normalized_frames(
    workspace: Workspace, plans: Mapping[str, StagePlan], clip_id: str
) -> NormalizedFrames | None:
    """What a clip's frames were taken from; None where it isn't normalised. Raises ArtifactDamaged."""
    job = plans["normalize"].jobs.get(clip_id)
    if job is None or not workspace.store.exists("normalize", job.key):
        return None
    artifact = workspace.store.read("normalize", job.key, ["source_index"])
    return NormalizedFrames(artifact.arrays["source_index"], int(artifact.attrs["source_frames"]))
