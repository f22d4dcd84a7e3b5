"""What siammask-s is trained to say: where it should score high, which box, which outline; and how wrong it is."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.trackers.siammask.anchors import BASE_CELLS, SQUARE_PX, STRIDE_PX, TEMPLATE_PX, anchor_grid
from models.trackers.siammask.backbone import Features
from models.trackers.siammask.small import OUTLINE_SIDE, SmallSiamMask, compared_window

INNER, OUTER = 0.5, 1.0    # shares of the box's half sides: a position closer is the target, one farther is not
MIN_REACH_PX = 6.0         # thin targets would have no position at all
HARD_NEGATIVES = 24        # positions a crop that count by themselves: the likeliest mistakes
WEIGHTS = {"score": 1.0, "box": 1.2, "outline": 2.0}


class SearchBatch(NamedTuple):
    """B search crops with the maps of the frozen backbone.

    Attributes:
        target: (B, 192, 7, 7), the backbone's map of the template's middle.
        deep: (B, 192, 31, 31), the search crop's map.
        boxes: (B, 4) xyxy in pixels from the crop's centre.
        positions: (F, 2) int64 row and column, where the first F crops' outlines are learned.
        windows: 15², 31² and 63² windows of their maps around `positions`, see `small.windows`.
        outlines: (F, 63, 63), 0 to 1.
        present: (B,) bool, whether the template shows the target of this search crop.
    """

    target: Tensor
    deep: Tensor
    boxes: Tensor
    positions: Tensor
    windows: tuple[Tensor, Tensor, Tensor]
    outlines: Tensor
    present: Tensor


def outline_of(mask: NDArray[np.bool_], position: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The (63, 63) outline, 0 to 255, that position (row, column) should give for the mask (S, S) of a crop.

    The inverse of what `outline.outline_to_mask` does with one. Cells at the edge are between all and nothing, as the
    mask in between is: arms are two cells wide.
    """
    import cv2

    step = TEMPLATE_PX / OUTLINE_SIDE
    row, column = (float(index - BASE_CELLS // 2) * STRIDE_PX for index in position)
    to_crop = np.array([[step, 0, column], [0, step, row]])
    cut = cv2.warpAffine(
        mask.astype(np.float32), to_crop, (OUTLINE_SIDE, OUTLINE_SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return np.asarray(np.rint(cut * 255), np.uint8)


def position_at(centre: NDArray[np.float64], side: int) -> NDArray[np.int64]:
    """Row and column (2,) of the position nearest to a point (2,) x, y, in pixels from the crop's centre."""
    cells = np.rint(centre[::-1] / STRIDE_PX).astype(np.int64) + side // 2
    return np.clip(cells, 0, side - 1)


def losses(network: SmallSiamMask, batch: SearchBatch) -> dict[str, Tensor]:
    """Errors of score, box and outline, each a float32 scalar, and their weighted sum as "all"."""
    template = network.kernel(batch.target)
    empty = batch.deep.new_zeros(0)
    response = network.respond(Features(empty, empty, empty, batch.deep), template)
    side = response.cls.shape[-1]
    places = torch.from_numpy(anchor_grid(side, 1)[:, :2]).reshape(side, side, 2)
    inside, outside = region_masks(batch.boxes, places)
    absent = ~batch.present[:, None, None]
    few = len(batch.outlines)   # outlines are the dearest part, and the easiest
    compared = compared_window(response.correlation[:few], batch.positions)
    drawn = network.outlines(compared, *batch.windows).float()
    shown = batch.present[:few]
    parts = {
        "score": _score_loss(response.cls.float(), inside & ~absent, outside | absent),
        "box": _box_loss(response.loc.float(), batch.boxes, inside & ~absent),
        "outline": _outline_loss(drawn[shown], batch.outlines[shown]),
    }
    total = sum((WEIGHTS[name] * part for name, part in parts.items()), start=batch.boxes.new_zeros(()))
    return parts | {"all": total}


def region_masks(boxes: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Positions that are the target, and those that are not; between them lies no man's land.

    Args:
        boxes: (B, 4) float xyxy in pixels from the crop's centre.
        places: (R, R, 2) float x, y of the positions, likewise.

    Returns:
        (B, R, R) bool each.
    """
    middle = (boxes[:, :2] + boxes[:, 2:])[:, None, None] / 2
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2)[:, None, None]
    away = (places - middle).abs()
    inner = ((away / (half * INNER).clamp(min=MIN_REACH_PX)) ** 2).sum(-1) <= 1
    outer = ((away / (half * OUTER).clamp(min=2 * MIN_REACH_PX)) ** 2).sum(-1) > 1
    return inner, outer


def _score_loss(cls: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """Cross entropy; target, background and the worst of the background weigh the same."""
    log_background, log_target = cls.log_softmax(dim=1).unbind(1)
    found = -(log_target * inside).sum() / inside.sum().clamp(min=1)
    wrong = -(log_background * outside).flatten(1)
    worst = wrong.topk(HARD_NEGATIVES, dim=1).values.mean()
    return found + 0.5 * wrong.sum() / outside.sum().clamp(min=1) + 0.5 * worst


def _box_loss(loc: Tensor, boxes: Tensor, inside: Tensor) -> Tensor:
    """One less the generalised overlap of predicted and true box, over the positions of the target."""
    batch, _, side, _ = loc.shape
    places = torch.from_numpy(anchor_grid(side, 1)[:, :2]).T.reshape(1, 2, side, side)
    centre, size = loc[:, :2] * SQUARE_PX + places, loc[:, 2:].clamp(-4, 3).exp() * SQUARE_PX
    found = torch.cat([centre - size / 2, centre + size / 2], dim=1).permute(0, 2, 3, 1)[inside]
    true = boxes[:, None, None].expand(batch, side, side, 4)[inside]
    shared = (torch.minimum(found[:, 2:], true[:, 2:]) - torch.maximum(found[:, :2], true[:, :2])).clamp(min=0)
    around = torch.maximum(found[:, 2:], true[:, 2:]) - torch.minimum(found[:, :2], true[:, :2])
    overlap, hull = shared.prod(1), around.prod(1).clamp(min=1e-3)
    union = (found[:, 2:] - found[:, :2]).prod(1) + (true[:, 2:] - true[:, :2]).prod(1) - overlap
    generalised = overlap / union.clamp(min=1e-3) - (hull - union) / hull
    return (1 - generalised).sum() / len(found) if len(found) else loc.sum() * 0


def _outline_loss(drawn: Tensor, true: Tensor) -> Tensor:
    """Binary cross entropy and the Dice error."""
    if not len(drawn):
        return drawn.sum() * 0
    likely = drawn.sigmoid()
    both = (likely * true).sum(dim=(1, 2))
    dice = 1 - (2 * both + 1) / (likely.sum(dim=(1, 2)) + true.sum(dim=(1, 2)) + 1)
    return functional.binary_cross_entropy_with_logits(drawn, true) + dice.mean()
