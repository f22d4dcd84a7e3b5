"""OpenCV's people detector of 2005 (histograms of oriented gradients): the floor that others are measured against.

It finds upright people of 96 pixels and more, so frames are enlarged. OpenCV 5 no longer has it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.detectors.base import Detections, sorted_detections

ENLARGED = 2.0
WINDOW_STEP_PX = 8
SCALE_STEP = 1.05
MARGIN = 0.15       # of its boxes on each side is background: the windows it learnt from had as much
MAX_OVERLAP = 0.6


class HogDetector:
    """See the module. Scores are distances to the plane that parts people from the rest, and not probabilities.

    Raises:
        ValueError: this OpenCV has no such detector.
    """

    def __init__(self, file: Path | None = None, device: str = "cpu", min_score: float = 0.0) -> None:
        library: Any = cv2   # OpenCV 5 has no HOGDescriptor
        if not hasattr(library, "HOGDescriptor"):
            raise ValueError(
                f"OpenCV {cv2.__version__} has no HOG people detector, OpenCV 4 has: install opencv-python<5 for it"
            )
        self._hog = library.HOGDescriptor()
        self._hog.setSVMDetector(library.HOGDescriptor_getDefaultPeopleDetector())
        self.min_score = min_score

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """See `Detector.detect`."""
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: NDArray[np.uint8]) -> Detections:
        height, width = frame.shape[:2]
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        large = cv2.resize(grey, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
        step = (WINDOW_STEP_PX, WINDOW_STEP_PX)
        found, scores = self._hog.detectMultiScale(
            large, hitThreshold=self.min_score, winStride=step, padding=step, scale=SCALE_STEP, groupThreshold=0
        )
        corner_and_size = np.asarray(found, np.float64).reshape(-1, 4) / ENLARGED
        surely = np.asarray(scores, np.float64).reshape(-1)
        kept = cv2.dnn.NMSBoxes(corner_and_size.tolist(), surely.tolist(), self.min_score, MAX_OVERLAP)
        index = np.asarray(kept, np.int64).reshape(-1)
        low, size = corner_and_size[index, :2], corner_and_size[index, 2:]
        boxes = np.concatenate([low + MARGIN * size, low + (1 - MARGIN) * size], axis=1)
        return sorted_detections(boxes, surely[index], width, height)
