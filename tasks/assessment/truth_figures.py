"""Tubes against what is known to be true, for datasets that know it: in cells of the network's grid, and as quads.

The grid is the one that the network sees, through the same crop, with the same tau; the truth goes through the same
steps as the tube: true rotated boxes for tubes of quads, true pixels for tubes of masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.geometry import crop_origin, union_coverage
from models.geometry.mask_coverage import Window, runs_coverage
from models.geometry.rle import pack_runs
from models.metrics.tracking import mean_grid_iou
from tasks.assessment.truth import Truth, quad_overlaps
from tasks.masks import MasksConfig, build_masks

MEASURE_VERSION = 1  # raised when a figure's meaning changes: what was measured before is measured again
HALF = 0.5


@dataclass(frozen=True)
class TruthFigures:
    """How one clip's tubes compare with the truth; overlaps and shares lie in [0, 1].

    Attributes:
        grid: mean IoU of selected cells over frames that have a true one; None where the athletes never fill a cell.
        rotated: mean exact IoU of quads over frames and athletes in sight; None where nobody ever is.
        half: share of these whose IoU is at least 0.5.
        lost: share of all frames that the tracker calls lost.
        empty_segments: segments in which the tube selects no cell.
    """

    grid: float | None
    rotated: float | None
    half: float | None
    lost: float
    empty_segments: int


@dataclass(frozen=True)
class TruthMeans:
    """Means over the clips that have the figure; None where none has."""

    clips: int
    grid: float | None
    rotated: float | None
    half: float | None
    lost: float
    empty_segments: int


def compare_with_truth(
    quads: NDArray[np.float32],
    covered: NDArray[np.float32],
    mask: NDArray[np.bool_],
    lost: NDArray[np.bool_],
    truth: Truth,
    frame_wh: tuple[int, int],
    config: MasksConfig,
) -> TruthFigures:
    """Figures of one clip.

    Args:
        quads: (A, L, 4, 2) of the track artifact.
        covered, mask: coverage (L, Hf, Wf) and mask (N, T, Hf, Wf) of the masks artifact.
        lost: (A, L) of the track artifact.
        truth: of the same L frames.
        frame_wh: size of the normalised frame.
        config: what the masks artifact was made with.
    """
    overlap = quad_overlaps(quads, truth.quads, truth.visible)[truth.visible]
    return TruthFigures(
        grid=mean_grid_iou(true_coverage(truth, frame_wh, config) >= config.tau, covered >= config.tau),
        rotated=float(overlap.mean()) if overlap.size else None,
        half=float((overlap >= HALF).mean()) if overlap.size else None,
        lost=float(lost.mean()),
        empty_segments=int((~mask.any(axis=(1, 2, 3))).sum()),
    )


def true_coverage(truth: Truth, frame_wh: tuple[int, int], config: MasksConfig) -> NDArray[np.float32]:
    """Coverage (L, Hf, Wf) by the true athletes in sight, united."""
    if config.source == "mask" and truth.masks is not None:
        covered = _coverage_by_masks(truth.masks, frame_wh, config)
    else:
        boxes = config.model_copy(update={"source": "quad"})
        covered = np.stack([build_masks(quads[None], frame_wh, boxes)["coverage"] for quads in truth.quads])
    return union_coverage(np.where(truth.visible[..., None, None], covered, np.float32(0)))


def _coverage_by_masks(
    masks: NDArray[np.bool_], frame_wh: tuple[int, int], config: MasksConfig
) -> NDArray[np.float32]:
    """(A, L, Hf, Wf) of masks (A, L, h, w): the crop is carried into their pixels, nothing is resized."""
    athletes, length, height, width = masks.shape
    left, top = crop_origin(frame_wh, config.crop)
    x, y = width / frame_wh[0], height / frame_wh[1]
    window = Window(left * x, top * y, config.crop * x, config.crop * y, config.grid)
    packed = pack_runs(list(masks.reshape(-1, height, width)))
    covered = runs_coverage(packed["rle"], packed["rle_offsets"], (width, height), window)
    return covered.reshape(athletes, length, *config.grid)


def means(figures: Sequence[TruthFigures]) -> TruthMeans:
    """Means over clips; segments are summed."""
    return TruthMeans(
        clips=len(figures),
        grid=_mean([one.grid for one in figures]),
        rotated=_mean([one.rotated for one in figures]),
        half=_mean([one.half for one in figures]),
        lost=float(np.mean([one.lost for one in figures])),
        empty_segments=sum(one.empty_segments for one in figures),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
