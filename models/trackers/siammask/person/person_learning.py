"""What the person's network is trained to say, and how wrong it is."""

from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from models.trackers.siammask.learning import region_masks
from models.trackers.siammask.person.person_network import OUTLINE_PX, PersonResponse, PersonSiamMask, places

HARD_NEGATIVES: Final = 12   # positions a crop that count by themselves: the likeliest mistakes
WEIGHTS: Final = {"score": 1.0, "box": 1.5, "sureness": 0.3, "outline": 1.0}


class PersonBatch(NamedTuple):
    """B lessons.

    Attributes:
        templates: (B, 3, T, T) float32 BGR, 0 to 255.
        searches: (B, 3, S, S) likewise.
        boxes: (B, 4) float32 xyxy in pixels from the search crop's middle.
        masks: (B, S, S) float32, 0 to 1.
        present: (B,) bool, whether the template shows the person of the search crop.
    """

    templates: Tensor
    searches: Tensor
    boxes: Tensor
    masks: Tensor
    present: Tensor


def person_losses(network: PersonSiamMask, batch: PersonBatch) -> dict[str, Tensor]:
    """Errors of score, box, sureness and outline, each a float32 scalar, their weighted sum as "all", and "iou".

    Every present person weighs the same, however many positions they cover. Outlines, the dearest part and the easiest,
    are learned from half of the batch.
    """
    response = network.search(batch.searches, network.template(batch.templates))
    inside, outside = region_masks(batch.boxes, places(response.score.shape[-1], batch.boxes.device))
    inside, outside = inside & batch.present[:, None, None], outside | ~batch.present[:, None, None]
    share = inside / inside.sum(dim=(1, 2), keepdim=True).clamp(min=1) / batch.present.sum().clamp(min=1)
    overlap, generalised = overlaps(response.box, batch.boxes[:, None, None])
    unsure = functional.binary_cross_entropy_with_logits(
        response.sureness, overlap.detach().clamp(0, 1), reduction="none"
    )
    parts = {
        "score": _score_loss(response.score, share, outside),
        "box": ((1 - generalised) * share).sum(),
        "sureness": (unsure * share).sum(),
        "outline": _outline_loss(network, response, batch),
    }
    total = sum((WEIGHTS[name] * part for name, part in parts.items()), start=batch.boxes.new_zeros(()))
    return parts | {"all": total, "iou": (overlap * share).sum()}


def overlaps(found: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (Rezatofighi et al. 2019, eq. 1) of boxes (…, 4) xyxy float, each (…)."""
    shared = (torch.minimum(found[..., 2:], true[..., 2:]) - torch.maximum(found[..., :2], true[..., :2])).clamp(min=0)
    around = torch.maximum(found[..., 2:], true[..., 2:]) - torch.minimum(found[..., :2], true[..., :2])
    both, hull = shared.prod(-1), around.prod(-1).clamp(min=1e-3)
    union = (found[..., 2:] - found[..., :2]).prod(-1) + (true[..., 2:] - true[..., :2]).prod(-1) - both
    overlap = both / union.clamp(min=1e-3)
    return overlap, overlap - (hull - union) / hull


def _score_loss(score: Tensor, share: Tensor, outside: Tensor) -> Tensor:
    """Cross entropy; target, background and the worst of the background weigh the same."""
    found = (functional.softplus(-score) * share).sum()
    wrong = (functional.softplus(score) * outside).flatten(1)
    worst = wrong.topk(HARD_NEGATIVES, dim=1).values.mean()
    return found + 0.5 * (wrong.sum(1) / outside.sum(dim=(1, 2)).clamp(min=1)).mean() + 0.5 * worst


def _outline_loss(network: PersonSiamMask, response: PersonResponse, batch: PersonBatch) -> Tensor:
    """Binary cross entropy, twice, and the Dice error."""
    shown = batch.present.nonzero()[:, 0]
    shown = shown[: max(2, len(shown) // 2)]
    if len(shown) < 2:   # batch norms need two at least
        return response.score.sum() * 0
    drawn = network.outline(response.rows(shown))
    true = functional.avg_pool2d(batch.masks[shown][:, None], OUTLINE_PX)[:, 0]
    likely = drawn.sigmoid()
    both = (likely * true).sum(dim=(1, 2))
    dice = 1 - (2 * both + 1) / (likely.sum(dim=(1, 2)) + true.sum(dim=(1, 2)) + 1)
    return 2 * functional.binary_cross_entropy_with_logits(drawn, true) + dice.mean()
