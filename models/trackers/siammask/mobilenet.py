"""MobileNetV2 as the small SiamMask cuts it: 14 of its 19 parts, stride 8, no padding where it shrinks.

As in the large form, steps of stride 2 do not pad, so that 255 px become 31 cells and 127 px become 15; the fourth of
them keeps the stride and its followers dilate by 2 instead. Batch norms are folded into the convolutions, and the
input's channel order and normalisation into the first of them: what goes in are BGR values of 0 to 255.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.trackers.siammask.backbone import Features

# Of torchvision's `features.1` to `features.13`: expansion, channels, stride there, dilation here.
_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1), (6, 24, 1, 1),
    (6, 32, 2, 1), (6, 32, 1, 1), (6, 32, 1, 1),
    (6, 64, 1, 1), (6, 64, 1, 2), (6, 64, 1, 2), (6, 64, 1, 2),
    (6, 96, 1, 2), (6, 96, 1, 2), (6, 96, 1, 2),
)  # fmt: skip
_STEM_CHANNELS = 32
_TAKEN = (0, 2, 5, 9, 12)   # blocks whose output is handed on: stride 2, 4, 8, 8, 8
STEM, FINE, DEEP = 16, 24, 32 + 64 + 96   # channels of the maps of stride 2, of stride 4, and of all of stride 8

# torchvision's classifiers see RGB of 0 to 1, less the mean, over the deviation.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NORM_EPS = 1e-5


class InvertedResidual(nn.Module):
    """Wider by a 1x1 convolution, a 3x3 convolution a channel, narrower again; added to the input where it fits."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int, dilation: int, pads: bool = False
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        padding = dilation if stride == 1 or pads else 0
        steps: list[nn.Module] = []
        if expansion > 1:
            steps += [nn.Conv2d(inputs, wide, 1), nn.ReLU6(inplace=True)]
        steps += [
            nn.Conv2d(wide, wide, 3, stride, padding, dilation, groups=wide), nn.ReLU6(inplace=True),
            nn.Conv2d(wide, outputs, 1),
        ]  # fmt: skip
        self.conv = nn.Sequential(*steps)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) float → (B, C', H', W')."""
        y: Tensor = self.conv(x)
        return x + y if self.adds else y


class MobileNetStride8(nn.Module):
    """See the file's head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, _STEM_CHANNELS, 3, 2), nn.ReLU6(inplace=True))
        blocks, inputs = [], _STEM_CHANNELS
        for expansion, outputs, stride, dilation in _BLOCKS:
            blocks.append(InvertedResidual(inputs, outputs, expansion, stride, dilation))
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, crop: Tensor) -> Features:
        """Crop (B, 3, S, S) float32, BGR, 0 to 255; S = 255: maps of 16 x 127², 24 x 63², 32 x 31² and 192 x 31²."""
        if crop.device.type != "cpu" or len(crop) == 1:
            return self._maps(crop)
        # The widest maps of one crop fit into a processor's cache, those of eight do not: twice as slow.
        parts = [self._maps(one) for one in torch.split(crop, 1)]
        return Features(*(torch.cat(maps) for maps in zip(*parts, strict=True)))

    def _maps(self, crop: Tensor) -> Features:
        x: Tensor = self.first(crop.contiguous(memory_format=torch.channels_last))
        taken = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in _TAKEN:
                taken.append(x)
        stem, fine, *coarse = taken
        return Features(stem, fine, coarse[0], torch.cat(coarse, dim=1))


def fold_classifier(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of `MobileNetStride8` from those of torchvision's `mobilenet_v2`.

    Raises:
        ValueError: tensors are missing; the first is named.
    """
    folded = fold_convolutions(tensors, [expansion for expansion, *_ in _BLOCKS])
    return folded | _first(folded["first.0.weight"], folded["first.0.bias"], prefix="first.0")


def fold_convolutions(tensors: Mapping[str, Tensor], expansions: Sequence[int]) -> dict[str, Tensor]:
    """Torchvision's `mobilenet_v2` up to the last of the blocks with these expansions, batch norms folded.

    The first convolution still wants what torchvision's does: RGB, normalised.

    Returns:
        float32 tensors called `first.0.…` and `blocks.N.conv.M.…`, of the shapes (out, in, k, k) and (out,).

    Raises:
        ValueError: tensors are missing; the first is named.
    """
    try:
        weight, bias = _fold(tensors, "features.0.0", "features.0.1")
        folded = {"first.0.weight": weight, "first.0.bias": bias}
        for number, expansion in enumerate(expansions):
            source = f"features.{number + 1}.conv"
            pairs = [("0.0", "0.1"), ("1.0", "1.1"), ("2", "3")] if expansion > 1 else [("0.0", "0.1"), ("1", "2")]
            for place, (convolution, norm) in enumerate(pairs):
                weight, bias = _fold(tensors, f"{source}.{convolution}", f"{source}.{norm}")
                folded |= {
                    f"blocks.{number}.conv.{2 * place}.weight": weight,
                    f"blocks.{number}.conv.{2 * place}.bias": bias,
                }
    except KeyError as exc:
        raise ValueError(f"the weights are not torchvision's mobilenet_v2: {exc.args[0]} is missing") from exc
    return folded


def _fold(tensors: Mapping[str, Tensor], convolution: str, norm: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that does what `convolution` and the batch norm after it do."""
    gain = tensors[f"{norm}.weight"] / (tensors[f"{norm}.running_var"] + _NORM_EPS).sqrt()
    bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * gain
    return tensors[f"{convolution}.weight"] * gain[:, None, None, None], bias


def _first(weight: Tensor, bias: Tensor, prefix: str) -> dict[str, Tensor]:
    """The first convolution for BGR of 0 to 255; exact, because it does not pad."""
    mean, deviation = torch.tensor(_MEAN), torch.tensor(_DEVIATION)
    shifted = bias - (weight * (mean / deviation)[:, None, None]).sum(dim=(1, 2, 3))
    scaled = weight / (255 * deviation)[:, None, None]
    return {f"{prefix}.weight": scaled.flip(1), f"{prefix}.bias": shifted}
