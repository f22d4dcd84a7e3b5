"""OpenCV's multiple-instance-learning tracker: needs no weights, keeps the first box's size, never says it is lost.

Three things are added. It is repeatable: OpenCV draws its features with the C library's `rand` and its samples with
its own generator, and both are seeded before each `init` (under a lock, for the former belongs to the process).
It has a score: the likeness of colour histograms between the first box and the present one, which folding and
turning bodies keep. And it works on a shrunken copy of the frame, since its search radius is a fixed number of
pixels and its cost is that radius squared.
"""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.trackers.base import FrameLoopTracker, TrackStep, box_inside, rectangle

SEED = 20211
# Half size: a search radius of 25 px of the shrunken frame is 50 px of a 455 x 256 one.
SHRINK = 0.5
SEARCH_RADIUS_PX = 14
MIN_SIDE_PX = 6   # of the shrunken frame: OpenCV's features are at least 3 px wide
LOST_BELOW = 0.25
HISTOGRAM_BINS = 8

_SEEDING = Lock()


class MilTracker(FrameLoopTracker):
    """See the file's head. Takes no `files`; `device` is not used, OpenCV runs on the CPU and frees the GIL."""

    def __init__(
        self,
        files: Sequence[Path] = (),
        device: str = "cpu",
        shrink: float = SHRINK,
        search_radius_px: float = SEARCH_RADIUS_PX,
    ) -> None:
        self.shrink = shrink
        self.search_radius_px = search_radius_px
        self._tracker: Any = None
        self._histogram: NDArray[np.float32] | None = None
        self._box = np.zeros(4)

    def init(self, frame: NDArray[np.uint8], box: ArrayLike) -> None:
        """See `Tracker.init`."""
        self._box = box_inside(box, frame)
        small = self._small(frame)
        height, width = small.shape[:2]
        x1, y1, x2, y2 = self._box * self.shrink
        # Whole pixels inside the small frame; OpenCV stops with an assertion where a box touches its far edges.
        w = int(np.clip(round(x2 - x1), MIN_SIDE_PX, width - 2))
        h = int(np.clip(round(y2 - y1), MIN_SIDE_PX, height - 2))
        left, top = int(np.clip(round(x1), 0, width - w - 1)), int(np.clip(round(y1), 0, height - h - 1))
        self._offset = self._box[:2] - np.asarray([left, top]) / self.shrink
        self._side = self._box[2:] - self._box[:2]
        self._histogram = _histogram(frame, self._box)
        parameters = cv2.TrackerMIL_Params()
        parameters.samplerSearchWinSize = self.search_radius_px
        with _SEEDING:
            _libc().srand(SEED)
            cv2.setRNGSeed(SEED)
            self._tracker = cv2.TrackerMIL_create(parameters)
            self._tracker.init(small, (left, top, w, h))

    def update(self, frame: NDArray[np.uint8]) -> TrackStep:
        """See `Tracker.update`."""
        if self._tracker is None or self._histogram is None:
            raise RuntimeError("update() before init()")
        found, (left, top, _, _) = self._tracker.update(self._small(frame))
        corner = np.asarray([left, top]) / self.shrink + self._offset
        box = np.concatenate([corner, corner + self._side])
        score = float(cv2.compareHist(self._histogram, _histogram(frame, box), cv2.HISTCMP_BHATTACHARYYA))
        score = 1 - score
        lost = not found or score < LOST_BELOW
        if not lost:
            self._box = box
        return TrackStep(rectangle(self._box), score, lost)

    def _small(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.shrink == 1:
            return frame
        return np.asarray(
            cv2.resize(frame, None, fx=self.shrink, fy=self.shrink, interpolation=cv2.INTER_AREA), np.uint8
        )


def _histogram(frame: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.float32]:
    height, width = frame.shape[:2]
    x1, y1 = np.clip(np.floor(box[:2]).astype(int), 0, [width - 1, height - 1])
    x2, y2 = np.clip(np.ceil(box[2:]).astype(int), [x1 + 1, y1 + 1], [width, height])
    counts = cv2.calcHist([frame[y1:y2, x1:x2]], [0, 1, 2], None, [HISTOGRAM_BINS] * 3, [0, 256] * 3)
    return np.asarray(counts, np.float32)


def _libc() -> Any:
    return ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
