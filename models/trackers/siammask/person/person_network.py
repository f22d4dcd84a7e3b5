"""siammask-people: one small network for athletes: score, box and sureness of every position, outline on demand.

Differences from the published SiamMask: crops of 80 and 160 px; the heads read the search crop's own features beside
two comparisons with the template (a depth-wise correlation, and the likeness to each of its cells), because where a
person ends is what the picture says, not what the template shows; boxes are distances to four sides, each with how
surely it holds (an estimate of its IoU); the outline is drawn once for the whole search crop, not a position, and only
where somebody asks.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.trackers.siammask.network import correlate_same
from models.trackers.siammask.person.person_backbone import (
    STRIDE_2,
    STRIDE_4,
    STRIDE_8,
    STRIDE_16,
    PersonBackbone,
    PersonFeatures,
)

TEMPLATE_PX: Final = 80
SEARCH_PX: Final = 160
STRIDE_PX: Final = 8
CHANNELS: Final = 64
OUTLINE_PX: Final = 2          # of the search crop to a cell of the outline
_CELLS: Final = slice(2, 8)    # of a template's 10 x 10: what the target itself covers
_TARGET_CELLS: Final = 36
_SIDE_PX: Final = 10.5         # a side's distance where the head says nothing: softplus(2) of it, 22 px
_SPREAD: Final = 3             # cells between those that the correlation's kernel of 3 x 3 compares


def _pointwise(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _depthwise(channels: int, side: int = 3) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]


class PersonTemplate(NamedTuple):
    """What is kept of template crops: kernels (B, 64, 3, 3) and cells of unit length (B, 64, 36)."""

    kernel: Tensor
    cells: Tensor

    def rows(self, index: Tensor) -> "PersonTemplate":
        """Those at `index` (b,) int64 of the batch."""
        return PersonTemplate(self.kernel[index], self.cells[index])


class PersonResponse(NamedTuple):
    """What the heads say of search crops (B, 3, S, S), R = S / 8.

    Attributes:
        score: (B, R, R) logits: the target's middle is near.
        box: (B, R, R, 4) xyxy in pixels from the crop's middle.
        sureness: (B, R, R) logits of the box's IoU.
        compared: (B, 64, R, R), what outlines are made from, with
        features: the backbone's maps.
    """

    score: Tensor
    box: Tensor
    sureness: Tensor
    compared: Tensor
    features: PersonFeatures

    def rows(self, index: Tensor) -> "PersonResponse":
        """Those at `index` (b,) int64 of the batch."""
        features = PersonFeatures(*(one[index] for one in self.features))
        return PersonResponse(
            self.score[index], self.box[index], self.sureness[index], self.compared[index], features
        )


class PersonSiamMask(nn.Module):
    """See the file's head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = PersonBackbone()
        self.eighth = nn.Conv2d(STRIDE_8, CHANNELS, 1)
        self.sixteenth = nn.Conv2d(STRIDE_16, CHANNELS, 1)
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.adjust_kernel = nn.Sequential(*_depthwise(CHANNELS), *_pointwise(CHANNELS, CHANNELS))
        self.adjust_search = nn.Sequential(*_depthwise(CHANNELS), *_pointwise(CHANNELS, CHANNELS))
        self.norm_found = nn.BatchNorm2d(CHANNELS)
        self.read_likeness = nn.Sequential(nn.BatchNorm2d(_TARGET_CELLS), *_pointwise(_TARGET_CELLS, CHANNELS // 2))
        self.drop = nn.Dropout2d(0.1)
        self.compare = nn.Sequential(
            *_pointwise(2 * CHANNELS + CHANNELS // 2, CHANNELS),
            *_depthwise(CHANNELS, 5), *_pointwise(CHANNELS, CHANNELS),
            *_depthwise(CHANNELS, 5), *_pointwise(CHANNELS, CHANNELS),
        )  # fmt: skip
        self.score = nn.Sequential(*_pointwise(CHANNELS, CHANNELS), nn.Conv2d(CHANNELS, 1, 1))
        self.box = nn.Sequential(
            *_depthwise(CHANNELS, 5), *_pointwise(CHANNELS, CHANNELS), nn.Conv2d(CHANNELS, 5, 1)
        )
        self.outlines = PersonOutline()
        self._begin()

    def _begin(self) -> None:
        """Nobody anywhere, and boxes of one size."""
        score, box = self.score[-1], self.box[-1]
        assert isinstance(score, nn.Conv2d)
        assert score.bias is not None
        nn.init.constant_(score.bias, -3.0)
        for parameter in box.parameters():
            nn.init.zeros_(parameter)

    def template(self, crop: Tensor) -> PersonTemplate:
        """Template crops (B, 3, 80, 80) float32 BGR, 0 to 255."""
        target = self._see(self.backbone(crop))[..., _CELLS, _CELLS]
        kernel = functional.avg_pool2d(self.adjust_kernel(target), 2)
        return PersonTemplate(kernel, functional.normalize(target.flatten(2), dim=1))

    def search(self, crop: Tensor, template: PersonTemplate) -> PersonResponse:
        """Search crops (B, 3, S, S) float32 BGR, 0 to 255; S = 160, or another multiple of 16."""
        features = self.backbone(crop)
        seen = self._see(features)
        batch, _, rows, columns = seen.shape
        adjusted = self.adjust_search(seen)
        found = self.norm_found(correlate_same(template.kernel, adjusted, _SPREAD))
        cells = functional.normalize(seen.flatten(2), dim=1)
        likeness = torch.bmm(template.cells.transpose(1, 2), cells).reshape(batch, _TARGET_CELLS, rows, columns)
        compared = self.compare(self.drop(torch.cat([adjusted, found, self.read_likeness(likeness)], dim=1)))
        box = self.box(compared)
        return PersonResponse(self.score(compared)[:, 0], _corners(box[:, :4]), box[:, 4], compared, features)

    def outline(self, response: PersonResponse) -> Tensor:
        """Logits (B, S / 2, S / 2) float of the target's pixels in search crops of S px."""
        outlines: Tensor = self.outlines(response.compared, response.features)
        return outlines

    def _see(self, features: PersonFeatures) -> Tensor:
        """Both depths at stride 8, (B, 64, S / 8, S / 8)."""
        fine = self.eighth(features.eighth)
        coarse = functional.interpolate(
            self.sixteenth(features.sixteenth), size=fine.shape[-2:], mode="bilinear", align_corners=False
        )
        seen: Tensor = self.norm(fine + coarse)
        return seen


class PersonOutline(nn.Module):
    """From stride 8 to stride 2 by way of the backbone's finer maps."""

    def __init__(self) -> None:
        super().__init__()
        self.compared = nn.Sequential(*_pointwise(CHANNELS, 32))
        self.see_quarter = nn.Sequential(*_pointwise(STRIDE_4, 16))
        self.see_half = nn.Sequential(*_pointwise(STRIDE_2, 8))
        self.coarse = nn.Sequential(*_depthwise(48), *_pointwise(48, 24))
        self.fine = nn.Sequential(*_depthwise(32), *_pointwise(32, 16), nn.Conv2d(16, 1, 3, padding=1))

    def forward(self, compared: Tensor, features: PersonFeatures) -> Tensor:
        """(B, 64, R, R) float and the maps → (B, 4 R, 4 R) logits."""
        x = self.coarse(torch.cat([_twice(self.compared(compared)), self.see_quarter(features.quarter)], dim=1))
        logits: Tensor = self.fine(torch.cat([_twice(x), self.see_half(features.half)], dim=1))
        return logits[:, 0]


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def places(side: int, device: torch.device) -> Tensor:
    """Middles (R, R, 2) float32 x, y of the positions of a search crop of 8 R px, in pixels from the crop's middle."""
    steps = (torch.arange(side, device=device) + 0.5) * STRIDE_PX - side * STRIDE_PX / 2
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)


def _corners(sides: Tensor) -> Tensor:
    """Distances to left, top, right and bottom (B, 4, R, R), as the head gives them → boxes (B, R, R, 4) xyxy."""
    apart = functional.softplus(sides + 2).movedim(1, -1) * _SIDE_PX
    middle = places(sides.shape[-1], sides.device)
    return torch.cat([middle - apart[..., :2], middle + apart[..., 2:]], dim=-1)
