"""SiamMask: what two crops have to do with each other, position by position.

The template's features are the kernels of a depth-wise correlation over the search crop's features. Three heads
read the result: `cls` (is the target here, for each anchor), `loc` (how the anchor must move and grow), `mask` (its
outline, as one vector a position). The sharp form refines the outline with the backbone's finer maps.

All that depends on the template alone is computed once a clip (`template`), and an outline only at the position that
was chosen (`outline`): the published code evaluates the mask head at all 625.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.trackers.siammask.anchors import NUM_ANCHORS
from models.trackers.siammask.backbone import Features, ResNet50Stride8
from models.trackers.siammask.refine import REFINED_SIDE, Refine

CHANNELS = 256
COARSE_SIDE = 63       # the mask head's outline
TEMPLATE_FEATURES = 7  # of 15: what the target itself covers


class Template(NamedTuple):
    """Correlation kernels of the three heads, each (B, 256, 5, 5)."""

    cls: Tensor
    loc: Tensor
    mask: Tensor

    def rows(self, index: Tensor) -> "Template":
        """Those at `index` (b,) int64 of the batch."""
        return Template(self.cls[index], self.loc[index], self.mask[index])


class Response(NamedTuple):
    """What the heads say of a search crop.

    Attributes:
        cls: (B, 2 A, R, R), per anchor the logits of background (first A) and target (last A).
        loc: (B, 4 A, R, R): dx of all anchors, then dy, log width, log height.
        correlation: (B, 256, R, R), what outlines are made from.
        features: the search crop's maps.
    """

    cls: Tensor
    loc: Tensor
    correlation: Tensor
    features: Features


class DepthwiseHead(nn.Module):
    """Adjusts both sides, correlates channel by channel, reads the result with 1x1 convolutions."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv_kernel = _adjust()
        self.conv_search = _adjust()
        self.head = nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(inplace=True),
            nn.Conv2d(CHANNELS, outputs, 1),
        )

    def correlate(self, kernel: Tensor, search: Tensor) -> Tensor:
        """`kernel` (B, 256, 5, 5) of `conv_kernel`, `search` (B, 256, 31, 31) → (B, 256, 25, 25)."""
        return correlate(kernel, self.conv_search(search))


def correlate(kernel: Tensor, search: Tensor) -> Tensor:
    """Channel by channel, each of the batch with its own kernel.

    Args:
        kernel: (B, C, k, k) float.
        search: (B, C, S, S) of the same dtype.

    Returns:
        (B, C, S - k + 1, S - k + 1).
    """
    batch, channels = kernel.shape[:2]
    stacked = search.reshape(1, batch * channels, *search.shape[2:])
    kernels = kernel.reshape(batch * channels, 1, *kernel.shape[2:])
    found = functional.conv2d(stacked, kernels, groups=batch * channels)
    return found.reshape(batch, channels, *found.shape[2:])


def correlate_same(kernel: Tensor, search: Tensor, spread: int) -> Tensor:
    """`correlate` with a kernel of 3 x 3 whose cells lie `spread` apart, and as many positions as cells.

    Args:
        kernel: (B, C, 3, 3) float.
        search: (B, C, S, S) of the same dtype; zeros beyond its edges.
        spread: cells.

    Returns:
        (B, C, S, S).
    """
    batch, channels = kernel.shape[:2]
    found = functional.conv2d(
        search.reshape(1, batch * channels, *search.shape[2:]),
        kernel.reshape(batch * channels, 1, 3, 3), padding=spread, dilation=spread, groups=batch * channels,
    )  # fmt: skip
    return found.reshape(search.shape)


def _adjust() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(CHANNELS, CHANNELS, 3, bias=False), nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True)
    )


class SiamMask(nn.Module):
    """See the file's head. `sharp`: with refinement, outlines are then 127 x 127 instead of 63 x 63."""

    def __init__(self, sharp: bool) -> None:
        super().__init__()
        self.backbone = ResNet50Stride8()
        self.neck = nn.Sequential(nn.Conv2d(1024, CHANNELS, 1, bias=False), nn.BatchNorm2d(CHANNELS))
        self.cls = DepthwiseHead(2 * NUM_ANCHORS)
        self.loc = DepthwiseHead(4 * NUM_ANCHORS)
        self.mask = DepthwiseHead(COARSE_SIDE**2)
        self.refine = Refine() if sharp else None

    @property
    def outline_side(self) -> int:
        """Side in cells of the outlines that `outline` returns."""
        return COARSE_SIDE if self.refine is None else REFINED_SIDE

    def template(self, crop: Tensor) -> Template:
        """Template crop (B, 3, 127, 127) float32 BGR 0…255 to the kernels of the three heads."""
        whole = self.neck(self.backbone(crop).layer3)
        first = (whole.shape[-1] - TEMPLATE_FEATURES) // 2
        target = whole[..., first : first + TEMPLATE_FEATURES, first : first + TEMPLATE_FEATURES]
        return Template(*(head.conv_kernel(target) for head in (self.cls, self.loc, self.mask)))

    def search(self, crop: Tensor, template: Template) -> Response:
        """Search crop (B, 3, S, S) float, S = 255 or another 127 + 8 n, to what the heads say of R x R positions."""
        features = self.backbone(crop)
        found = self.neck(features.layer3)
        return Response(
            cls=self.cls.head(self.cls.correlate(template.cls, found)),
            loc=self.loc.head(self.loc.correlate(template.loc, found)),
            correlation=self.mask.correlate(template.mask, found),
            features=features,
        )

    def outline(self, response: Response, positions: Tensor) -> Tensor:
        """Logits (B, side, side) of the target's outline as seen from `positions` (B, 2) int64, row and column."""
        batch = torch.arange(len(positions), device=positions.device)
        vector = response.correlation[batch, :, positions[:, 0], positions[:, 1]][..., None, None]
        if self.refine is not None:
            refined: Tensor = self.refine(vector, response.features, positions)
            return refined
        coarse: Tensor = self.mask.head(vector)
        return coarse.reshape(-1, COARSE_SIDE, COARSE_SIDE)
