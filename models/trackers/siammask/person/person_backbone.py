"""MobileNetV2 as the person's network cuts it: 14 of its 19 parts, down to stride 16, padded as torchvision pads.

Batch norms are folded into the convolutions, as in `mobilenet.py`; a crop of 160 px becomes maps of 80, 40, 20 and 10
cells, and costs a quarter of what 255 px cost at stride 8.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from models.trackers.siammask.mobilenet import InvertedResidual, fold_convolutions

# Of torchvision's `features.1` to `features.13`: expansion, channels, stride.
BLOCKS: Final = (
    (1, 16, 1),
    (6, 24, 2), (6, 24, 1),
    (6, 32, 2), (6, 32, 1), (6, 32, 1),
    (6, 64, 2), (6, 64, 1), (6, 64, 1), (6, 64, 1),
    (6, 96, 1), (6, 96, 1), (6, 96, 1),
)  # fmt: skip
STRIDE_2, STRIDE_4, STRIDE_8, STRIDE_16 = 16, 24, 32, 96   # channels of the maps that are handed on
_TAKEN: Final = (0, 2, 5, 12)
_STEM: Final = 32

# torchvision's classifiers see RGB of 0 to 1, less the mean, over the deviation; a crop is BGR of 0 to 255.
_MEAN_BGR: Final = (0.406, 0.456, 0.485)
_DEVIATION_BGR: Final = (0.225, 0.224, 0.229)


class PersonFeatures(NamedTuple):
    """Maps of a crop (B, 3, S, S): (B, 16, S/2, S/2), (B, 24, S/4, S/4), (B, 32, S/8, S/8), (B, 96, S/16, S/16)."""

    half: Tensor
    quarter: Tensor
    eighth: Tensor
    sixteenth: Tensor


class PersonBackbone(nn.Module):
    """See the file's head."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(_MEAN_BGR).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", 255 * torch.tensor(_DEVIATION_BGR).view(1, 3, 1, 1), persistent=False)
        self.first = nn.Sequential(nn.Conv2d(3, _STEM, 3, 2, 1), nn.ReLU6(inplace=True))
        blocks, inputs = [], _STEM
        for expansion, outputs, stride in BLOCKS:
            blocks.append(InvertedResidual(inputs, outputs, expansion, stride, 1, pads=True))
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, crop: Tensor) -> PersonFeatures:
        """Crop (B, 3, S, S) float32, BGR, 0 to 255, S a multiple of 16."""
        x: Tensor = self.first(((crop - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last))
        taken = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in _TAKEN:
                taken.append(x)
        return PersonFeatures(*taken)


def person_backbone_tensors(classifier: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of `PersonBackbone` from those of torchvision's `mobilenet_v2`.

    Raises:
        ValueError: tensors are missing; the first is named.
    """
    folded = fold_convolutions(classifier, [expansion for expansion, *_ in BLOCKS])
    return folded | {"first.0.weight": folded["first.0.weight"].flip(1)}   # BGR
