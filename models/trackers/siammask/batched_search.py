"""Many targets followed together: frame k of all of them goes through the network in one batch.

Of the outlines the search needs no more than their extent, if that; they are collected here, with the place of each in
its frame, and `outline` makes them into masks and quads afterwards. What must cross to the host in each frame is one
bool a target (who is lost decides the size of the next crop), and nothing where targets are never lost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.trackers.base import rectangle
from models.trackers.siammask.anchors import SEARCH_PX, TEMPLATE_PX
from models.trackers.siammask.crop import crop_corner, crop_targets
from models.trackers.siammask.decode import (
    Extent,
    choose,
    move,
    outline_extent,
    outline_window,
    search_side,
    template_side,
)
from models.trackers.siammask.network import Response
from models.trackers.siammask.outline import mask_to_rectangle, outline_to_mask, rectangle_to_quad
from models.trackers.siammask.settings import LostSettings, SiamMaskSettings


class Known(Protocol):
    """What a network keeps of a batch of templates; see `Template`."""

    def rows(self, index: Tensor) -> "Known":
        """Those at `index` (b,) int64 of the batch."""
        ...


class Siamese(Protocol):
    """What the search needs of a network; see `SiamMask`."""

    def template(self, crop: Tensor) -> Any:
        """What is kept of template crops (B, 3, 127, 127) float."""
        ...

    def search(self, crop: Tensor, template: Any) -> Response:
        """What the heads say of search crops (B, 3, S, S) float."""
        ...

    def outline(self, response: Response, positions: Tensor) -> Tensor:
        """Outline logits (B, side, side) float at `positions` (B, 2) int64 row, column."""
        ...


@dataclass
class Targets:
    """B targets between two frames, on the device.

    Attributes:
        which: (B,) int64, the clip of each.
        centre, size: (B, 2) float64, pixels.
        padding: (B, 3) uint8, mean colour of the first frame.
        template: correlation kernels.
        lost: (B,) bool.
    """

    which: Tensor
    centre: Tensor
    size: Tensor
    padding: Tensor
    template: Known
    lost: Tensor


@dataclass(frozen=True, eq=False)
class SearchResult:
    """B targets in one frame, on the device.

    Attributes:
        centre, size: (B, 2) float64, pixels; where a target is lost, its last ones.
        score: (B,) float64.
        lost: (B,) bool.
        outline: (B, side, side) float32 probabilities.
        window: (B, 3) float64, where in the frame the outline lies: x, y, side.
        confidence: (B,) float64, see `outline_extent`.
    """

    centre: Tensor
    size: Tensor
    score: Tensor
    lost: Tensor
    outline: Tensor
    window: Tensor
    confidence: Tensor

    def host(self) -> "SearchResult":
        """The same in the host's memory."""
        return SearchResult(*(getattr(self, name).cpu() for name in self.__dataclass_fields__))

    def upright(self, row: int) -> NDArray[np.float32]:
        """Corners (4, 2) of the upright box of target `row`."""
        centre, half = self.centre[row].numpy(), self.size[row].numpy() / 2
        return rectangle(np.concatenate([centre - half, centre + half]))


