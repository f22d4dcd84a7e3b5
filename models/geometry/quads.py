"""Quads, boxes, crops, and the exact part of a feature grid that a quad covers.

Coordinates are continuous pixels: pixel i spans [i, i+1), a frame of W×H spans [0, W]×[0, H], x to the
right and y down. A quad is (4, 2): four (x, y) corners, clockwise on the screen. A box is (4,): x1, y1, x2,
y2. Every function takes leading batch dimensions, computes in float64, returns float32 where it returns
coordinates or coverage, and leaves its arguments alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# In cells (coverage) this is far below what float32 can show, and keeps 1/x of nearly level edges finite.
_FLAT = 1e-12
# Quads worked on at once: the largest temporary, (quads, 4, Hf, Wf + 1) float64, then stays in a core's
# cache.
_CHUNK = 64


def coverage(quads: ArrayLike, grid: tuple[int, int], size: tuple[float, float]) -> NDArray[np.float32]:
    """Exact fraction of every grid cell that each quad covers: S of Eq. 1, area(quad ∩ cell) / area(cell).

    A quad counts as the convex hull of its four corners, so their order and orientation do not matter: a
    bow-tie (crossed corner order) covers what the same corners in good order cover, a corner inside the
    triangle of the others changes nothing, and a point or a line covers nothing. What lies outside the
    frame is cut off.

    The area of a polygon left of a vertical line inside one row of cells is a sum over the polygon's edges of
    ∫ min(x(y), line) dy, which has a closed form; neighbouring lines subtract to a cell. Nothing is sampled.

    Args:
        quads: (…, 4, 2), pixels, any real dtype.
        grid: (Hf, Wf) cells, rows first.
        size: (W, H) of the frame or crop that the grid divides evenly, in the pixels of `quads`.

    Returns:
        (…, Hf, Wf) float32 in [0, 1].

    Raises:
        ValueError: a wrong shape, a coordinate that is not finite, or an empty grid or size.
    """
    corners = _checked(quads)
    rows, columns = grid
    width, height = size
    if rows < 1 or columns < 1 or not (width > 0 and height > 0):
        raise ValueError(f"coverage needs a cell and a positive size, got grid {grid} and size {size}")
    # Whole pixels stay exact up to the division, so that a cell covered by exactly tau is found to be so.
    flat = corners.reshape(-1, 4, 2) * (columns, rows) / (width, height)
    covered = np.empty((len(flat), rows, columns), dtype=np.float32)
    for start in range(0, len(flat), _CHUNK):
        covered[start : start + _CHUNK] = _cell_areas(_hull(flat[start : start + _CHUNK]), rows, columns)
    return covered.reshape(*corners.shape[:-2], rows, columns)


def _cell_areas(hulls: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """Area of every unit cell inside clockwise convex polygons (n, k, 2), in cells: (n, rows, columns)."""
    x0, y0 = (hulls[..., axis, None] for axis in (0, 1))  # (n, k, 1): where each edge starts
    x1, y1 = (np.roll(corner, -1, axis=1) for corner in (x0, y0))  # and where it ends
    top = np.arange(rows, dtype=np.float64)
    # (n, k, rows): the part of each edge that lies in each row.
    ya, yb = np.clip(y0, top, top + 1), np.clip(y1, top, top + 1)
    rise = y1 - y0
    level = np.abs(rise) < _FLAT
    slope = np.where(level, 0.0, (x1 - x0) / np.where(level, 1.0, rise))
    left, right = np.minimum(x0, x1), np.maximum(x0, x1)
    xa, xb = (np.clip(x0 + (y - y0) * slope, left, right) for y in (ya, yb))
    low, high = np.minimum(xa, xb)[..., None], np.maximum(xa, xb)[..., None]
    span = high - low
    upright = span < _FLAT
    curve = np.where(upright, 0.0, 0.5 / np.where(upright, 1.0, span))
    # Mean over that part of min(x, line), for every vertical grid line: (n, k, rows, columns + 1).
    reach = np.minimum(np.arange(columns + 1, dtype=np.float64), high)
    beyond = np.maximum(reach - low, 0.0)
    mean = reach - beyond * beyond * curve
    left_of_line = ((yb - ya)[..., None] * mean).sum(axis=1)
    cells: NDArray[np.float64] = np.clip(np.diff(left_of_line, axis=-1), 0.0, 1.0)
    return cells


def order_clockwise(quads: ArrayLike) -> NDArray[np.float32]:
    """The corners (…, 4, 2) in clockwise order on the screen, the first one still first; mends Z orders."""
    return _clockwise(_checked(quads)).astype(np.float32)


def _clockwise(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    spokes = corners - corners.mean(axis=-2, keepdims=True)
    angle = np.arctan2(spokes[..., 1], spokes[..., 0])  # grows clockwise, because y points down
    turn = np.mod(angle - angle[..., :1], 2 * np.pi)  # the first corner is at 0, hence stays first
    order = np.argsort(turn, axis=-1, kind="stable")
    return np.take_along_axis(corners, order[..., None], axis=-2)


def _hull(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convex hull of four corners, as four clockwise corners; an inner one is folded onto the one before."""
    ordered = _clockwise(corners)
    before, after = np.roll(ordered, 1, axis=-2), np.roll(ordered, -1, axis=-2)
    reflex = _cross(ordered - before, after - ordered) < 0
    return np.where(reflex[..., None], before, ordered)


def quad_area(quads: ArrayLike) -> NDArray[np.float64]:
    """Area in square pixels of the convex hull of each quad: (…, 4, 2) → (…) float64."""
    return _area(_hull(_checked(quads)))


