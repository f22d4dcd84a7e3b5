"""Growing tubes that are too small to help: the paper's future work, made a rule."""

from __future__ import annotations

import torch
from torch import Tensor


def grow_tubes(mask: Tensor, min_positions: int) -> Tensor:
    """Tubes of at least `min_positions` positions, where they can be had.

    A tube below the floor takes in all positions one step away from it, in time, height or width, then all
    of those one step away again, until it reaches the floor or the whole video. Complete rings keep a tube
    symmetric around the athlete, so it may end a little above the floor. There is no chance in it: equal
    masks grow equally. A tube without any position has nowhere to grow from and stays empty; tubes at or
    above the floor stay as they are.

    Args:
        mask: (B, T, H, W) bool.
        min_positions: the floor; 0 returns `mask` itself.

    Returns:
        (B, T, H, W) bool, a new tensor unless the floor is 0.
    """
    if min_positions <= 0:
        return mask
    grown: Tensor = torch.ops.tubeflow.grow_tubes(mask, min_positions)
    return grown


@torch.library.custom_op("tubeflow::grow_tubes", mutates_args=())
def _grow(mask: Tensor, min_positions: int) -> Tensor:
    grown = mask.clone()
    floor = min(min_positions, mask[0].numel()) if len(mask) else 0
    while True:
        counts = grown.flatten(1).sum(1)
        small = (counts > 0) & (counts < floor)
        if not small.any():
            return grown
        ring = grown.clone()
        for axis in (1, 2, 3):
            length = grown.shape[axis]
            ring.narrow(axis, 1, length - 1).logical_or_(grown.narrow(axis, 0, length - 1))
            ring.narrow(axis, 0, length - 1).logical_or_(grown.narrow(axis, 1, length - 1))
        grown = torch.where(small.view(-1, 1, 1, 1), ring, grown)


@_grow.register_fake
def _(mask: Tensor, min_positions: int) -> Tensor:
    return torch.empty_like(mask)
