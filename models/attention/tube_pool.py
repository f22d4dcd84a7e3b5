"""Pooling over the tube alone: the control in which the tube chooses what the head sees, and changes no feature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.attention.growth import grow_tubes
from models.attention.inputs import wide


class TubePool(nn.Module):
    """The mean of each segment's last map over the positions inside of the tube, in place of the mean over all.

    The last map is coarser than the grid of the tube mask: a position of it counts by the share of its cell that the
    tube takes. A segment in which the tube is empty leaves nothing to choose; it is pooled over all positions.
    There is no parameter.

    Args:
        channels: C at the cut, as for the blocks; without effect.
        min_positions: tubes smaller than this grow first, see `grow_tubes`.

    Raises:
        ValueError: a negative number of positions.
    """

    def __init__(self, channels: int, *, min_positions: int = 0) -> None:
        super().__init__()
        if min_positions < 0:
            raise ValueError(f"min_positions must not be negative, got {min_positions}")
        self.channels, self.min_positions = channels, min_positions

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """Pool the last maps of all segments.

        Args:
            h: (B·N, F, T', H', W') float, segment after segment.
            mask: (B, N, T, Hf, Wf) bool, the tube masks at the cut.

        Returns:
            (B·N, F), dtype of `h`.
        """
        grown = grow_tubes(mask.flatten(1, 2), self.min_positions).view(mask.shape)
        h_wide = wide(h)
        share = cell_shares(grown.flatten(0, 1).to(h_wide.dtype), h.shape[2:])[:, None]  # (B·N, 1, T', H', W')
        share = torch.where(share.sum((2, 3, 4), keepdim=True) > 0, share, torch.ones_like(share))
        return ((h_wide * share).sum((2, 3, 4)) / share.sum((2, 3, 4))).to(h.dtype)


def cell_shares(inside: Tensor, grid: torch.Size) -> Tensor:
    """Share of each cell of a coarser grid that is inside: (M, T, H, W) float of 0 and 1 → (M, *grid) float in [0, 1].

    Cells of both grids divide the same box evenly, so a fine cell may belong to two coarse ones in parts.
    """
    for axis, size in enumerate(grid, start=1):
        matrix = _overlaps(inside.shape[axis], size).to(inside)
        inside = (inside.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return inside


def _overlaps(fine: int, coarse: int) -> Tensor:
    """(coarse, fine): the part of coarse cell i that fine cell j takes; rows sum to one."""
    edges = torch.arange(coarse + 1, dtype=torch.float64) / coarse
    cells = torch.arange(fine + 1, dtype=torch.float64) / fine
    upper = torch.minimum(edges[1:, None], cells[None, 1:])
    lower = torch.maximum(edges[:-1, None], cells[None, :-1])
    return (upper - lower).clamp(min=0) * coarse
