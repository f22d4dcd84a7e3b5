"""Overlap of polygons as the VOT toolkit counts it: in whole pixels, after rounding the corners.

Published VOT figures have it, up to .05 from the exact overlap of a pair. For everything else there is
`geometry.polygon_iou`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def raster_overlap(
    quads_a: ArrayLike, quads_b: ArrayLike, bounds_wh: tuple[int, int] | None = None
) -> NDArray[np.float64]:
    """Overlap of pairs of polygons (n, k, 2) in pixels → (n,).

    Args:
        quads_a, quads_b: as many of one as of the other.
        bounds_wh: count pixels of a frame of this size only.
    """
    pairs = zip(np.asarray(quads_a, np.float32), np.asarray(quads_b, np.float32), strict=True)
    return np.asarray([_overlap(a, b, bounds_wh) for a, b in pairs], np.float64)


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32], bounds_wh: tuple[int, int] | None) -> float:
    low = np.stack([np.floor(a.min(axis=0)), np.floor(b.min(axis=0))])
    high = np.stack([np.ceil(a.max(axis=0)), np.ceil(b.max(axis=0))])
    if bounds_wh is not None:
        low, high = np.maximum(low, 0), np.minimum(high, np.asarray(bounds_wh, np.float32))
    areas = (high - low).prod(axis=1)
    if (np.minimum(high[0], high[1]) <= np.maximum(low[0], low[1])).any() or (areas == 0).any():
        return 0.0
    origin = low.min(axis=0)
    width, height = (high.max(axis=0) - origin).astype(int) + 1
    first, second = (rasterise(polygon - origin, (width, height)) for polygon in (a, b))
    either = (first | second).sum()
    return float((first & second).sum() / either) if either else 0.0


def rasterise(polygon: NDArray[np.float32], size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (H, W) bool of a polygon (k, 2): in each row from crossing to crossing, both included."""
    width, height = size_wh
    corners = np.trunc(polygon + np.copysign(np.float32(0.5), polygon)).astype(np.int64)   # C's round
    mask = np.zeros((height, width), bool)
    before = np.roll(corners, 1, axis=0)
    for y in range(height):
        crossings = sorted(_crossings(corners, before, y))
        start = 0
        while start < len(crossings) - 1:
            left, right = crossings[start], crossings[start + 1]
            if left == right:   # a corner in this row is met twice
                start += 1
                continue
            if left >= width:
                break
            if right >= 0:
                mask[y, max(left, 0) : min(right, width - 1) + 1] = True
            start += 2
    return mask


def _crossings(corners: NDArray[np.int64], before: NDArray[np.int64], y: int) -> list[int]:
    """Whole columns at which the edges that touch row `y` cross it; level edges are left to their neighbours."""
    columns = []
    for (x1, y1), (x0, y0) in zip(corners.tolist(), before.tolist(), strict=True):
        if y0 != y1 and min(y0, y1) <= y <= max(y0, y1):
            columns.append(int(x1 + (y - y1) / (y0 - y1) * (x0 - x1)))
    return columns
