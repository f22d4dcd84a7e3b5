"""Tube masks as the released TSA-Net code draws them, kept to measure what that does. The paper's are in `tubes`.

Three differences: the grid lies over the whole frame although the network sees a crop of it; corners are truncated to
whole grid cells; a polygon with these corners is filled, rim included, instead of asking for the covered fraction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def released_cells(quads: ArrayLike, grid: tuple[int, int], frame_wh: tuple[int, int]) -> NDArray[np.float32]:
    """Cells that the released code marks in every frame.

    Args:
        quads: (…, 4, 2) pixels of the whole frame. The released code reads annotations of whole pixels; quads of
            another frame size give the same cells up to that rounding.
        grid: rows and columns laid over the whole frame.
        frame_wh: (W, H) of the frame in pixels.

    Returns:
        (…, Hf, Wf) float32, 1 where a cell is marked and 0 elsewhere, so that it can stand in for coverage.
    """
    import cv2  # here, as the masks stage names this module, and planning it draws nothing

    corners = np.asarray(quads, np.float64)
    cell = np.array([frame_wh[0] / grid[1], frame_wh[1] / grid[0]])
    vertices = np.trunc(corners / cell).astype(np.int32).reshape(-1, 4, 2)
    cells = np.zeros((len(vertices), *grid), np.uint8)
    for canvas, polygon in zip(cells, vertices, strict=True):
        cv2.fillConvexPoly(canvas, polygon, 1)
    return cells.reshape(*corners.shape[:-2], *grid).astype(np.float32)
