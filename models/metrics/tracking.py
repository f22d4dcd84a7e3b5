"""How well tubes follow: One-Pass Evaluation as pysot-toolkit computes it, overlap of rotated boxes and of cells.

Boxes are (L, 4) x, y, w, h as result files have them; quads are (L, 4, 2). The toolkit's curves are reproduced with its
habits, because published figures have them: a frame whose true box has a coordinate that is not positive has no
overlap but is counted; its distance counts as a hit; frames marked as absent are left out above the fraction bar, not
below; centres are (w - 1) / 2 from the corner. `mean_overlap` is the plain figure beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.geometry import coverage, crop_origin, polygon_iou
from models.geometry.tube_mask import grid_iou

OVERLAPS = np.arange(0, 1.05, 0.05)          # success: 21 thresholds of IoU, exceeded
DISTANCES_PX = np.arange(0, 51, 1)           # precision: 51 thresholds of the centres' distance, not exceeded
DISTANCES_OF_SIDE = np.arange(0, 51, 1) / 100   # normalised precision: the same in sides of the true box
AT_20 = 20                                   # index of 20 px, and of 0.20

Curve = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OnePass:
    """One clip's curves: `success` (21,), `precision` (51,), `norm_precision` (51,), each the share of frames."""

    success: Curve
    precision: Curve
    norm_precision: Curve

    @property
    def auc(self) -> float:
        """Area under the success curve."""
        return float(self.success.mean())

    @property
    def precision20(self) -> float:
        """Share of frames whose centre is within 20 px."""
        return float(self.precision[AT_20])

    @property
    def norm_precision20(self) -> float:
        """Share of frames whose centre is within a fifth of the true box's sides."""
        return float(self.norm_precision[AT_20])


def one_pass(truth: ArrayLike, found: ArrayLike, present: ArrayLike | None = None) -> OnePass:
    """Curves of One-Pass Evaluation.

    Args:
        truth: (L, 4) x, y, w, h in pixels.
        found: (L, 4) the same, of the tracker.
        present: (L,) whether the target is in the frame; None: always.

    Raises:
        ValueError: shapes do not fit, or a found box is not finite.
    """
    gt, boxes = np.asarray(truth, np.float64), np.asarray(found, np.float64)
    if gt.ndim != 2 or gt.shape[1:] != (4,) or gt.shape != boxes.shape or not len(gt):
        raise ValueError(f"boxes must be (L, 4) x, y, w, h, as many found as true; got {gt.shape} and {boxes.shape}")
    if not np.isfinite(boxes).all():
        raise ValueError("a found box is not finite; give a lost frame its last box")
    frames = len(gt)
    if present is not None:
        seen = np.asarray(present).astype(bool)
        gt, boxes = gt[seen], boxes[seen]
    sides = gt[:, 2:] + 1e-16
    apart = _distances(_centres(gt), _centres(boxes))
    apart_of_side = _distances(_centres(gt) / sides, _centres(boxes) / sides)
    return OnePass(
        success=np.asarray([(_overlaps(gt, boxes) > threshold).sum() / frames for threshold in OVERLAPS]),
        precision=np.asarray([(apart <= threshold).sum() / frames for threshold in DISTANCES_PX]),
        norm_precision=np.asarray([(apart_of_side <= threshold).sum() / frames for threshold in DISTANCES_OF_SIDE]),
    )


