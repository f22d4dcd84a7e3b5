"""NanoTrack v1, v2 and v3 from ONNX files, through OpenCV's network code.

`cv2.TrackerNano` reads v1 and v2 only (v3 has a 15 x 15 score map) and keeps the box in whole pixels; here the map's
size is read from the head's output and the box stays continuous. A template crop (127 px) of the first frame is
compared with a search crop (255 px) around the last position; each map cell predicts a score and the distances to
the four sides. Large changes of size and shape are penalised, far jumps are damped by a cosine window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.onnx_file import read_onnx
from models.trackers.base import FrameLoopTracker, TrackStep, box_inside, rectangle

TEMPLATE_PX = 127
SEARCH_PX = 255
STRIDE_PX = 16


@dataclass(frozen=True)
class NanoSettings:
    """How the score map becomes a box.

    Attributes:
        context: share of the box's mean side added around it.
        penalty: strength with which changes of size and shape lower a cell's score.
        window: weight of the cosine window against the scores.
        rate: how quickly the size follows, times penalty and score of the chosen cell.
        lost_below: raw score under which the target counts as lost and the box stays where it was. At 0.7 no frame
            with IoU > 0.4 of 11 procedural clips is called lost, and a fifth of those with IoU < 0.05 is.
        swap_to_bgr: the published networks were trained on BGR pixels, 0 to 255.
    """

    context: float = 0.5
    penalty: float = 0.138
    window: float = 0.455
    rate: float = 0.348
    lost_below: float = 0.7
    swap_to_bgr: bool = True


class NanoTracker(FrameLoopTracker):
    """See the file's head. `files`: backbone and head, in this order; `device` is not used, OpenCV runs on the CPU.

    Raises:
        ValueError: a file is no ONNX network, or the two do not fit together.
    """

    def __init__(self, files: Sequence[Path], device: str = "cpu", settings: NanoSettings | None = None) -> None:
        self.settings = settings or NanoSettings()
        self._backbone, self._head = (read_onnx(file) for file in files)
        self._outputs = self._head.getUnconnectedOutLayersNames()
        self._template: NDArray[np.float32] | None = None
        self._padding = np.zeros(3)
        self._centre = np.zeros(2)
        self._size = np.ones(2)
        self._window: NDArray[np.float64] = np.ones((1, 1))
        self._points: NDArray[np.float64] = np.zeros((2, 1, 1))

    def init(self, frame: NDArray[np.uint8], box: ArrayLike) -> None:
        """See `Tracker.init`."""
        cut = box_inside(box, frame)
        self._centre, self._size = (cut[:2] + cut[2:]) / 2, cut[2:] - cut[:2]
        self._padding = frame.mean(axis=(0, 1))
        self._template = self._features(self._crop(frame, self._context_side(), TEMPLATE_PX))

    def update(self, frame: NDArray[np.uint8]) -> TrackStep:
        """See `Tracker.update`."""
        if self._template is None:
            raise RuntimeError("update() before init()")
        scale = TEMPLATE_PX / self._context_side()   # network pixels per frame pixel
        search = self._crop(frame, self._context_side() * SEARCH_PX / TEMPLATE_PX, SEARCH_PX)
        scores, sides = self._predict(self._features(search))
        shift, size = self._decode(sides)
        penalty = self._penalty(size, self._size * scale)
        ranked = penalty * scores * (1 - self.settings.window) + self._window * self.settings.window
        best = np.unravel_index(int(ranked.argmax()), ranked.shape)
        score = float(scores[best])
        lost = score < self.settings.lost_below
        if not lost:
            rate = float(penalty[best]) * score * self.settings.rate
            self._move(frame, shift[:, best[0], best[1]] / scale, size[:, best[0], best[1]] / scale, rate)
        half = self._size / 2
        return TrackStep(rectangle([*(self._centre - half), *(self._centre + half)]), score, lost)

    def _move(
        self, frame: NDArray[np.uint8], shift: NDArray[np.float64], size: NDArray[np.float64], rate: float
    ) -> None:
        frame_wh = np.asarray(frame.shape[1::-1], np.float64)
        self._centre = np.clip(self._centre + shift, 0, frame_wh)
        # 10 px is the smallest target of the published tracker; below, its features no longer resolve it.
        self._size = np.clip(self._size * (1 - rate) + size * rate, 10, frame_wh)

    def _context_side(self) -> float:
        """Side in frame pixels of the square around the target that becomes the template crop."""
        padded = self._size + self.settings.context * self._size.sum()
        return float(np.sqrt(padded.prod()))

    def _crop(self, frame: NDArray[np.uint8], side: float, pixels: int) -> NDArray[np.uint8]:
        """The square of whole pixels around the centre, padded with the first frame's mean colour, resized."""
        whole = max(round(side), 1)
        left, top = np.floor(self._centre - whole / 2 + 0.5).astype(int)
        height, width = frame.shape[:2]
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + whole, width), min(top + whole, height)
        patch = np.empty((whole, whole, 3), np.uint8)
        patch[:] = self._padding.astype(np.uint8)
        patch[y1 - top : y2 - top, x1 - left : x2 - left] = frame[y1:y2, x1:x2]
        return np.asarray(cv2.resize(patch, (pixels, pixels), interpolation=cv2.INTER_LINEAR), np.uint8)

    def _features(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._backbone.setInput(cv2.dnn.blobFromImage(crop, swapRB=self.settings.swap_to_bgr))
        return np.array(self._backbone.forward(), np.float32)   # a copy: OpenCV reuses its buffer

    def _predict(self, search: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Score map (S, S) in [0, 1] and distances to left, top, right, bottom (4, S, S) in network pixels."""
        self._head.setInput(self._template, "input1")
        self._head.setInput(search, "input2")
        outputs = [np.asarray(output[0], np.float64) for output in self._head.forward(self._outputs)]
        logits, sides = sorted(outputs, key=len)   # 2 and 4 channels: in which order a file has them is not settled
        if logits.shape[-1] != self._window.shape[-1]:
            self._make_grid(logits.shape[-1])
        return 1 / (1 + np.exp(logits[0] - logits[1])), sides

    def _make_grid(self, side: int) -> None:
        hanning = np.hanning(side)
        self._window = np.outer(hanning, hanning)
        steps = (np.arange(side) - side // 2) * float(STRIDE_PX)
        self._points = np.stack(np.meshgrid(steps, steps))

    def _decode(self, sides: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shift of the box's centre from the crop's, and box size, each (2, S, S), in network pixels."""
        shift = self._points + (sides[2:] - sides[:2]) / 2
        return shift, sides[2:] + sides[:2]

    def _penalty(self, size: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
        def padded_side(wh: NDArray[np.float64]) -> Any:
            padding = wh.sum(axis=0) / 2
            return np.sqrt((wh[0] + padding) * (wh[1] + padding))

        def change(ratio: Any) -> Any:
            return np.maximum(ratio, 1 / ratio)

        growth = change(padded_side(size) / padded_side(before))
        distortion = change((before[0] / before[1]) / (size[0] / size[1]))
        return np.asarray(np.exp(-(growth * distortion - 1) * self.settings.penalty), np.float64)
