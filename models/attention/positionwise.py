"""What can be done with a tube without comparing its positions: the controls that attention has to beat.

Each position of the video is changed by itself, by what it is and by whether it lies inside of the tube. All blocks
take `(x (B, C, T, H, W) float, mask (B, T, H, W) bool)`, return (B, C, T, H, W) of x's dtype, and raise ValueError for
shapes that don't belong together. Small tubes grow as those of `TubeSelfAttention` do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.attention.gather import add_to_tubes, gather_tubes, tube_indices
from models.attention.growth import grow_tubes
from models.attention.inputs import check_inputs
from models.attention.start import scale_start


class PositionwiseBlock(nn.Module):
    """Base: checks its inputs, grows small tubes, and leaves the rest to `change`.

    Args:
        channels: C.
        min_positions: a tube smaller than this grows until it has as many positions, see `grow_tubes`.

    Raises:
        ValueError: channels below one, or a negative number of positions.
    """

    def __init__(self, channels: int, *, min_positions: int = 0) -> None:
        super().__init__()
        if channels < 1 or min_positions < 0:
            raise ValueError(
                f"channels must be positive and min_positions not negative, got {channels} and {min_positions}"
            )
        self.channels, self.min_positions = channels, min_positions

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Changed features (B, C, T, H, W) of x, the same shape float, and a tube mask (B, T, H, W) bool."""
        check_inputs(x, mask, self.channels)
        return self.change(x, grow_tubes(mask, self.min_positions))

    def change(self, x: Tensor, mask: Tensor) -> Tensor:
        """As `forward`, inputs checked and tubes grown."""
        raise NotImplementedError


class TubeMask(PositionwiseBlock):
    """Features outside of the tube become zero; there is no parameter.

    A video whose tube is empty has nothing inside: all of it becomes zero.
    """

    def change(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T, H, W) float: x inside, 0 outside."""
        return x.masked_fill(~mask[:, None], 0)


class TubeConstant(PositionwiseBlock):
    """A learnt vector is added to each position of the tube: x_p + c.

    It says where the tube is and nothing else. `constant` (C,) starts with zero, or with `gain` times a standard normal
    draw, see `scale_start`.
    """

    def __init__(
        self, channels: int, *, min_positions: int = 0, zero_init: bool = True, gain: float | None = None
    ) -> None:
        super().__init__(channels, min_positions=min_positions)
        self.constant = nn.Parameter(torch.randn(channels))
        scale_start(gain, zero_init, self.constant)

    def change(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T, H, W) float: x + c inside, x itself outside."""
        return torch.where(mask[:, None], x + self.constant.view(-1, 1, 1, 1).to(x.dtype), x)


class TubeChannel(PositionwiseBlock):
    """The tube mask as one more channel behind the cut: x_p + W [x_p, m_p] + b for all positions, m_p = 1 inside.

    A convolution with kernel 1 takes the C + 1 channels back to C, so that any second stage can follow. `mix` starts
    with zero, or with `gain` times its usual start.
    """

    def __init__(
        self, channels: int, *, min_positions: int = 0, zero_init: bool = True, gain: float | None = None
    ) -> None:
        super().__init__(channels, min_positions=min_positions)
        self.mix = nn.Conv3d(channels + 1, channels, 1)
        assert self.mix.bias is not None
        scale_start(gain, zero_init, self.mix.weight, self.mix.bias)

    def change(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T, H, W) float, every position changed."""
        update: Tensor = self.mix(torch.cat([x, mask[:, None].to(x.dtype)], dim=1))
        return x + update.to(x.dtype)


class TubePointwise(PositionwiseBlock):
    """Each position of the tube by itself: z_p = x_p + W_z g(x_p), without a sum over positions.

    Eq. 4-6 of `TubeSelfAttention` with y_p = g(x_p): what is left of the block when positions aren't compared. Outside
    of the tube features pass bit for bit; the cost is that of g and W_z, linear in the tube's positions.

    Args:
        channels: C.
        reduced: channels of g; C / 2 if None.
        min_positions: see `PositionwiseBlock`.
        zero_init, gain: what `w_z` starts with, see `scale_start`.

    Raises:
        ValueError: sizes below one, or a negative gain.
    """

    def __init__(
        self,
        channels: int,
        reduced: int | None = None,
        *,
        min_positions: int = 0,
        zero_init: bool = True,
        gain: float | None = None,
    ) -> None:
        super().__init__(channels, min_positions=min_positions)
        if reduced is not None and reduced < 1:
            raise ValueError(f"reduced must be positive, got {reduced}")
        self.reduced = reduced or max(channels // 2, 1)
        self.g = nn.Linear(channels, self.reduced)
        self.w_z = nn.Linear(self.reduced, channels)
        scale_start(gain, zero_init, self.w_z.weight, self.w_z.bias)

    # The number of positions decides shapes here, so it runs as it is between compiled parts.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def change(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T, H, W) float: changed inside, x bit for bit outside."""
        indices = tube_indices(mask)
        copy, tubes = gather_tubes(x, indices)
        updates = self.w_z(self.g(torch.cat(tubes, dim=1).t())).t()
        return add_to_tubes(copy, indices, list(updates.split([tube.shape[1] for tube in tubes], dim=1)))
