"""From the heads' maps to the next box: scores, penalties, window, and the update of position and size.

Everything is batched and stays on the device. Positions and sizes are float64: they are carried from frame to frame.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.trackers.siammask.anchors import (
    BASE_CELLS,
    SEARCH_PX,
    STRIDE_PX,
    TEMPLATE_PX,
    anchor_grid,
    cosine_window,
)  # fmt: skip
from models.trackers.siammask.settings import SiamMaskSettings

CONTEXT = 0.5       # share of the mean side that surrounds the target in the template crop
MIN_SIDE_PX = 10.0  # the published trackers let no target get smaller


class BestPosition(NamedTuple):
    """The best position of each target.

    Attributes:
        anchor: (B,) int64 into the anchors.
        position: (B, 2) int64 row and column in the score map.
        score, penalty, ranked: (B,) float64 there: probability of the target, factor for changes of size and shape,
            and the two with the window.
        shift, size: (B, 2) float64, from the old centre to the new, and the predicted size, in pixels of the frame.
    """

    anchor: Tensor
    position: Tensor
    score: Tensor
    penalty: Tensor
    ranked: Tensor
    shift: Tensor
    size: Tensor


def template_side(size: Tensor) -> Tensor:
    """Side in frame pixels (B,) of the square around targets of `size` (B, 2) that becomes the template crop."""
    return (size + CONTEXT * size.sum(-1, keepdim=True)).prod(-1).sqrt()


def search_side(size: Tensor, search_px: int = SEARCH_PX) -> Tensor:
    """The same for a search crop of `search_px`; not yet rounded."""
    return template_side(size) * (search_px / TEMPLATE_PX)


def choose(cls: Tensor, loc: Tensor, size: Tensor, settings: SiamMaskSettings, window_weight: Tensor) -> BestPosition:
    """Find each target's best position.

    Args:
        cls, loc: see `network.Response`.
        size: (B, 2) float64, present width and height in pixels of the frame.
        settings: the penalty's strength.
        window_weight: (B,) float64.
    """
    batch, side = len(cls), cls.shape[-1]
    per_cell = cls.shape[1] // 2
    anchors = torch.from_numpy(anchor_grid(side, per_cell)).to(cls.device)
    logits = cls.reshape(batch, 2, -1)
    score = logits.softmax(dim=1)[:, 1].double()
    delta = loc.reshape(batch, 4, -1)
    centre = delta[:, :2] * anchors[:, 2:].T + anchors[:, :2].T
    extent = delta[:, 2:].exp() * anchors[:, 2:].T

    scale = TEMPLATE_PX / template_side(size)  # crop pixels per frame pixel
    before = size * scale[:, None]
    growth = change(_padded_side(extent.double()) / _padded_side(before[..., None]))
    distortion = change((before[:, :1] / before[:, 1:]) / (extent[:, 0] / extent[:, 1]).double())
    penalty = torch.exp(-(growth * distortion - 1) * settings.penalty)

    window = torch.from_numpy(np.tile(cosine_window(side).ravel(), per_cell)).to(cls.device)
    weight = window_weight[:, None]
    ranked = penalty * score * (1 - weight) + window * weight
    best = ranked.argmax(dim=1)
    cell = best % (side * side)
    pick = torch.arange(batch, device=cls.device), best
    back = scale[:, None]
    return BestPosition(
        anchor=best,
        position=torch.stack([cell // side, cell % side], dim=1),
        score=score[pick],
        penalty=penalty[pick],
        ranked=ranked[pick],
        shift=centre.double()[pick[0], :, best] / back,
        size=extent.double()[pick[0], :, best] / back,
    )


def change(ratio: Tensor) -> Tensor:
    """By which factor something grew or shrank, any shape of float: 2 for 2 and for a half."""
    return torch.maximum(ratio, 1 / ratio)


def _padded_side(wh: Tensor) -> Tensor:
    """(B, 2, N) → (B, N)."""
    padding = wh.sum(dim=1, keepdim=True) / 2
    return (wh + padding).prod(dim=1).sqrt()


def move(
    centre: Tensor, size: Tensor, choice: BestPosition, settings: SiamMaskSettings, frame_wh: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """New centre and size (B, 2), float64: the centre jumps, the size follows; both are kept within the frame."""
    rate = (choice.penalty * choice.score * settings.rate)[:, None]
    limit = torch.tensor(frame_wh, dtype=centre.dtype, device=centre.device)
    moved = torch.minimum((centre + choice.shift).clamp(min=0), limit)
    grown = torch.minimum((size * (1 - rate) + choice.size * rate).clamp(min=MIN_SIDE_PX), limit)
    return moved, grown


def outline_window(centre: Tensor, side: Tensor, position: Tensor, search_px: int) -> Tensor:
    """Where in the frame an outline lies: (B, 3) float64 x, y and side in pixels.

    Args:
        centre: (B, 2) float64 of the search crop, before the move.
        side: (B,) whole pixels of the search crop.
        position: (B, 2) row and column of the score map.
    """
    scale = side / search_px
    step = (position.flip(1) - BASE_CELLS / 2) * (STRIDE_PX * scale)[:, None]
    corner = centre - side[:, None] / 2 + step
    return torch.cat([corner, (scale * TEMPLATE_PX)[:, None]], dim=1)


class Extent(NamedTuple):
    """What outlines say of where their targets are, in frame pixels: centre and size (B, 2), sureness (B,); float64."""

    centre: Tensor
    size: Tensor
    confidence: Tensor


def outline_extent(outline: Tensor, window: Tensor, threshold: float) -> Extent:
    """Upright box around the cells above `threshold`, and their mean probability, 0 where no cell is above.

    Near 1 the edge is sharp; an outline that fades away covers what it is confident of, only a part of the target.

    Args:
        outline: (B, side, side) probabilities.
        window: (B, 3), see `outline_window`.
        threshold: as for masks.
    """
    side = outline.shape[-1]
    shown = outline > threshold
    confidence = (outline * shown).sum(dim=(1, 2)) / shown.sum(dim=(1, 2)).clamp(min=1)
    cell = window[:, 2:] / side

    def ends(row: Tensor) -> tuple[Tensor, Tensor]:
        return row.int().argmax(dim=1), side - row.flip(1).int().argmax(dim=1)

    (left, right), (top, bottom) = ends(shown.any(dim=1)), ends(shown.any(dim=2))
    low, high = torch.stack([left, top], dim=1) * cell, torch.stack([right, bottom], dim=1) * cell
    return Extent(window[:, :2] + (low + high) / 2, high - low, confidence.double())
