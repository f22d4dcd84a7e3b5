"""What a viewer should look at twice: a tube that touches the frame's border, or jumps from one frame to the next.

Both follow from the quads alone, so they mean the same for every tracker.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

BORDER_PX = 1.0
MAX_STEP = 0.5     # of the square root of the quad's area: centre to centre, in one frame
MAX_GROWTH = 2.0   # of the area, either way, in one frame


def at_border(quads: ArrayLike, frame_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether a corner lies within a pixel of the frame's border or beyond: (…, 4, 2) pixels → (…) bool."""
    corners = np.asarray(quads, np.float64)
    low = corners.min(axis=-2) <= BORDER_PX
    high = corners.max(axis=-2) >= np.asarray(frame_wh) - BORDER_PX
    return np.asarray((low | high).any(axis=-1))


def sudden_change(quads: ArrayLike) -> NDArray[np.bool_]:
    """Whether position or area leap against the frame before: (…, L, 4, 2) → (…, L) bool; never in frame 0."""
    corners = np.asarray(quads, np.float64)
    following = np.roll(corners, -1, axis=-2)
    doubled = (corners[..., 0] * following[..., 1] - corners[..., 1] * following[..., 0]).sum(axis=-1)
    area = np.maximum(np.abs(doubled) / 2, 1.0)
    step = np.linalg.norm(np.diff(corners.mean(axis=-2), axis=-2), axis=-1)
    before, after = area[..., :-1], area[..., 1:]
    growth = np.maximum(after / before, before / after)
    leaps = (step > MAX_STEP * np.sqrt(np.maximum(before, after))) | (growth > MAX_GROWTH)
    first = np.zeros((*leaps.shape[:-1], 1), bool)
    return np.concatenate([first, leaps], axis=-1)
