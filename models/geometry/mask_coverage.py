"""The exact part of a feature grid that pixel masks cover, straight from their run lengths.

A mask is a union of whole pixels; pixel i spans [i, i+1), so what it covers of a cell is an area, as for quads
(`models.geometry.quads.coverage`), and a mask that is a whole-pixel box covers exactly what that box does. Nothing is
decoded to pixels: in COCO's order a run is a stretch of one column (or of several, which is cut up), and a stretch
covers a cell with its length in the cell's rows times the column's width in the cell.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.geometry.quads import coverage, crop_origin, quads_to_crop
from models.geometry.rle import Runs

# Stretches worked on at once: (rows, stretches) float64 then stays below some 10 MB, whatever the masks look like.
_CHUNK = 1 << 16


class Window(NamedTuple):
    """The part of a frame that a grid of `cells` (rows, columns) divides evenly: its corner and size in pixels."""

    left: float
    top: float
    width: float
    height: float
    cells: tuple[int, int]


class _Stretches(NamedTuple):
    """Stretches of covered pixels, each inside one column: mask, column, and rows from `top` to before `bottom`."""

    mask: NDArray[np.int64]
    column: NDArray[np.int64]
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]

    def between(self, left: int, right: int) -> _Stretches:
        """Those in columns from `left` to before `right`."""
        inside = (self.column >= left) & (self.column < right)
        return _Stretches(*(part[inside] for part in self))


def has_mask(rle: Runs, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which masks of `models.geometry.rle.pack_runs` are there and have a pixel: (masks,) bool.

    A mask without a pixel outlines nobody and counts as none.
    """
    return np.asarray(np.diff(offsets) > 1)  # one run is all of zeros, and no run is no mask


def runs_coverage(
    rle: Runs, offsets: NDArray[np.int64], frame_wh: tuple[int, int], window: Window
) -> NDArray[np.float32]:
    """Fraction of every cell that each mask covers: (masks, rows, columns) float32 in [0, 1]; 0 where there is none.

    Args:
        rle, offsets: `models.geometry.rle.pack_runs` of masks of `frame_wh` pixels.
        frame_wh: width and height of the masks.
        window: where the grid lies; it may reach over the frame's border, beyond which nothing is covered.

    Raises:
        ValueError: the runs are not of masks of that size.
    """
    _check_sizes(rle, offsets, frame_wh)
    rows, columns = window.cells
    masks, (width, height) = len(offsets) - 1, frame_wh
    stretches = _stretches(rle, offsets, width, height)
    shares = _column_widths(width, window)
    seen = np.flatnonzero(shares.any(axis=1))
    left, right = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 0)
    stretches = stretches.between(left, right)
    borders = window.top + np.arange(rows + 1)[:, None] * (window.height / rows)
    # Covered length of each mask's every column in each row of cells, in pixels.
    lengths = np.zeros((rows, masks * (right - left)))
    place = stretches.mask * (right - left) + stretches.column - left
    for begin in range(0, len(place), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        covered = np.diff(np.clip(borders, stretches.top[part], stretches.bottom[part]), axis=0)
        ours = place[part]  # in ascending order, so each column's stretches follow each other
        first = np.flatnonzero(np.diff(ours, prepend=-1))
        lengths[:, ours[first]] += np.add.reduceat(covered, first, axis=1)
    # Areas in pixels are whole where cells are, and divided once: a cell covered by exactly tau is found to be so.
    areas = (lengths.reshape(rows, masks, right - left) @ shares[left:right]).transpose(1, 0, 2)
    cell = (window.width / columns) * (window.height / rows)
    return np.clip(areas / cell, 0.0, 1.0).astype(np.float32)


def _check_sizes(rle: Runs, offsets: NDArray[np.int64], frame_wh: tuple[int, int]) -> None:
    width, height = frame_wh
    sums = np.concatenate([[0], np.cumsum(rle, dtype=np.int64)])[offsets]
    covered = np.diff(sums)[np.diff(offsets) > 0]
    if (covered != width * height).any():
        wrong = int(covered[covered != width * height][0])
        raise ValueError(f"a mask has {wrong} pixels, a frame of {width}x{height} has {width * height}")


def _stretches(rle: Runs, offsets: NDArray[np.int64], width: int, height: int) -> _Stretches:
    """The runs of True of all masks, cut at the columns' ends, in order of mask and column."""
    ends = np.cumsum(rle, dtype=np.int64)
    mask = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    number = np.arange(len(rle)) - offsets[mask]  # of the run in its mask: odd ones are True
    true = np.flatnonzero((number % 2 == 1) & (rle > 0))
    # Masks that are there all have as many pixels, so the running sum tells the pixel once that is taken off.
    start_of_mask = np.concatenate([[0], ends])[offsets[mask[true]]]
    end = ends[true] - start_of_mask
    start = end - rle[true]
    first, last = start // height, (end - 1) // height
    spans = last - first + 1
    owner = np.repeat(np.arange(len(true)), spans)
    column = first[owner] + np.arange(len(owner)) - np.repeat(np.cumsum(spans) - spans, spans)
    top = np.maximum(start[owner] - column * height, 0)
    bottom = np.minimum(end[owner] - column * height, height)
    return _Stretches(mask[true][owner], column, top, bottom)


def _column_widths(width: int, window: Window) -> NDArray[np.float64]:
    """(pixels of a row, columns of cells): how wide each pixel is in each column of cells, in pixels."""
    columns = window.cells[1]
    borders = window.left + np.arange(columns + 1) * (window.width / columns)
    pixels = np.arange(width, dtype=np.float64)[:, None]
    return np.asarray(np.maximum(np.minimum(pixels + 1, borders[1:]) - np.maximum(pixels, borders[:-1]), 0.0))


def tube_coverage(
    quads: ArrayLike, rle: Runs, offsets: NDArray[np.int64], frame_wh: tuple[int, int], grid: tuple[int, int], crop: int
) -> NDArray[np.float32]:
    """Coverage by the mask where there is one, by the quad elsewhere: (A, L, 4, 2) → (A, L, Hf, Wf) float32.

    A frame has no mask where it is the first (its box was given), where the target was lost, and where the outline came
    out empty. The quad is then all that is known of the athlete, and it is also what a tube of quads has in
    such a frame: a tube made from masks differs only where there are masks, and nobody vanishes from the middle
    of a clip because a tracker hesitated.

    Args:
        quads: pixels of the frame.
        rle, offsets: masks of A · L frames, mask of athlete a in frame t at index a · L + t.
        frame_wh: size of frame and masks.
        grid: (Hf, Wf).
        crop: side of the centred square that the grid lies over.

    Raises:
        ValueError: numbers of quads and masks differ, or as `runs_coverage` and `quads_to_crop`.
    """
    corners = np.asarray(quads)
    athletes, length = corners.shape[:2]
    if len(offsets) - 1 != athletes * length:
        raise ValueError(f"{len(offsets) - 1} masks do not belong to {athletes} tubes of {length} frames")
    left, top = crop_origin(frame_wh, crop)
    covered = runs_coverage(rle, offsets, frame_wh, Window(left, top, crop, crop, grid))
    bare = ~has_mask(rle, offsets)
    seen = quads_to_crop(corners.reshape(-1, 4, 2)[bare], frame_wh, crop)
    covered[bare] = coverage(seen, grid, (crop, crop))
    return covered.reshape(athletes, length, *grid)
