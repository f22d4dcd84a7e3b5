"""The boxes that positions of the score map predict from, and the window that damps far jumps."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RATIOS = (0.33, 0.5, 1.0, 2.0, 3.0)   # height over width
SCALE = 8
STRIDE_PX = 8
BASE_CELLS = 8                         # cells by which the score map is larger than the sides' difference says
TEMPLATE_PX = 127
SEARCH_PX = 255
NUM_ANCHORS = len(RATIOS)
SQUARE_PX = SCALE * STRIDE_PX          # side of the anchor of ratio 1


def map_side(search_px: int) -> int:
    """Cells along a side of the score map of a search crop: 25 for 255 px.

    Raises:
        ValueError: the crop is no 127 + 8 n pixels.
    """
    cells, rest = divmod(search_px - TEMPLATE_PX, STRIDE_PX)
    if rest or cells < 0:
        raise ValueError(f"a search crop has {TEMPLATE_PX} + 8 n pixels, got {search_px}")
    return cells + 1 + BASE_CELLS


def anchor_sizes() -> NDArray[np.float32]:
    """(5, 2) width and height in pixels of the crop: 104x32, 88x40, 64x64, 40x80, 32x96.

    Sides are cut to whole pixels before they are scaled, as the published weights learned them.
    """
    widths = [int((STRIDE_PX**2 / ratio) ** 0.5) for ratio in RATIOS]
    return np.asarray([(w * SCALE, int(w * r) * SCALE) for w, r in zip(widths, RATIOS, strict=True)], np.float32)


@lru_cache(maxsize=8)
def anchor_grid(side: int, anchors: int = NUM_ANCHORS) -> NDArray[np.float32]:
    """(A · side², 4) cx, cy, w, h in pixels from the crop's centre; anchor by anchor, each row by row.

    `anchors` 5 is all of them, 1 the square one alone.
    """
    boxes = anchor_sizes() if anchors == NUM_ANCHORS else np.full((1, 2), SQUARE_PX, np.float32)
    steps = (np.arange(side, dtype=np.float32) - side // 2) * STRIDE_PX
    y, x = np.meshgrid(steps, steps, indexing="ij")
    sizes = np.repeat(boxes, side * side, axis=0)
    places = np.tile(np.stack([x.ravel(), y.ravel()], axis=1), (len(boxes), 1))
    return np.concatenate([places, sizes], axis=1)


@lru_cache(maxsize=4)
def cosine_window(side: int) -> NDArray[np.float64]:
    """(side, side): 1 in the middle, 0 at the border."""
    rise = np.hanning(side)
    return np.outer(rise, rise)
