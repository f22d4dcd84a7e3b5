"""What a detector of people returns and promises."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Detections:
    """People in one frame: `boxes` (k, 4) float32 xyxy in pixels, `scores` (k,) float32, highest first; k may be 0."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.scores), 4) or self.scores.ndim != 1:
            raise ValueError(f"boxes (k, 4) and scores (k,) needed, got {self.boxes.shape}, {self.scores.shape}")


@runtime_checkable
class Detector(Protocol):
    """Finds people. One call may hold frames of several clips, and of several sizes."""

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """People in each (H, W, 3) uint8 RGB frame, boxes cut to the frame."""


def sorted_detections(boxes: NDArray[np.float64], scores: NDArray[np.float64], width: int, height: int) -> Detections:
    """Detections cut to the frame, empty boxes dropped, highest score first, ties from left to right.

    Args:
        boxes: (k, 4) xyxy in pixels of the frame.
        scores: (k,).
        width: of the frame, in pixels.
        height: of the frame, in pixels.
    """
    boxes = np.clip(boxes.reshape(-1, 4), 0, [width, height, width, height])
    real = (boxes[:, 2] - boxes[:, 0] > 0) & (boxes[:, 3] - boxes[:, 1] > 0)
    boxes, scores = boxes[real], scores[real]
    order = np.lexsort((boxes[:, 0], -scores))
    return Detections(boxes[order].astype(np.float32), scores[order].astype(np.float32))
