"""siammask-s: SiamMask on MobileNetV2, made to be small: box, score and outline from 96 channels.

Differences from the published network: one correlation serves score, box and outline; one box a position instead of
five anchors; the heads also read the search crop's own features beside the correlation, because a box ends where the
picture says so; outlines are always refined, with the backbone's finer maps, up to 63 x 63 cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.trackers.siammask.anchors import map_side
from models.trackers.siammask.backbone import Features
from models.trackers.siammask.mobilenet import DEEP, FINE, STEM, MobileNetStride8
from models.trackers.siammask.network import TEMPLATE_FEATURES, Response, correlate
from models.trackers.siammask.refine import window

CHANNELS = 96
OUTLINE_SIDE = 63
_COARSE_CELLS, _FINE_CELLS = 15, 31   # of an outline's window, in maps of stride 8 and 4


def _pointwise(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _depthwise(channels: int, padding: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, 3, padding=padding, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]


class Kernel(NamedTuple):
    """What is kept of a template: (B, 96, 5, 5)."""

    target: Tensor

    def rows(self, index: Tensor) -> "Kernel":
        """Those at `index` (b,) int64 of the batch."""
        return Kernel(self.target[index])


class SearchComparison(nn.Module):
    """Adjusts both sides, correlates channel by channel, reads the result together with the search side."""

    def __init__(self) -> None:
        super().__init__()
        self.adjust_kernel = nn.Sequential(*_depthwise(CHANNELS, 0), *_pointwise(CHANNELS, CHANNELS))
        self.adjust_search = nn.Sequential(*_depthwise(CHANNELS, 0), *_pointwise(CHANNELS, CHANNELS))
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.mix = nn.Sequential(*_pointwise(2 * CHANNELS, CHANNELS), *_depthwise(CHANNELS, 1))

    def forward(self, kernel: Tensor, search: Tensor) -> Tensor:
        """`kernel` (B, 96, 5, 5) of `adjust_kernel`, `search` (B, 96, 31, 31) → (B, 96, 25, 25)."""
        adjusted = self.adjust_search(search)
        found = self.norm(correlate(kernel, adjusted))
        edge = (adjusted.shape[-1] - found.shape[-1]) // 2
        seen = adjusted[..., edge : edge + found.shape[-2], edge : edge + found.shape[-1]]
        compared: Tensor = self.mix(torch.cat([found, seen], dim=1))
        return compared


class Outline(nn.Module):
    """From what a position compared to 63 x 63 cells of the template-sized window around it."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.ConvTranspose2d(CHANNELS, 16, _COARSE_CELLS)
        self.compared = nn.Sequential(*_pointwise(CHANNELS, 32))
        self.deep = nn.Sequential(*_pointwise(DEEP, 32))
        self.gain = nn.Conv2d(CHANNELS, 32, 1)
        self.coarse = nn.Sequential(*_convolution(16 + 32 + 32, 48), *_convolution(48, 32))
        self.see_fine = nn.Sequential(*_pointwise(FINE, 24))
        self.fine = nn.Sequential(*_convolution(32 + 24, 24))
        self.see_finest = nn.Sequential(*_pointwise(STEM, 16))
        self.finest = nn.Sequential(*_convolution(24 + 16, 16), nn.Conv2d(16, 1, 3, padding=1))

    def forward(self, compared: Tensor, deep: Tensor, fine: Tensor, finest: Tensor) -> Tensor:
        """Windows around positions, see `windows` → (B, 63, 63) logits."""
        middle = compared.shape[-1] // 2
        vector = compared[..., middle : middle + 1, middle : middle + 1]
        seen = self.deep(deep) * self.gain(vector).sigmoid()
        x = self.coarse(torch.cat([self.place(vector), self.compared(compared), seen], dim=1))
        x = functional.interpolate(x, size=(_FINE_CELLS, _FINE_CELLS), mode="bilinear", align_corners=True)
        x = self.fine(torch.cat([x, self.see_fine(fine)], dim=1))
        x = functional.interpolate(x, size=(OUTLINE_SIDE, OUTLINE_SIDE), mode="bilinear", align_corners=True)
        logits: Tensor = self.finest(torch.cat([x, self.see_finest(finest)], dim=1))
        return logits[:, 0]


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def windows(features: Features, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What lies in the template-sized windows at `positions` (B, 2) int64 row, column; zeros beyond the crop.

    Returns:
        (B, 192, 15, 15), (B, 24, 31, 31) and (B, 16, 63, 63) float.
    """
    return (
        window(features.layer3, positions - 4, _COARSE_CELLS),
        window(features.layer1, 2 * positions - 8, _FINE_CELLS),
        window(features.stem, 4 * positions - 16, OUTLINE_SIDE),
    )


def compared_window(correlation: Tensor, positions: Tensor) -> Tensor:
    """(B, 96, 15, 15) of the compared map (B, 96, 25, 25) float around `positions` (B, 2) int64 row, column."""
    return window(correlation, positions - _COARSE_CELLS // 2, _COARSE_CELLS)


class SmallSiamMask(nn.Module):
    """See the file's head; fulfils `batched_search.Siamese`."""

    outline_side = OUTLINE_SIDE

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetStride8()
        # Made-up targets are few: without dropout the heads know them by heart.
        self.neck = nn.Sequential(
            nn.Conv2d(DEEP, CHANNELS, 1, bias=False), nn.BatchNorm2d(CHANNELS), nn.Dropout2d(0.15)
        )
        self.compare = SearchComparison()
        self.score = nn.Sequential(*_pointwise(CHANNELS, CHANNELS), nn.Conv2d(CHANNELS, 2, 1))
        self.box = nn.Sequential(*_pointwise(CHANNELS, CHANNELS), nn.Conv2d(CHANNELS, 4, 1))
        self.outlines = Outline()

    def template(self, crop: Tensor) -> Kernel:
        """Template crop (B, 3, 127, 127) float32 BGR 0…255 to the kernel of the correlation."""
        return self.kernel(target_cells(self.backbone(crop).layer3))

    def kernel(self, deep: Tensor) -> Kernel:
        """The same from the backbone's map (B, 192, 7, 7) float of the target itself."""
        return Kernel(self.compare.adjust_kernel(self.neck(deep)))

    def search(self, crop: Tensor, template: Kernel) -> Response:
        """Search crop (B, 3, S, S) float, S = 255 or another 127 + 8 n, to what the heads say of R x R positions."""
        map_side(crop.shape[-1])
        return self.respond(self.backbone(crop), template)

    def respond(self, features: Features, template: Kernel) -> Response:
        """`search` from the backbone's maps on; cls (B, 2, R, R), loc (B, 4, R, R), correlation (B, 96, R, R)."""
        compared = self.compare(template.target, self.neck(features.layer3))
        return Response(self.score(compared), self.box(compared), compared, features)

    def outline(self, response: Response, positions: Tensor) -> Tensor:
        """Logits (B, 63, 63) of the target's outline as seen from `positions` (B, 2) int64, row and column."""
        compared = compared_window(response.correlation, positions)
        outlines: Tensor = self.outlines(compared, *windows(response.features, positions))
        return outlines


def target_cells(whole: Tensor) -> Tensor:
    """The middle 7 x 7 cells of a template crop's map (B, C, 15, 15), dtype kept."""
    first = (whole.shape[-1] - TEMPLATE_FEATURES) // 2
    return whole[..., first : first + TEMPLATE_FEATURES, first : first + TEMPLATE_FEATURES].contiguous()