class Shape(NamedTuple):
    """What an athlete covers in a frame: quad (4, 2) float32, and mask (H, W) bool, None where none was drawn."""

    quad: NDArray[np.float32]
    mask: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Search:
    """The network and the numbers that it is used with."""

    network: Siamese
    settings: SiamMaskSettings
    lost: LostSettings

    @torch.inference_mode()
    def start(self, frames: Tensor, which: Tensor, boxes: Tensor) -> Targets:
        """Learn what to look for.

        Args:
            frames: (F, H, W, 3) uint8 RGB, the first frame of each clip.
            which: (B,) int64, the clip of each target.
            boxes: (B, 4) float64 xyxy, pixels, inside the frame.
        """
        centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        padding = frames.double().mean(dim=(1, 2)).to(torch.uint8)[which]
        side = torch.round(template_side(size))
        corner = crop_corner(centre, side, self.settings.half_up)
        crop = self._crop(frames, which, corner, side, padding, TEMPLATE_PX)
        lost = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        return Targets(which, centre, size, padding, self.network.template(crop), lost)

    @torch.inference_mode()
    def step(self, targets: Targets, frames: Tensor) -> SearchResult:
        """Find every target in its clip's next frame, `frames` (F, H, W, 3) uint8 RGB, and move `targets` there."""
        if self.lost.below <= 0:   # nobody is ever lost: nothing has to cross to the host
            found = self._look(targets, frames, SEARCH_PX)
        else:
            def look(part: Targets, lost: bool) -> SearchResult:
                return self._look(part, frames, self.lost.search_px if lost else SEARCH_PX)

            found = together(targets, look)
        targets.centre, targets.size, targets.lost = found.centre, found.size, found.lost
        return found

    def shape(self, found: SearchResult, row: int, frame_wh: tuple[int, int]) -> Shape:
        """Rotated rectangle around target `row` and its mask, of what is in the host's memory."""
        settings = self.settings
        mask = outline_to_mask(found.outline[row].numpy(), found.window[row].numpy(), frame_wh, settings)
        around = mask_to_rectangle(mask, settings.min_area)
        if around is not None and found.confidence[row] >= settings.min_confidence:
            return Shape(rectangle_to_quad(around), mask)
        return Shape(found.upright(row), mask)

    def _look(self, targets: Targets, frames: Tensor, pixels: int) -> SearchResult:
        side = torch.round(search_side(targets.size, pixels))
        corner = crop_corner(targets.centre, side, self.settings.half_up)
        # Crops begin at whole pixels; the published trackers compute as if they didn't.
        centre = corner + side[:, None] / 2 if self.settings.exact else targets.centre
        crop = self._crop(frames, targets.which, corner, side, targets.padding, pixels)
        response = self.network.search(crop, targets.template)
        weight = torch.where(targets.lost, self.lost.window, self.settings.window).double()
        choice = choose(response.cls, response.loc, targets.size, self.settings, weight)
        needed = torch.where(targets.lost, self.lost.found_above, self.lost.below)
        lost = choice.score < needed
        frame_wh = (frames.shape[2], frames.shape[1])
        moved, size = move(centre, targets.size, choice, self.settings, frame_wh)
        outline = self.network.outline(response, choice.position).sigmoid()
        window = outline_window(centre, side, choice.position, pixels)
        extent = outline_extent(outline, window, self.settings.mask_threshold)
        if self.settings.follow:
            share = self.settings.follow * self._trusted(extent)[:, None]
            moved, size = moved + share * (extent.centre - moved), size + share * (extent.size - size)
        return SearchResult(
            centre=torch.where(lost[:, None], targets.centre, moved),
            size=torch.where(lost[:, None], targets.size, size),
            score=choice.score,
            lost=lost,
            outline=outline,
            window=window,
            confidence=extent.confidence,
        )

    def _trusted(self, extent: Extent) -> Tensor:
        """(B,) bool: outlines that say more of the target's extent than its box does."""
        return (extent.confidence >= self.settings.min_confidence) & (extent.size.prod(dim=1) >= self.settings.min_area)

    def _crop(
        self, frames: Tensor, which: Tensor, corner: Tensor, side: Tensor, padding: Tensor, pixels: int
    ) -> Tensor:
        """(B, 3, pixels, pixels) float32 BGR, 0 to 255: what the published weights were trained on."""
        crop = crop_targets(frames, which, corner, side, padding, pixels)
        return crop.flip(-1).permute(0, 3, 1, 2).float()


def together(targets: Targets, look: Callable[[Targets, bool], SearchResult]) -> SearchResult:
    """Lost targets have larger crops than the others: two batches where there are both, put together again.

    Args:
        targets: B of them.
        look: finds some of them, told whether they are lost.
    """
    lost = targets.lost.cpu()
    if not lost.any() or lost.all():
        return look(targets, bool(lost.any()))
    parts = [(chosen.nonzero()[:, 0].to(targets.lost.device), gone) for chosen, gone in ((~lost, False), (lost, True))]
    looks = [look(_rows(targets, index), gone) for index, gone in parts]
    back = torch.cat([index for index, _ in parts]).argsort()
    names = SearchResult.__dataclass_fields__
    return SearchResult(*(torch.cat([getattr(one, name) for one in looks])[back] for name in names))


def _rows(targets: Targets, index: Tensor) -> Targets:
    names = ("which", "centre", "size", "padding")
    fields = {name: getattr(targets, name)[index] for name in names}
    return Targets(**fields, template=targets.template.rows(index), lost=targets.lost[index])
