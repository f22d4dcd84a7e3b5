"""Fits frames into a network's input without stretching them, and takes boxes back."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Letterbox:
    """A frame of `frame_wh` pixels scaled evenly by `scale` and centred on a canvas of `canvas_wh` pixels."""

    frame_wh: tuple[int, int]
    canvas_wh: tuple[int, int]
    scale: float

    @classmethod
    def square(cls, frame_wh: tuple[int, int], side: int) -> "Letterbox":
        """The frame's longer side fills a square canvas."""
        return cls(frame_wh, (side, side), side / max(frame_wh))

    @classmethod
    def padded(cls, frame_wh: tuple[int, int], side: int, stride: int) -> "Letterbox":
        """The frame's longer side becomes `side`; the canvas is the next multiple of `stride` on both axes."""
        scale = side / max(frame_wh)
        width, height = (-(-round(length * scale) // stride) * stride for length in frame_wh)
        return cls(frame_wh, (width, height), scale)

    def _inner(self) -> tuple[int, int, int, int]:
        width, height = (max(round(length * self.scale), 1) for length in self.frame_wh)
        return (self.canvas_wh[0] - width) // 2, (self.canvas_wh[1] - height) // 2, width, height

    def draw(self, frame: NDArray[np.uint8], grey: int = 114) -> NDArray[np.uint8]:
        """(H, W, 3) → (canvas height, canvas width, 3), the rest filled with `grey`."""
        left, top, width, height = self._inner()
        canvas = np.full((self.canvas_wh[1], self.canvas_wh[0], 3), grey, np.uint8)
        shrinking = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        canvas[top : top + height, left : left + width] = cv2.resize(frame, (width, height), interpolation=shrinking)
        return canvas

    def to_frame(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(k, 4) xyxy in canvas pixels → in frame pixels."""
        left, top, width, height = self._inner()
        scale = np.asarray([width / self.frame_wh[0], height / self.frame_wh[1]] * 2)
        return np.asarray((boxes - np.asarray([left, top] * 2)) / scale, np.float64)
