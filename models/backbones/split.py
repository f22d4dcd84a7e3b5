"""Where a video network is cut: stage 1, a feature grid where attention works, stage 2.

Every backbone is cut after a named layer.  What stands in front of the cut makes a feature map per segment,
what stands behind it makes one pooled vector per segment.  Sizes are never typed: a dry run on PyTorch's meta
device (shapes only, no arithmetic) finds them when the network is built.

Letters: M = segments in the batch, C = channels at the cut, T = time steps at the cut, (Hf, Wf) = feature grid
over the network's input, S = input side in pixels, F = length of the pooled feature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call

SEGMENT_FRAMES = 16
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

FeatureHook = Callable[[Tensor], Tensor]


def mean_position(h: Tensor) -> Tensor:
    """A map (M, F, T, H, W) float to the mean over its positions, (M, F).

    Channels go last before the mean is taken, so that its gradient lies in memory as the map of a network that runs
    channels last does: PyTorch writes it out in the order of the axes, and the layers in front of it would read and
    write in two orders at once, at many times the cost.
    """
    return h.permute(0, 2, 3, 4, 1).mean(dim=(1, 2, 3))


@dataclass(frozen=True)
class Layout:
    """What the dry run found.

    Attributes:
        channels: C, channels of the feature map at the cut.
        steps: T, time steps of a segment at the cut.
        grid: (Hf, Wf), cells of the feature map over the network's square input.
        features: F, length of the pooled feature.
    """

    channels: int
    steps: int
    grid: tuple[int, int]
    features: int


@runtime_checkable
class Backbone(Protocol):
    """What TSANet asks of a video network.

    `backbone(x, between)` runs the whole network on segments `x: (M, 3, frames, S, S)` float, applies `between`
    to the feature map `(M, C, T, Hf, Wf)` at the cut, and returns the pooled features `(M, F)`.  `stage1` and
    `stage2` are its two halves; a network that carries something besides the feature map across the cut (the
    class token of MViT) offers its second half only through the full call.
    """

    split: str
    frames: int
    input_size: int
    channels: int
    steps: int
    stride_t: int
    grid: tuple[int, int]
    features: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def stage1(self, x: Tensor) -> Tensor:
        """Segments (M, 3, frames, S, S) float to the feature map (M, C, T, Hf, Wf) at the cut."""
        ...

    def stage2(self, h: Tensor) -> Tensor:
        """Feature map (M, C, T, Hf, Wf) float to pooled features (M, F)."""
        ...

    def __call__(self, x: Tensor, between: FeatureHook | None = None) -> Tensor:
        """Segments (M, 3, frames, S, S) float to pooled features (M, F); `between` works on the map at the cut."""
        ...


class SplitBackbone(nn.Module):
    """Base of our backbones: two stages to fill in, sizes derived.

    A subclass builds its layers, then calls `self.settle(split)`.

    Attributes:
        split: name of the layer behind which the cut lies.
        mean, std: RGB statistics, in units of [0, 1], that the network's weights expect of its input.
    """

    frames: int = SEGMENT_FRAMES
    input_size: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def settle(self, split: str) -> None:
        """Record the cut and derive every size from a dry run."""
        self.split = split
        layout = derive_layout(self, self.frames, self.input_size)
        self.channels = layout.channels
        self.steps = layout.steps
        self.stride_t = self.frames // layout.steps
        self.grid = layout.grid
        self.features = layout.features

    def stage1(self, x: Tensor) -> Tensor:
        """Segments (M, 3, frames, S, S) float to the feature map (M, C, T, Hf, Wf) at the cut."""
        raise NotImplementedError

    def stage1_layers(self) -> list[nn.Module]:
        """The layers in front of the cut, which together own every parameter and buffer that `stage1` reads.

        Raises:
            NotImplementedError: this network doesn't say; its first stage can't be frozen then.
        """
        raise NotImplementedError(f"{type(self).__name__} doesn't say which layers stand in front of the cut")

    def stage2(self, h: Tensor) -> Tensor:
        """Feature map (M, C, T, Hf, Wf) float to pooled features (M, F)."""
        raise NotImplementedError

    def last_map(self, h: Tensor) -> Tensor:
        """Feature map (M, C, T, Hf, Wf) float to the last map (M, F, T', H', W'), whose mean `stage2` returns.

        Raises:
            NotImplementedError: a network whose pooled feature is no mean over a map.
        """
        raise NotImplementedError(f"{type(self).__name__} has no last map to pool over")

    def forward(self, x: Tensor, between: FeatureHook | None = None) -> Tensor:
        """Segments (M, 3, frames, S, S) float to pooled features (M, F); `between` works on the map at the cut."""
        h = self.stage1(x)
        return self.stage2(h if between is None else between(h))


class _Observed(nn.Module):
    """Runs a backbone and also hands out the shape seen at the cut."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []

        def look(h: Tensor) -> Tensor:
            seen.append(h)
            return h

        pooled = self.backbone(x, look)
        return seen[0], pooled


def derive_layout(backbone: nn.Module, frames: int, input_size: int) -> Layout:
    """Find a backbone's sizes with one run on the meta device: no weights are copied, nothing is computed.

    Raises:
        ValueError: if the temporal length at the cut does not divide the segment's frames.
    """
    observed = _Observed(backbone)
    was_training = backbone.training
    ghosts = {name: tensor.detach().to("meta") for name, tensor in observed.state_dict(keep_vars=True).items()}
    ghosts |= {name: buffer.to("meta") for name, buffer in observed.named_buffers()}
    backbone.eval()
    try:
        with torch.no_grad():
            x = torch.empty(1, 3, frames, input_size, input_size, device="meta")
            h, pooled = cast(tuple[Tensor, Tensor], functional_call(observed, ghosts, (x,)))
    finally:
        backbone.train(was_training)
    _, channels, steps, rows, columns = h.shape
    if frames % steps:
        raise ValueError(f"the cut leaves {steps} time steps of {frames} frames; cut where they divide evenly")
    return Layout(channels=channels, steps=steps, grid=(rows, columns), features=pooled.shape[1])
