"""Many athletes followed together by the person's network: frame k of all of them goes through it in one batch.

What is carried from frame to frame is where all of the person is. The network says that of every search crop anew, with
how surely its box holds, and the size follows as quickly as it is sure; so a box that has shrunk to a part grows again,
and one doubtful frame changes little.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.geometry.quads import polygon_iou, quad_area
from models.trackers.base import rectangle
from models.trackers.siammask.batched_search import SearchResult, Shape, Targets, together
from models.trackers.siammask.decode import change, template_side
from models.trackers.siammask.outline import crop_outline_to_mask, mask_to_rectangle, rectangle_to_quad
from models.trackers.siammask.person.person_network import (
    OUTLINE_PX,
    SEARCH_PX,
    TEMPLATE_PX,
    PersonResponse,
    PersonSiamMask,
    PersonTemplate,
)

Quad = NDArray[np.float32]

MIN_SIDE_PX: Final = 10.0
OUTLINE_CELLS: Final = SEARCH_PX // OUTLINE_PX


@dataclass(frozen=True)
class PersonSettings:
    """How responses become a track.

    Attributes:
        penalty: strength with which changes of size and shape lower a position's rank.
        window: weight of the cosine window against the scores.
        alike: positions that rank this near to the best one have a say in the box.
        rate: how quickly the size follows, times score and sureness.
        mask_threshold: probability from which a pixel belongs to the athlete.
        min_area: square pixels of a mask up to which its rotated box means nothing.
        tighter: share of the upright box's area up to which the rectangle around the outline is the quad: it says how
            somebody lies or flies.
        agreement: IoU with the upright box that the one around the rectangle must have for that.
        lost_below: score under which an athlete is lost: the box stays, and a crop of four times the area is searched.
        found_above: score from which they are found again.
        lost_window: weight of the cosine window while they are lost.
    """

    penalty: float = 0.08
    window: float = 0.35
    alike: float = 0.9
    rate: float = 0.6
    mask_threshold: float = 0.35
    min_area: float = 100.0
    tighter: float = 1.0
    agreement: float = 0.4
    lost_below: float = 0.02
    found_above: float = 0.2
    lost_window: float = 0.05


@dataclass(frozen=True)
class PersonSearch:
    """The network and the numbers that it is used with; `outlines`: draw them too."""

    network: PersonSiamMask
    settings: PersonSettings
    outlines: bool = True

    @torch.inference_mode()
    def start(self, frames: Tensor, which: Tensor, boxes: Tensor) -> Targets:
        """Learn whom to look for; see `Search.start`."""
        centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        padding = frames.double().mean(dim=(1, 2)).to(torch.uint8)[which]
        crop = cut_crops(frames, which, centre, template_side(size), padding, TEMPLATE_PX)
        lost = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        return Targets(which, centre, size, padding, self.network.template(crop), lost)

    @torch.inference_mode()
    def step(self, targets: Targets, frames: Tensor) -> SearchResult:
        """Find every athlete in their clip's next frame; see `Search.step`."""
        found = together(targets, lambda part, lost: self._look(part, frames, 2 * SEARCH_PX if lost else SEARCH_PX))
        targets.centre, targets.size, targets.lost = found.centre, found.size, found.lost
        return found

    def shape(self, found: SearchResult, row: int, frame_wh: tuple[int, int]) -> Shape:
        """Rotated rectangle around athlete `row` and their mask; see `Search.shape`."""
        settings = self.settings
        if not found.confidence[row]:
            return Shape(found.upright(row), None)
        mask = crop_outline_to_mask(
            found.outline[row].numpy(), found.window[row].numpy(), frame_wh, settings.mask_threshold
        )
        upright, around = found.upright(row), mask_to_rectangle(mask, settings.min_area)
        quad = upright if around is None else choose_quad(upright, rectangle_to_quad(around), settings)
        return Shape(quad, mask if mask.any() else None)

    def _look(self, targets: Targets, frames: Tensor, pixels: int) -> SearchResult:
        settings = self.settings
        side = template_side(targets.size) * (pixels / TEMPLATE_PX)
        crop = cut_crops(frames, targets.which, targets.centre, side, targets.padding, pixels)
        template = targets.template
        assert isinstance(template, PersonTemplate)
        response = self.network.search(crop, template)
        scale = (side / pixels)[:, None]
        weight = settings.lost_window if pixels > SEARCH_PX else settings.window
        box, score, sureness = choose_box(response, targets.size / scale, settings, weight)
        lost = score < torch.where(targets.lost, settings.found_above, settings.lost_below)
        share = (settings.rate * score * sureness)[:, None]
        share = torch.where(targets.lost[:, None], torch.ones_like(share), share)   # who is found again is so large
        limit = torch.tensor([frames.shape[2], frames.shape[1]], dtype=torch.float64, device=frames.device)
        centre = torch.minimum((targets.centre + (box[:, :2] + box[:, 2:]) / 2 * scale).clamp(min=0), limit)
        grown = targets.size * (1 - share) + (box[:, 2:] - box[:, :2]) * scale * share
        size = torch.minimum(grown.clamp(min=MIN_SIDE_PX), limit)
        outline = crop.new_zeros(len(crop), OUTLINE_CELLS, OUTLINE_CELLS)
        if self.outlines and pixels == SEARCH_PX:   # who is found again is drawn in the next frame
            outline = self.network.outline(response).sigmoid()
        shown = outline > settings.mask_threshold
        return SearchResult(
            centre=torch.where(lost[:, None], targets.centre, centre),
            size=torch.where(lost[:, None], targets.size, size),
            score=score,
            lost=lost,
            outline=outline,
            window=torch.cat([targets.centre - side[:, None] / 2, side[:, None]], dim=1),
            confidence=((outline * shown).sum(dim=(1, 2)) / shown.sum(dim=(1, 2)).clamp(min=1)).double(),
        )


