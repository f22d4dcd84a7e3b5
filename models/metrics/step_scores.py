"""Steps of a clip on its normalised frames and its segments: where they lie, and what the segments' scores say of them.

Letters: L normalised frames, N segments, S steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.int64]
NO_STEP = -1


def step_of_frames(source_index: Frames, spans: Sequence[tuple[int, int]]) -> Frames:
    """The step that each normalised frame lies in: the one that the source frame behind it lies in.

    So steps go through normalisation by the rule that frames do, whatever window, length or frame rate.

    Args:
        source_index: (L,) int64, number of the source frame behind each normalised frame.
        spans: first source frame and one past the last of each of S steps, which don't overlap.

    Returns:
        (L,) int64, number of the step, `NO_STEP` where the frame lies in none.
    """
    found = np.full(len(source_index), NO_STEP, np.int64)
    for number, (start, end) in enumerate(spans):
        found[(source_index >= start) & (source_index < end)] = number
    return found


def segment_overlaps(frame_steps: Frames, steps: int, starts: Sequence[int], length: int) -> NDArray[np.int64]:
    """How many frames of each segment lie in each step.

    Args:
        frame_steps: (L,) int64, as `step_of_frames` returns it.
        steps: S.
        starts: first normalised frame of each of N segments.
        length: frames of a segment.

    Returns:
        (N, S) int64.
    """
    counts = np.zeros((len(starts), steps), np.int64)
    for row, start in zip(counts, starts, strict=True):
        inside = frame_steps[start : start + length]
        row += np.bincount(inside[inside != NO_STEP], minlength=steps)
    return counts


def steps_named(
    shares: NDArray[np.floating], kinds: Frames, starts: Sequence[int], length: int
) -> NDArray[np.int64]:
    """How many frames of a clip lie in a step of each kind, and for how many of them its segments name that kind.

    Of a frame that several segments hold, the kind of the largest mean share; a frame in no segment isn't asked about.

    Args:
        shares: (N, K) float, of each segment over the kinds of steps, summing to 1.
        kinds: (L,) int64, the kind of step that each frame lies in, `NO_STEP` where in none.
        starts: first frame of each of N segments.
        length: frames of a segment.

    Returns:
        (K, 2) int64, frames and those named right.
    """
    votes = np.zeros((len(kinds), shares.shape[1]))
    for start, share in zip(starts, shares, strict=True):
        votes[start : start + length] += share
    asked = (kinds != NO_STEP) & (votes.sum(axis=1) > 0)
    right = asked & (votes.argmax(axis=1) == kinds)
    counts = [np.bincount(kinds[chosen], minlength=shares.shape[1]) for chosen in (asked, right)]
    return np.stack(counts, axis=1)


def step_scores(scores: NDArray[np.float64], overlaps: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of the segments' scores in each step, each weighed by how many of its frames lie in the step.

    Args:
        scores: (N,) float64, a segment's own score; nan where it has none.
        overlaps: (N, S) int64, as `segment_overlaps` returns it.

    Returns:
        (S,) float64, nan where no segment with a score reaches into the step.
    """
    weights = np.where(np.isfinite(scores)[:, None], overlaps, 0).astype(np.float64)
    total = weights.sum(axis=0)
    weighed = (weights * np.nan_to_num(scores)[:, None]).sum(axis=0)
    scored = np.full(overlaps.shape[1], np.nan)
    np.divide(weighed, total, out=scored, where=total > 0)
    return scored
