"""Frames that show their own number: ten black or white blocks, the lowest bit on the left, and coloured corners."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 200, 200))   # top left, top right, bottom left, bottom right


def drawn(number: int, size_wh: tuple[int, int] = (160, 120)) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB frame that shows `number`, 0 to 1023."""
    width, height = size_wh
    frame = np.full((height, width, 3), 90, np.uint8)
    w, h = width // 6, height // 5
    frame[:h, :w], frame[:h, -w:], frame[-h:, :w], frame[-h:, -w:] = CORNERS
    for bit in range(10):
        left, right = width * bit // 10, width * (bit + 1) // 10
        frame[int(height * 0.3) : int(height * 0.5), left:right] = 255 if number >> bit & 1 else 0
    return frame


def shown(frames: Iterable[NDArray[np.uint8]]) -> list[int]:
    """The numbers that frames show."""
    return [
        sum(1 << bit for bit in range(10) if frame[int(h * 0.4), int(w * (bit + 0.5) / 10)].mean() > 128)
        for frame in frames
        for h, w in [frame.shape[:2]]
    ]


def corners(frame: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """The colours of the four corners, in the order of `CORNERS`."""
    height, width = frame.shape[:2]
    places = ((0.05, 0.08), (0.95, 0.08), (0.05, 0.92), (0.95, 0.92))
    return [tuple(int(value) for value in frame[int(height * y), int(width * x)]) for x, y in places]
