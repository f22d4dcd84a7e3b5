"""From the coverage of single frames to the tube mask of segments (Eq. 1-3), and what else such maps need.

Coverage is (…, L, Hf, Wf) in [0, 1], one map a frame; a tube mask is (…, N, T, Hf, Wf) bool, one map a
feature time step of each segment. All of it is a cheap function of stored coverage, so another tau, other
segments, or a flip need no tracking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Ten segments over 103 frames; the last one begins at 87 so that it ends with the clip.
SEGMENT_STARTS: tuple[int, ...] = (0, 10, 20, 30, 40, 50, 60, 70, 80, 87)


def tube_mask(
    coverage: ArrayLike,
    tau: float = 0.5,
    starts: Sequence[int] = SEGMENT_STARTS,
    segment_length: int = 16,
    stride: int = 4,
) -> NDArray[np.bool_]:
    """Positions of the feature maps that belong to the athlete's tube.

    A cell of one frame is selected where coverage >= tau (Eq. 1). The backbone folds `stride` frames into one
    feature step, so a step selects what any of its frames selects (Eq. 2); the steps of all segments make
    the tube (Eq. 3). A tube without a single position is legal: attention then changes nothing.

    Args:
        coverage: (…, L, Hf, Wf), fractions in [0, 1].
        tau: threshold in (0, 1]; a cell that lies exactly on it is selected.
        starts: first frame of each of the N segments, 0-based.
        segment_length: frames of a segment (16).
        stride: frames that one feature step sees (4); T = segment_length / stride.

    Returns:
        (…, N, T, Hf, Wf) bool.

    Raises:
        ValueError: tau out of range, a stride that does not divide the segment, a segment that leaves the
            clip.
    """
    fractions = np.asarray(coverage)
    if fractions.ndim < 3:
        raise ValueError(f"coverage must have shape (…, L, Hf, Wf), got {fractions.shape}")
    if not 0 < tau <= 1:
        raise ValueError(f"tau must be above 0 and at most 1, got {tau}")
    if stride < 1 or segment_length < stride or segment_length % stride:
        raise ValueError(f"stride {stride} must divide the segment length {segment_length}")
    length = fractions.shape[-3]
    first = np.asarray(starts, dtype=np.int64).reshape(-1)
    if not len(first) or first.min() < 0 or first.max() + segment_length > length:
        raise ValueError(
            f"segments of {segment_length} frames starting at {list(starts)} do not fit into {length} frames"
        )
    frames = first[:, None] + np.arange(segment_length)
    selected = (fractions >= tau)[..., frames.reshape(-1, stride), :, :]  # (…, N·T, stride, Hf, Wf)
    steps = selected.any(axis=-3)
    shape = (*fractions.shape[:-3], len(first), segment_length // stride, *fractions.shape[-2:])
    return np.asarray(steps.reshape(shape))


def union_coverage(coverages: ArrayLike) -> NDArray[np.float32]:
    """One coverage for several athletes, the larger in each cell: (A, L, Hf, Wf) → (L, Hf, Wf) float32.

    Any threshold then selects exactly the union of the athletes' own tubes. No athlete (A = 0) covers
    nothing.
    """
    maps = np.asarray(coverages, dtype=np.float32)
    if maps.ndim < 2:
        raise ValueError(f"coverages must have shape (A, L, Hf, Wf), got {maps.shape}")
    return np.asarray(maps.max(axis=0, initial=0.0))


def flip_coverage(coverage: NDArray[Any]) -> NDArray[Any]:
    """Coverage or mask (…, Hf, Wf) of the horizontally mirrored video, same dtype."""
    return np.ascontiguousarray(coverage[..., ::-1])


def grid_iou(mask_a: ArrayLike, mask_b: ArrayLike, axes: tuple[int, ...] | None = None) -> NDArray[np.float64]:
    """Intersection over union of two bool masks of one shape, summed over `axes` (all of them by default).

    Two empty masks agree: IoU 1. Returns float64 of the remaining axes, 0-d when none remains.
    """
    a, b = np.asarray(mask_a, dtype=bool), np.asarray(mask_b, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"masks must have the same shape, got {a.shape} and {b.shape}")
    common = np.logical_and(a, b).sum(axis=axes, dtype=np.float64)
    total = np.logical_or(a, b).sum(axis=axes, dtype=np.float64)
    return np.where(total > 0, common / np.maximum(total, 1.0), 1.0)
