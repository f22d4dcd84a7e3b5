"""OpenCV's VitTrack from its one ONNX file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.trackers.base import FrameLoopTracker, TrackStep, box_inside, rectangle

LOST_BELOW = 0.2   # OpenCV's own default


class VitTracker(FrameLoopTracker):
    """`files`: the ONNX file; `device` is not used, OpenCV runs on the CPU.

    Raises:
        ValueError: the file is no network that OpenCV reads.
    """

    def __init__(self, files: Sequence[Path], device: str = "cpu") -> None:
        opencv: Any = cv2   # its type stubs leave the trackers out
        parameters = opencv.TrackerVit_Params()
        parameters.net = str(files[0])
        try:
            self._tracker: Any = opencv.TrackerVit_create(parameters)
        except cv2.error as exc:
            raise ValueError(f"weights {files[0]} are not a VitTrack network that OpenCV reads") from exc
        self._box: NDArray[np.float64] | None = None

    def init(self, frame: NDArray[np.uint8], box: ArrayLike) -> None:
        """See `Tracker.init`."""
        self._box = box_inside(box, frame)
        corner, size = np.round(self._box[:2]), np.round(self._box[2:] - self._box[:2])
        self._tracker.init(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), (*corner.astype(int), *size.astype(int)))

    def update(self, frame: NDArray[np.uint8]) -> TrackStep:
        """See `Tracker.update`."""
        if self._box is None:
            raise RuntimeError("update() before init()")
        found, (left, top, width, height) = self._tracker.update(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        score = float(self._tracker.getTrackingScore())
        lost = not found or score < LOST_BELOW
        if not lost:
            self._box = np.asarray([left, top, left + width, top + height], np.float64)
        return TrackStep(rectangle(self._box), score, lost)
