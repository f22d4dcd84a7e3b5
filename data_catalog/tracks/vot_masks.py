"""Ground truth of VOT 2020 and later: a line a frame, `m` and the mask as run lengths inside a rectangle.

m37,12,60,110,5,3,57,…     left, top, width, height of the rectangle, then runs, row by row, the first of zeros
m0,0,0,0   or   0          nothing of the target is visible
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_catalog.tracks.text import TrackFileError


class Region(NamedTuple):
    """A mask (h, w) bool, and the pixel of the frame that its upper left one is; h = w = 0 where nothing is seen."""

    left: int
    top: int
    mask: NDArray[np.bool_]


def holds_masks(file: Path) -> bool:
    """Whether a ground truth file is of this form."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        return next(lines, "").startswith("m")


def read_regions(file: Path) -> list[Region]:
    """The masks of all frames.

    Raises:
        TrackFileError: a line is none; names file and line.
    """
    lines = file.read_text(encoding="utf-8", errors="replace").split()
    return [read_region(line, f"{file.name} line {number}") for number, line in enumerate(lines, start=1)]


def read_region(line: str, place: str) -> Region:
    """One mask: its rectangle's numbers and run lengths, with or without the `m`. Raises TrackFileError."""
    if line == "0":
        return Region(0, 0, np.zeros((0, 0), bool))
    try:
        left, top, width, height, *runs = (int(cell) for cell in line.removeprefix("m").rstrip(",").split(","))
    except ValueError:
        raise TrackFileError(f"{place} is no mask: '{line[:60]}'") from None
    lengths = np.asarray(runs, np.int64)
    if min(left, top, width, height, lengths.min(initial=0)) < 0 or lengths.sum() > width * height:
        raise TrackFileError(f"{place} has runs of {lengths.sum()} pixels in a rectangle of {width} x {height}")
    flat = np.zeros(width * height, bool)
    flat[: lengths.sum()] = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)  # zeros at the end may be left away
    return Region(left, top, flat.reshape(height, width))


def whole_masks(regions: list[Region], frame_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """(F, H, W) bool; what lies outside the frame is cut off."""
    width, height = frame_wh
    masks = np.zeros((len(regions), height, width), bool)
    for frame, (left, top, mask) in zip(masks, regions, strict=True):
        inside = mask[: max(height - top, 0), : max(width - left, 0)]
        frame[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return masks