def choose_quad(upright: Quad, turned: Quad, settings: PersonSettings) -> Quad:
    """The rectangle around the outline where it is no larger and of the same person, else the upright box.

    Args:
        upright: (4, 2) float32 corners in continuous pixels, as the box head says.
        turned: (4, 2) float32 corners, around the outline.
        settings: see `tighter` and `agreement`.
    """
    tight = quad_area(turned) <= settings.tighter * quad_area(upright)
    around = rectangle(np.concatenate([turned.min(axis=0), turned.max(axis=0)]))
    return turned if tight and polygon_iou(upright, around) >= settings.agreement else upright


def choose_box(
    response: PersonResponse, before: Tensor, settings: PersonSettings, window: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Each crop's box: the mean of what the positions say that rank nearly as high as the best.

    Args:
        response: of B search crops.
        before: (B, 2) float64, the present size in pixels of the crop.
        settings: penalty, and who has a say.
        window: weight of the cosine window.

    Returns:
        Box (B, 4) xyxy from the crop's middle, score of the best position and mean sureness (B,); float64.
    """
    score, box = response.score.sigmoid().double(), response.box.double()
    size = box[..., 2:] - box[..., :2]
    old = before[:, None, None]
    growth = change(template_side(size) / template_side(old))
    shape = change((size[..., 0] / size[..., 1]) / (old[..., 0] / old[..., 1]))
    rank = score * torch.exp(-(growth * shape - 1) * settings.penalty) * (1 - window)
    rank = (rank + window * _cosine(score.shape[-1], score.device)).flatten(1)
    best = rank.argmax(dim=1)
    say = score.flatten(1) * (rank >= settings.alike * rank.amax(dim=1, keepdim=True))
    say = say / say.sum(dim=1, keepdim=True)
    sureness = (response.sureness.sigmoid().double().flatten(1) * say).sum(dim=1)
    return (box.flatten(1, 2) * say[..., None]).sum(dim=1), score.flatten(1).gather(1, best[:, None])[:, 0], sureness


def cut_crops(
    frames: Tensor, which: Tensor, centre: Tensor, side: Tensor, padding: Tensor, pixels: int
) -> Tensor:
    """Squares around moving centres, resized; centres and sides need not be whole pixels.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        which: (B,) int64, the frame of each.
        centre: (B, 2) float64 x, y, continuous pixels.
        side: (B,) float64, in pixels of the frame.
        padding: (B, 3) uint8, the colour beyond the frame.
        pixels: side of the result.

    Returns:
        (B, 3, pixels, pixels) float32 BGR, 0 to 255.
    """
    height, width = frames.shape[1:3]
    steps = (torch.arange(pixels, device=frames.device) + 0.5) / pixels - 0.5
    across = centre[:, :1] + side[:, None] * steps
    down = centre[:, 1:] + side[:, None] * steps
    grid = torch.stack([
        (2 * across / width - 1)[:, None, :].expand(-1, pixels, -1),
        (2 * down / height - 1)[:, :, None].expand(-1, -1, pixels),
    ], dim=-1).float()  # fmt: skip
    beyond = padding.float()[:, :, None, None]
    seen = frames.permute(0, 3, 1, 2)[which].float() - beyond   # zero beyond the frame is then the padding's colour
    cut = functional.grid_sample(seen, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + beyond
    return cut.flip(1)


def _cosine(side: int, device: torch.device) -> Tensor:
    """(side, side) float64: 1 in the middle, hardly anything at the border."""
    rise = torch.hann_window(side + 2, periodic=False, dtype=torch.float64, device=device)[1:-1]
    return rise[:, None] * rise
