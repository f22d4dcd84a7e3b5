"""A tiny clip whose tube is known to the pixel, for tests of pictures."""

import numpy as np

from flows.draw.clip_view import ClipView, CropWindow

LENGTH, HEIGHT, WIDTH = 40, 64, 120
CROP = CropWindow(left=28, top=0, size=64)
GRID = (4, 4)


def box_quad(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def make_clip(**changes: object) -> ClipView:
    """Grey frames; one athlete's quad spans x 40–70, y 10–50 in all of them; cell (1, 2) of the grid is selected."""
    coverage = np.zeros((LENGTH, *GRID), np.float32)
    coverage[:, 1, 2] = 0.75
    coverage[:, 1, 1] = 0.4
    facts: dict[str, object] = {
        "clip_id": "dive_0001",
        "dataset": "tiny",
        "frames": np.full((LENGTH, HEIGHT, WIDTH, 3), 90, np.uint8),
        "quads": np.broadcast_to(box_quad(40, 10, 70, 50), (1, LENGTH, 4, 2)).copy(),
        "coverage": coverage,
        "crop": CROP,
        "tracker_scores": np.linspace(0.9, 0.5, LENGTH)[None],
        "score": 71.25,
    }
    return ClipView(**{**facts, **changes})  # type: ignore[arg-type]