def polygon_iou(quads_a: ArrayLike, quads_b: ArrayLike) -> NDArray[np.float64]:
    """Exact intersection over union of pairs of quads, each taken as its convex hull.

    Both are (…, 4, 2) and broadcast against each other; the result is (…) float64 in [0, 1]. A quad without
    area has IoU 0 with everything.
    """
    a, b = np.broadcast_arrays(_checked(quads_a), _checked(quads_b))
    shape = a.shape[:-2]
    first, second = _hull(a.reshape(-1, 4, 2)), _hull(b.reshape(-1, 4, 2))
    # Areas are differences of products of coordinates: close to the origin they keep all their digits.
    origin = first.mean(axis=1, keepdims=True)
    first, second = first - origin, second - origin
    common = first
    for corner in range(4):
        common = _cut(common, second[:, corner], second[:, (corner + 1) % 4])
    area_a, area_b = _area(first), _area(second)
    shared = np.minimum(_area(common), np.minimum(area_a, area_b))
    total = area_a + area_b - shared
    iou = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    return np.clip(iou, 0.0, 1.0).reshape(shape)


def _cut(polygons: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep of each convex polygon (n, k, 2) what lies right of the line start → end (n, 2): (n, k + 1, 2).

    A result with fewer corners repeats its first one; nothing left becomes zeros. Both have the right area.
    """
    line = (end - start)[:, None]
    inside_by = _cross(line, polygons - start[:, None])
    next_by, following = np.roll(inside_by, -1, axis=1), np.roll(polygons, -1, axis=1)
    crossing = ((inside_by > 0) & (next_by < 0)) | ((inside_by < 0) & (next_by > 0))
    step = inside_by / np.where(crossing, inside_by - next_by, 1.0)
    points = np.stack([polygons, polygons + step[..., None] * (following - polygons)], axis=2)
    kept = np.stack([inside_by >= 0, crossing], axis=2)
    # An edge of no length is no boundary: a second quad folded to a triangle must not cut everything away.
    pointlike = np.asarray(start == end).all(axis=1)
    kept[pointlike, :, 0], kept[pointlike, :, 1] = True, False
    n, corners = polygons.shape[:2]
    points, valid = points.reshape(n, 2 * corners, 2), kept.reshape(n, 2 * corners)
    order = np.argsort(~valid, axis=1, kind="stable")[:, : corners + 1]
    points = np.take_along_axis(points, order[..., None], axis=1)
    filled = np.arange(corners + 1) < valid.sum(axis=1)[:, None]
    points = np.where(filled[..., None], points, points[:, :1])
    return np.where(filled[:, :1, None], points, 0.0)


def box_to_quad(boxes: ArrayLike) -> NDArray[np.float32]:
    """Corners of boxes xyxy (…, 4) → (…, 4, 2) float32: top left, top right, bottom right, bottom left."""
    values = np.asarray(boxes, dtype=np.float32)
    if values.ndim < 1 or values.shape[-1] != 4:
        raise ValueError(f"boxes must have shape (…, 4), got {values.shape}")
    return values[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(*values.shape[:-1], 4, 2)


def quad_to_box(quads: ArrayLike) -> NDArray[np.float32]:
    """Smallest upright box around each quad: (…, 4, 2) → (…, 4) float32 xyxy."""
    corners = _checked(quads)
    return np.concatenate([corners.min(axis=-2), corners.max(axis=-2)], axis=-1).astype(np.float32)


def crop_origin(frame_wh: tuple[int, int], crop: int) -> tuple[int, int]:
    """(left, top) in pixels of the centred square crop; halves go to the even pixel, as in torchvision.

    Raises:
        ValueError: the crop is larger than the frame.
    """
    width, height = frame_wh
    if not 0 < crop <= min(width, height):
        raise ValueError(f"a crop of {crop} px does not fit a {width}x{height} frame; choose a smaller crop")
    return round((width - crop) / 2), round((height - crop) / 2)


def quads_to_crop(quads: ArrayLike, frame_wh: tuple[int, int], crop: int) -> NDArray[np.float32]:
    """Quads (…, 4, 2) in pixels of the frame → in pixels of its centre crop; they may leave [0, crop]²."""
    return (_checked(quads) - crop_origin(frame_wh, crop)).astype(np.float32)


def scale_quads(quads: ArrayLike, from_wh: tuple[float, float], to_wh: tuple[float, float]) -> NDArray[np.float32]:
    """Quads (…, 4, 2) carried through a resize of their frame from W×H `from_wh` to `to_wh`."""
    return (_checked(quads) * (to_wh[0] / from_wh[0], to_wh[1] / from_wh[1])).astype(np.float32)


def flip_quads(quads: ArrayLike, width: float) -> NDArray[np.float32]:
    """Mirror quads (…, 4, 2) left to right in a frame of `width` pixels.

    A clockwise quad that begins top left comes back clockwise and beginning top left.
    """
    corners = _checked(quads)[..., [1, 0, 3, 2], :]
    return np.stack([width - corners[..., 0], corners[..., 1]], axis=-1).astype(np.float32)


def _checked(quads: ArrayLike) -> NDArray[np.float64]:
    corners = np.asarray(quads, dtype=np.float64)
    if corners.ndim < 2 or corners.shape[-2:] != (4, 2):
        raise ValueError(f"quads must have shape (…, 4, 2), got {corners.shape}")
    if not np.isfinite(corners).all():
        raise ValueError("quads must be finite, got nan or inf; give a lost frame its last known quad")
    return corners


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product


def _area(polygons: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area of clockwise polygons (…, k, 2), never negative."""
    centred = polygons - polygons[..., :1, :]
    doubled = _cross(centred, np.roll(centred, -1, axis=-2)).sum(axis=-1)
    return np.asarray(np.maximum(0.5 * doubled, 0.0))
