"""Losses of action quality assessment: squared error, KL on Gaussian soft labels, cross entropies.

Pure functions; every one averages over a batch and refuses an empty one, whose mean would be nan.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, arange

KlScale = Literal["elements", "batch"]


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of (prediction - target)^2 over all elements; both of one shape, float.

    Raises:
        ValueError: shapes differ (broadcasting would average over pairs that do not belong together), or empty.
    """
    _check_pair(prediction, target)
    return F.mse_loss(prediction, target)


def gaussian_soft_labels(centre: Tensor, bins: int, sigma: float = 5.0) -> Tensor:
    """Soft labels over the bins 0..bins-1: p(c) ~ exp(-(c - centre)^2 / (2 sigma^2)), summing to 1.

    Args:
        centre: (...) float, in bins; USDL puts it at (bins - 1) * score / score_max, MUSDL at 2 * judge's score.
        bins: number of bins (101 for scores, 21 for judges).
        sigma: width in bins; the papers use 5 for both.

    Returns:
        (..., bins) float.  A centre outside the bins has the truncated, renormalised tail.
    """
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    places = arange(bins, dtype=centre.dtype, device=centre.device)
    return (-((places - centre.unsqueeze(-1)) ** 2) / (2 * sigma**2)).softmax(dim=-1)


def distribution_kl(logits: Tensor, target: Tensor, scale: KlScale = "elements") -> Tensor:
    """KL(target || softmax(logits)) over the last axis.

    The learning rate is tied to the scale.  `"elements"` divides the sum by all elements (batch × judges × bins),
    as USDL's public code does: 1/bins of the usual KL, and the papers' lr of 1e-4 belongs to it.  `"batch"` is the
    mean KL of a distribution, in nats.

    Args:
        logits: (..., bins) float.
        target: (..., bins) float, each row summing to 1.
    """
    _check_pair(logits, target)
    total = F.kl_div(logits.log_softmax(dim=-1), target, reduction="sum")
    return total / (target.numel() if scale == "elements" else target.numel() // target.shape[-1])


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy of sigmoid(logits) against labels in [0, 1], both float of one shape.

    Computed from logits, so it never overflows.
    """
    _check_pair(logits, target)
    return F.binary_cross_entropy_with_logits(logits, target)


def step_cross_entropy(logits: Tensor, counts: Tensor) -> Tensor:
    """Mean cross entropy of the step that each frame of each segment lies in; the mean over the clips that have steps.

    A segment says one thing of all of its frames. A frame that lies in no step has no say, nor has a clip without any.

    Args:
        logits: (B, N, K) float, of each segment over the K kinds of steps.
        counts: (B, N, K) float, how many frames of each segment lie in a step of each kind.

    Returns:
        Scalar, in nats; 0 where no clip has steps.

    Raises:
        ValueError: shapes differ, or empty.
    """
    _check_pair(logits, counts)
    frames = counts.sum(dim=(1, 2))
    of_clips = -(counts * logits.log_softmax(dim=-1)).sum(dim=(1, 2)) / frames.clamp(min=1)
    return of_clips.sum() / (frames > 0).sum().clamp(min=1)


def _check_pair(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape:
        raise ValueError(f"prediction has shape {tuple(prediction.shape)}, target {tuple(target.shape)}")
    if prediction.numel() == 0:
        raise ValueError("an empty batch has no loss")
