"""OpenCV's VitTrack from its one ONNX file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.onnx_file import check_onnx
from models.trackers.base import FrameLoopTracker, TrackStep, box_inside, rectangle

LOST_BELOW = 0.2   # OpenCV's own default
STD = (0.229, 0.224, 0.225)   # of channels between 0 and 1, what the network was trained with
DIVIDES_PLAINLY = tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 11)   # see `_inverse`


class VitTracker(FrameLoopTracker):
    """`files`: the ONNX file; `device` is not used, OpenCV runs on the CPU.

    Raises:
        ValueError: the file is no network that OpenCV reads, or refers to other files.
    """

    def __init__(self, files: Sequence[Path], device: str = "cpu") -> None:
        check_onnx(files[0])
        opencv: Any = cv2   # its type stubs leave the trackers out
        parameters = opencv.TrackerVit_Params()
        parameters.net = str(files[0])
        parameters.stdvalue = (*STD, 0.0) if DIVIDES_PLAINLY else _inverse([1 / value for value in STD])
        try:
            self._tracker: Any = opencv.TrackerVit_create(parameters)
            grey = np.full((64, 64, 3), 127, np.uint8)
            self._tracker.init(grey, (16, 16, 32, 32))   # another interface shows only when it is used
            self._tracker.update(grey)
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
        try:
            found, (left, top, width, height) = self._tracker.update(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        except cv2.error:   # OpenCV looks around a box that has left the frame, or shrunk to nothing: no pixel is there
            return TrackStep(rectangle(self._box), 0.0, lost=True)
        score = float(self._tracker.getTrackingScore())
        lost = not found or score < LOST_BELOW
        if not lost:
            self._box = np.asarray([left, top, left + width, top + height], np.float64)
        return TrackStep(rectangle(self._box), score, lost)


def _inverse(values: Sequence[float]) -> tuple[float, float, float, float]:
    """The quaternion (a, b, c, 0) whose inverse is `values`.

    OpenCV divides 1 by the standard deviations, from 4.11 on, with its `Scalar` type, whose division is that of
    quaternions: given the deviations themselves, two channels come out upside down and all too faint. Given this, the
    quotient is right. 4.10 divides a picture by them, which needs nothing.
    """
    a, b, c = values
    square = a * a + b * b + c * c
    return a / square, -b / square, -c / square, 0.0