def _overlaps(gt: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU (L,); -1 where the true box has a coordinate that is not positive."""
    overlaps = np.full(len(gt), -1.0)
    usable = (gt > 0).all(axis=1)
    overlaps[usable] = box_overlap(gt[usable], boxes[usable])
    return overlaps


def box_overlap(truth: ArrayLike, found: ArrayLike) -> NDArray[np.float64]:
    """IoU of upright boxes (…, 4) x, y, w, h → (…); two boxes without area have none."""
    a, b = np.asarray(truth, np.float64), np.asarray(found, np.float64)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    common = np.maximum(high - low, 0).prod(axis=-1)
    total = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - common
    return np.asarray(np.clip(np.divide(common, total, out=np.zeros_like(common), where=total > 0), 0, 1))


def _centres(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(boxes[:, :2] + (boxes[:, 2:] - 1) / 2)


def _distances(gt: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance (L,); -1, a hit at every threshold, where the true centre is not positive."""
    apart = np.full(len(gt), -1.0)
    usable = (gt > 0).all(axis=1)
    apart[usable] = np.linalg.norm(gt[usable] - found[usable], axis=1)
    return apart


def mean_overlap(truth: ArrayLike, found: ArrayLike) -> float | None:
    """Rotated-overlap accuracy: mean exact IoU of quads (L, 4, 2) over frames with a true (finite) quad, if any."""
    gt, quads = np.asarray(truth, np.float64), np.asarray(found, np.float64)
    known = np.isfinite(gt).all(axis=(1, 2))
    return float(polygon_iou(gt[known], quads[known]).mean()) if known.any() else None


@dataclass(frozen=True)
class Grid:
    """A feature grid over frames of `frame_wh` pixels.

    Attributes:
        frame_wh: size of the frame that boxes and masks are given in.
        cells: (Hf, Wf).
        tau: part of a cell that must be covered.
        crop: side of the centred square that the grid lies over; None: over the whole frame.
    """

    frame_wh: tuple[int, int]
    cells: tuple[int, int] = (14, 14)
    tau: float = 0.5
    crop: int | None = None

    @property
    def _window(self) -> tuple[int, int, int, int]:
        """Left, top, width, height in pixels."""
        if self.crop is None:
            return 0, 0, *self.frame_wh
        return *crop_origin(self.frame_wh, self.crop), self.crop, self.crop

    def selected(self, quads: ArrayLike) -> NDArray[np.bool_]:
        """Cells (…, Hf, Wf) that quads (…, 4, 2) cover to at least `tau`; none for a quad that is not finite."""
        left, top, width, height = self._window
        corners = np.asarray(quads, np.float64) - (left, top)
        known = np.asarray(np.isfinite(corners).all(axis=(-1, -2)))
        cells = coverage(np.where(known[..., None, None], corners, 0.0), self.cells, (width, height)) >= self.tau
        return np.asarray(cells & known[..., None, None])

    def selected_by_mask(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The same for pixel masks (L, H, W), which may be of another size than the frame."""
        left, top, width, height = self._window
        rows = _share_of_cells(masks.shape[1], self.frame_wh[1], (top, height), self.cells[0])
        columns = _share_of_cells(masks.shape[2], self.frame_wh[0], (left, width), self.cells[1])
        covered = np.einsum("ih,lhw,jw->lij", rows, masks.astype(np.float64), columns, optimize=True)
        return np.asarray(covered >= self.tau)


def _share_of_cells(pixels: int, frame: int, window: tuple[int, int], cells: int) -> NDArray[np.float64]:
    """(cells, pixels): the share of each cell that each pixel takes, along one axis; `window`: start and length."""
    edges = np.arange(pixels + 1) * (frame / pixels)
    cell = window[1] / cells
    borders = window[0] + np.arange(cells + 1) * cell
    low = np.maximum(edges[None, :-1], borders[:-1, None])
    high = np.minimum(edges[None, 1:], borders[1:, None])
    return np.asarray(np.maximum(high - low, 0) / cell)


def mean_grid_iou(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float | None:
    """Mean over frames of the IoU of selected cells (L, Hf, Wf); frames without a true cell do not count."""
    counted = truth.any(axis=(1, 2))
    return float(grid_iou(truth[counted], found[counted], axes=(1, 2)).mean()) if counted.any() else None


def paired_difference(
    first: Sequence[float], second: Sequence[float], resamples: int = 10_000, seed: int = 0
) -> tuple[float, float, float] | None:
    """Mean of `first - second` over clips, and the bounds of its 95 % bootstrap interval; None under two clips.

    Clips are drawn with replacement, both figures of a clip together.
    """
    if len(first) != len(second):
        raise ValueError(f"paired figures are of the same clips, got {len(first)} and {len(second)}")
    apart = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    if len(apart) < 2:
        return None
    drawn = np.random.default_rng(seed).integers(0, len(apart), (resamples, len(apart)))
    low, high = np.percentile(apart[drawn].mean(axis=1), [2.5, 97.5])
    return float(apart.mean()), float(low), float(high)


def attributes_of(boxes: ArrayLike) -> frozenset[str]:
    """What makes a clip hard, by OTB's definitions, from true boxes (L, 4) x, y, w, h; NaN where not in sight.

    `scale_variation`: an area below 1/4 or above 4 times the first (sides by 2); `fast_motion`: more than 20 px in a
    frame; `low_resolution`: fewer than 400 px; `out_of_view`: a frame without a box.
    """
    gt = np.asarray(boxes, np.float64)
    known = np.isfinite(gt).all(axis=1)
    area = gt[known, 2:].prod(axis=1)
    steps = np.linalg.norm(np.diff(gt[:, :2] + gt[:, 2:] / 2, axis=0), axis=1)
    signs: Mapping[str, object] = {
        "scale_variation": ((area > 4 * area[:1]) | (area < area[:1] / 4)).any(),
        "fast_motion": (steps > 20).any(),
        "low_resolution": (area < 400).any(),
        "out_of_view": not known.all(),
    }
    return frozenset(name for name, holds in signs.items() if holds)
