"""RGB Inception-I3D (Carreira & Zisserman 2017), cut after any of its sixteen endpoints.

The layers carry the names under which the public checkpoints know them (`Mixed_4e.b1b.conv3d.weight`), so a
`rgb_i3d_pretrained.pt` loads directly; the other naming family is mapped by `models/backbones/checkpoint.py`.
The classifier of those files is not part of this network.

Padding is TensorFlow's SAME: output length ceil(n / stride), the odd row of padding at the far end.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.short_convolution import convolve
from models.backbones.split import SplitBackbone, mean_position

Triple = tuple[int, int, int]
BranchWidths = tuple[int, int, int, int, int, int]

# Branch widths (b0, b1a, b1b, b2a, b2b, b3b) of the nine Inception blocks, in order.
WIDTHS: dict[str, BranchWidths] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
STEM_WIDTHS = (64, 64, 192)


def same_padding(size: Sequence[int], kernel: Triple, stride: Triple) -> tuple[Triple, Triple]:
    """Zeros that SAME puts before and after each of the three axes of length `size`."""
    total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, stride, strict=True)]
    before = (total[0] // 2, total[1] // 2, total[2] // 2)
    return before, (total[0] - before[0], total[1] - before[1], total[2] - before[2])


def pad_zeros(x: Tensor, before: Triple, after: Triple) -> Tensor:
    """(M, C, T, H, W) of any dtype with zeros around its last three axes; itself where there are none to add."""
    if not any((*before, *after)):
        return x
    return F.pad(x, [p for pair in zip(before[::-1], after[::-1], strict=True) for p in pair])


class Unit3d(nn.Module):
    """Convolution with SAME padding, batch normalisation, ReLU: (M, C, T, H, W) to (M, C', T', H', W')."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: Triple = (1, 1, 1),
        stride: Triple = (1, 1, 1),
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(c_in, c_out, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(c_out, eps=1e-3, momentum=momentum)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(M, C, T, H, W) float to (M, C', T', H', W'), each length divided by the stride and rounded up."""
        before, after = same_padding(x.shape[2:], self.kernel, self.stride)
        if before != after:  # an odd total: only the strided first layer of an even-sized input comes here
            x, before = pad_zeros(x, before, after), (0, 0, 0)
        x = convolve(x, self.conv3d.weight, self.stride, before)
        return F.relu(self.bn(x), inplace=True)


class SamePool3d(nn.Module):
    """Max pooling with SAME padding by zeros.

    Behind a ReLU, zero and minus infinity as padding choose the same maximum; `ceil_mode` then stands for the
    one-sided row, and the map need not be copied into a padded one.  Attention at the cut makes negative values: the
    pool that reads them has `signed` set and really pads with zeros, as the public implementations do.
    """

    signed = False

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(M, C, T, H, W) float to (M, C, T', H', W'), each length divided by the stride and rounded up."""
        before, after = same_padding(x.shape[2:], self.kernel, self.stride)
        if self.signed:
            return F.max_pool3d(pad_zeros(x, before, after), self.kernel, self.stride)
        return F.max_pool3d(x, self.kernel, self.stride, before, ceil_mode=True)


class Mixed(nn.Module):
    """Inception block: four branches joined over channels."""

    def __init__(self, c_in: int, widths: BranchWidths, momentum: float = 0.01) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = widths
        cube = (3, 3, 3)
        self.b0 = Unit3d(c_in, b0, momentum=momentum)
        self.b1a = Unit3d(c_in, b1a, momentum=momentum)
        self.b1b = Unit3d(b1a, b1b, cube, momentum=momentum)
        self.b2a = Unit3d(c_in, b2a, momentum=momentum)
        self.b2b = Unit3d(b2a, b2b, cube, momentum=momentum)
        self.b3a = SamePool3d(cube, (1, 1, 1))
        self.b3b = Unit3d(c_in, b3b, momentum=momentum)
        self.c_out = b0 + b1b + b2b + b3b

    def forward(self, x: Tensor) -> Tensor:
        """(M, C, T, H, W) float to (M, `c_out`, T, H, W)."""
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


def build_layers() -> dict[str, nn.Module]:
    """The sixteen endpoints of I3D in order, under the names of the public checkpoints."""
    first, second, third = STEM_WIDTHS
    layers: dict[str, nn.Module] = {
        "Conv3d_1a_7x7": Unit3d(3, first, (7, 7, 7), (2, 2, 2)),
        "MaxPool3d_2a_3x3": SamePool3d((1, 3, 3), (1, 2, 2)),
        "Conv3d_2b_1x1": Unit3d(first, second),
        "Conv3d_2c_3x3": Unit3d(second, third, (3, 3, 3)),
        "MaxPool3d_3a_3x3": SamePool3d((1, 3, 3), (1, 2, 2)),
    }
    channels = third
    for name, widths in WIDTHS.items():
        if name == "Mixed_4b":
            layers["MaxPool3d_4a_3x3"] = SamePool3d((3, 3, 3), (2, 2, 2))
        if name == "Mixed_5b":
            layers["MaxPool3d_5a_2x2"] = SamePool3d((2, 2, 2), (2, 2, 2))
        block = Mixed(channels, widths)
        layers[name] = block
        channels = block.c_out
    return layers


def endpoint_alias(name: str) -> str:
    """Short name of an endpoint: `MaxPool3d_4a_3x3` is `maxpool_4a`, `Mixed_4e` is `mixed_4e`."""
    return "_".join(name.lower().replace("3d_", "_").split("_")[:2])


class EndpointBackbone(SplitBackbone):
    """A chain of named layers that can be cut behind any of them.

    The layers become direct children, so their names open the state_dict names.

    Args:
        layers: the chain, in order.
        split: where to cut; short (`mixed_4e`) and full (`Mixed_4e`) names are both understood.

    Raises:
        ValueError: an unknown endpoint.
    """

    def __init__(self, layers: dict[str, nn.Module], split: str) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.endpoints = tuple(layers)
        known = {endpoint_alias(name): i for i, name in enumerate(self.endpoints)}
        alias = endpoint_alias(split)
        if alias not in known:
            raise ValueError(
                f"{type(self).__name__} has no endpoint {split!r} to split after; choose one of {', '.join(known)}"
            )
        self._cut = known[alias] + 1
        for name in self.endpoints[self._cut : self._cut + 1]:
            for layer in getattr(self, name).modules():
                if isinstance(layer, SamePool3d):
                    layer.signed = True
        self.settle(alias)

    def stage1_layers(self) -> list[nn.Module]:
        """The endpoints up to the cut."""
        return [getattr(self, name) for name in self.endpoints[: self._cut]]

    def stage1(self, x: Tensor) -> Tensor:
        """Segments (M, 3, frames, S, S) float to the feature map (M, C, T, Hf, Wf) at the cut."""
        for name in self.endpoints[: self._cut]:
            x = getattr(self, name)(x)
        return x

    def last_map(self, h: Tensor) -> Tensor:
        """Feature map (M, C, T, Hf, Wf) float to the map of the last endpoint, (M, F, T', H', W')."""
        for name in self.endpoints[self._cut :]:
            h = getattr(self, name)(h)
        return h

    def stage2(self, h: Tensor) -> Tensor:
        """Feature map (M, C, T, Hf, Wf) float to pooled features (M, F)."""
        return mean_position(self.last_map(h))


class I3D(EndpointBackbone):
    """RGB I3D cut after an endpoint.

    `stage1`: (M, 3, 16, 224, 224) to (M, 528, 4, 14, 14) for `mixed_4e`; `stage2` goes on to (M, 1024), the mean
    over all positions of the last map.  Other clip lengths and sizes work as long as every map stays non-empty.

    Args:
        split: endpoint behind which attention works: `mixed_4e` in the paper, `maxpool_4a` in the released code.
    """

    def __init__(self, split: str = "mixed_4e") -> None:
        super().__init__(build_layers(), split)


def build_i3d(split: str | None = None, weights: str | Path | None = None) -> I3D:
    """I3D cut after `split` (default: the paper's `mixed_4e`), with a public checkpoint when `weights` names one."""
    backbone = I3D(split or "mixed_4e")
    if weights is not None:
        from models.backbones.checkpoint import load_i3d

        load_i3d(backbone, Path(weights))
    return backbone
