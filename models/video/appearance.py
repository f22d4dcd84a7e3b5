"""Whether a tube still holds what it held in the first frame, by colours that tell the athlete from the rest.

The colours inside the first quad are weighed against those outside of it, in the first frame and in the frame that is
looked at: a colour that the water, the ice or the stands have as well says nothing. Colours stay when an athlete
somersaults, which no template does.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Bins of L, a, b: light changes more than colour does, so it is coarser.
_LIGHT, _COLOUR = 8, 32
_ALL = _LIGHT * _COLOUR * _COLOUR
_RARE = 1e-4  # a share of pixels below which a colour is too rare to tell anything
SURROUNDINGS = 1.5  # outside begins where the quad, grown so many times about its centre, ends
SMOOTH = 5  # frames of the running median


def appearance_similarity(frames: NDArray[np.uint8], quads: NDArray[np.floating]) -> NDArray[np.float32]:
    """How much of what the first frame's quad shows each frame's quad shows: 1 as much, 0 no more than surroundings do.

    Args:
        frames: (L, h, w, 3) uint8 RGB; half the normalised frame's size is enough.
        quads: (A, L, 4, 2) corners in pixels of these frames.

    Returns:
        (A, L) float32, a running median over five frames; below 0 where the quad holds less of it than its
        surroundings do, 0 throughout where the first quad's colours are those of its surroundings.
    """
    codes = [_codes(frame) for frame in frames]
    return np.stack([_smooth(_of_one(codes, tube)) for tube in np.asarray(quads, np.float32)])


def _codes(frame: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The bin of every pixel's colour, (h, w)."""
    lab = cv2.cvtColor(frame, cv2.COLOR_RGB2Lab).astype(np.int32)
    return np.asarray(((lab[..., 0] >> 5) * _COLOUR + (lab[..., 1] >> 3)) * _COLOUR + (lab[..., 2] >> 3), np.int32)


def _of_one(codes: list[NDArray[np.int32]], quads: NDArray[np.float32]) -> NDArray[np.float64]:
    athlete: NDArray[np.float64] | None = None
    values = np.zeros(len(codes))
    contrast = 0.0
    for t, (code, quad) in enumerate(zip(codes, quads, strict=True)):
        inside, outside = _fill(quad, code.shape), ~_fill(_grown(quad), code.shape)
        around = _histogram(code[outside])
        if athlete is None:
            athlete, first = _histogram(code[inside]), around
        weights = athlete / (athlete + np.maximum(first, around) + _RARE)
        held = weights[code[inside]].mean() if inside.any() else 0.0
        difference = float(held - (weights[code[outside]].mean() if outside.any() else 0.0))
        if t == 0:
            contrast = difference
        values[t] = difference / contrast if contrast > _RARE else 0.0
    return values


def _histogram(codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Shares of the colours, smoothed along both axes of colour, (bins,)."""
    counts = np.bincount(codes, minlength=_ALL).reshape(_LIGHT, _COLOUR, _COLOUR).astype(np.float64)
    for axis in (1, 2):
        counts = (np.roll(counts, 1, axis) + 2 * counts + np.roll(counts, -1, axis)) / 4
    return np.asarray(counts.ravel() / max(len(codes), 1))


def _grown(quad: NDArray[np.float32]) -> NDArray[np.float32]:
    centre = quad.mean(axis=0)
    return np.asarray((quad - centre) * SURROUNDINGS + centre, np.float32)


def _fill(quad: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels (h, w) of a quad; the corners may lie outside the frame."""
    mask = np.zeros(shape, np.uint8)
    corners = np.clip(quad, -4096, 4096)  # what OpenCV's fixed point holds
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(corners * 16).astype(np.int32)), 1, shift=4)
    return mask.astype(bool)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float32]:
    reach = SMOOTH // 2
    return np.asarray(
        [np.median(values[max(0, t - reach) : t + reach + 1]) for t in range(len(values))], np.float32
    )
