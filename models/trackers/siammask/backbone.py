"""The first three stages of ResNet-50 as SiamMask cuts it: stride 8, no padding at the borders that shrink.

Three things differ from the classifier. `conv1` and the stride-2 step of `layer2` do not pad, so that a position means
the same content wherever it lies in the crop. `layer3` keeps the stride and dilates by 2 instead. The shortcut
into `layer2` and `layer3` is a 3x3 convolution.
"""

from typing import NamedTuple

from torch import Tensor, nn

EXPANSION = 4


class Features(NamedTuple):
    """Maps of one crop, from fine to coarse: (B, 64, S/2), (B, 256, S/4), (B, 512, S/8), (B, 1024, S/8), roughly."""

    stem: Tensor
    layer1: Tensor
    layer2: Tensor
    layer3: Tensor


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut; `stride` 2 does not pad, `dilation` needs stride 1."""

    def __init__(
        self, inputs: int, width: int, *, stride: int = 1, dilation: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        padding = dilation if stride == 1 else 0
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * EXPANSION)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) float → (B, 4 width, H', W')."""
        y = self.bn1(self.conv1(x)).relu_()
        y = self.bn2(self.conv2(y)).relu_()
        y = self.bn3(self.conv3(y))
        total: Tensor = y + (x if self.downsample is None else self.downsample(x))
        return total.relu_()


def _layer(inputs: int, width: int, blocks: int, *, stride: int = 1, dilation: int = 1, kernel: int = 3) -> nn.Module:
    """`kernel`: side of the shortcut's convolution. The first block is dilated half as much as the others."""
    padding = kernel // 2 if stride == 1 else 0
    downsample = nn.Sequential(
        nn.Conv2d(inputs, width * EXPANSION, kernel, stride, padding, bias=False), nn.BatchNorm2d(width * EXPANSION)
    )
    first = Bottleneck(inputs, width, stride=stride, downsample=downsample)
    rest = [Bottleneck(width * EXPANSION, width, dilation=dilation) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


class ResNet50Stride8(nn.Module):
    """See the file's head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _layer(64, 64, 3, kernel=1)
        self.layer2 = _layer(256, 128, 4, stride=2)
        self.layer3 = _layer(512, 256, 6, dilation=2)

    def forward(self, crop: Tensor) -> Features:
        """Crop (B, 3, S, S) float32, BGR, 0 to 255, to the maps of every stage."""
        stem = self.bn1(self.conv1(crop)).relu_()
        layer1 = self.layer1(self.maxpool(stem))
        layer2 = self.layer2(layer1)
        return Features(stem, layer1, layer2, self.layer3(layer2))
