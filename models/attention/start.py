"""How far from the identity a block starts."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def scale_start(gain: float | None, zero_init: bool, *parameters: Tensor) -> float:
    """Multiply what a block starts with, where its last layer has it, by the gain; in place.

    Args:
        gain: 0 starts as the identity, 1 leaves the usual start; None is 0 with `zero_init` and else 1.
        zero_init: see `gain`.
        parameters: of any shape, of the layer whose output is added to the features.

    Returns:
        The gain.

    Raises:
        ValueError: a negative gain.
    """
    if gain is None:
        gain = 0.0 if zero_init else 1.0
    if not gain >= 0:
        raise ValueError(f"the gain that a block starts with is 0 or more, got {gain}")
    for parameter in parameters:
        if gain == 0:
            parameter.zero_()
        elif gain != 1:
            parameter.mul_(gain)
    return gain
