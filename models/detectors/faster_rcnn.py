"""Faster R-CNN with ResNet-50 and feature pyramid, torchvision's: what the TSA-Net paper detects first frames with.

The paper says "Faster-RCNN pretrained on MS-COCO" and no more; of torchvision's two such networks this is the one that
was there in 2021. Boxes, scores and suppression are torchvision's own, of which the people are kept.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.backbones.checkpoint import load_state, read_tensors
from models.detectors.base import Detections, sorted_detections

PERSON, CLASSES = 1, 91  # of COCO as torchvision numbers it, 0 being the background


class FasterRcnnDetector:
    """Finds the class "person".

    Args:
        file: torchvision's weights for COCO (`fasterrcnn_resnet50_fpn_coco-….pth`), or a state dict of that network.
        device: "cpu" or "cuda[:n]".
        min_score: boxes that score less are dropped.

    Raises:
        ValueError: the file is damaged, holds a program, or another network.
    """

    def __init__(self, file: Path, device: str = "cpu", min_score: float = 0.25) -> None:
        import torch  # takes seconds, and whoever only asks for a detector's name needs none of it
        from torchvision.models.detection import FasterRCNN
        from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
        from torchvision.ops import FrozenBatchNorm2d

        backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None)
        network = FasterRCNN(backbone, CLASSES, box_score_thresh=min_score)
        for part in network.modules():
            if isinstance(part, FrozenBatchNorm2d):
                part.eps = 0.0  # as torchvision sets it for these weights, which were trained so
        load_state(network, file, "torchvision's fasterrcnn_resnet50_fpn", read_tensors(file))
        self._network = network.to(device).eval()
        self._device = torch.device(device)
        self.min_score = min_score

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """See `Detector.detect`; one frame at a time, so that no frame's boxes depend on its neighbours' size."""
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: NDArray[np.uint8]) -> Detections:
        import torch

        height, width = frame.shape[:2]
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).to(self._device).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            (found,) = self._network([pixels])
        people = found["labels"] == PERSON
        boxes, scores = (found[name][people].double().cpu().numpy() for name in ("boxes", "scores"))
        return sorted_detections(boxes, scores, width, height)
