"""NanoDet (anchor-free, generalised focal loss) from an ONNX file, through OpenCV's network code."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.detectors.base import Detections, sorted_detections
from models.detectors.letterbox import Letterbox
from models.onnx_file import read_onnx

INPUT_PX = 416
STRIDES = (8, 16, 32)
MEAN_BGR = (103.53, 116.28, 123.675)
STD_BGR = (57.375, 57.12, 58.395)
PERSON = 0        # COCO's class order
MAX_OVERLAP = 0.6  # of two boxes that overlap more, the surer stays (NanoDet's own setting)


class NanoDetDetector:
    """Reads NanoDet-m, 416 px: per stride 8, 16, 32 a score map (cells, classes) and side distributions.

    `device` is not used, OpenCV runs on the CPU.

    Raises:
        ValueError: the file is no ONNX network, or its outputs are not NanoDet's.
    """

    def __init__(self, file: Path, device: str = "cpu", min_score: float = 0.25) -> None:
        self._network = read_onnx(file)
        self._names = self._network.getUnconnectedOutLayersNames()
        if len(self._names) != 2 * len(STRIDES):
            raise ValueError(f"weights {file} have {len(self._names)} outputs, NanoDet has {2 * len(STRIDES)}")
        self.min_score = min_score

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """See `Detector.detect`."""
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: NDArray[np.uint8]) -> Detections:
        height, width = frame.shape[:2]
        fit = Letterbox.square((width, height), INPUT_PX)
        pixels = cv2.cvtColor(fit.draw(frame), cv2.COLOR_RGB2BGR).astype(np.float32)
        self._network.setInput(((pixels - MEAN_BGR) / STD_BGR).astype(np.float32).transpose(2, 0, 1)[None])
        outputs = [np.asarray(output[0], np.float64) for output in self._network.forward(self._names)]
        # Class scores have 80 columns, side distributions 4 x 8; both come in falling size, one a stride.
        scores = sorted((o for o in outputs if o.shape[-1] != 32), key=len, reverse=True)
        sides = sorted((o for o in outputs if o.shape[-1] == 32), key=len, reverse=True)
        person = np.concatenate([score[:, PERSON] for score in scores])
        boxes = np.concatenate([_boxes(side, stride) for side, stride in zip(sides, STRIDES, strict=True)])
        confident = person >= self.min_score
        boxes, person = fit.to_frame(boxes[confident]), person[confident]
        corner_and_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        kept = cv2.dnn.NMSBoxes(corner_and_size.tolist(), person.tolist(), self.min_score, MAX_OVERLAP)
        index = np.asarray(kept, np.int64).reshape(-1)
        return sorted_detections(boxes[index], person[index], width, height)


def _boxes(sides: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """(cells, 32) logits over 8 distances for each of 4 sides → (cells, 4) xyxy in input pixels."""
    logits = sides.reshape(len(sides), 4, 8)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    distance = (weights * np.arange(8)).sum(axis=-1) / weights.sum(axis=-1) * stride
    cells = INPUT_PX // stride
    steps = (np.arange(cells) + 0.5) * stride
    x, y = (axis.ravel() for axis in np.meshgrid(steps, steps))
    corners = [x - distance[:, 0], y - distance[:, 1], x + distance[:, 2], y + distance[:, 3]]
    return np.stack(corners, axis=1)
