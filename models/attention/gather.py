"""Moving the positions of a tube between a feature map and a matrix with one column a position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Positions at once: 528 channels of them take half of a core's 2 MB cache.
_PIECE = 512


def tube_indices(mask: Tensor) -> list[Tensor | None]:
    """Flat positions of each video's tube, ascending: mask (B, T, H, W) bool → B × (P,) int64.

    None stands for every position, which needs no gathering.
    """
    flat = mask.flatten(1)
    counts = flat.sum(1).tolist()
    positions = torch.split(flat.nonzero()[:, 1], counts)
    return [None if len(index) == flat.shape[1] else index for index in positions]


def chunks(index: Tensor | None) -> Sequence[Tensor | None]:
    """Positions (P,) int64 of a tube in pieces whose features stay in a core's cache.

    All positions (None) need no copy, so no pieces.
    """
    return [None] if index is None else torch.split(index, _PIECE)


def gather_tube(video: Tensor, index: Tensor | None) -> Tensor:
    """Columns `index` of one video's features (C, S) of any dtype: (C, P); a view of all where `index` is None."""
    if index is None:
        return video
    if video.stride(0) == 1:  # channels last: a position's channels lie together, so pick rows
        return video.t().index_select(0, index).t()
    return video.index_select(1, index)


def put_tube(video: Tensor, index: Tensor | None, tube: Tensor) -> None:
    """Write columns (C, P) of the video's dtype back to where `gather_tube` took them, unless they were made there."""
    if index is None and tube is not video:
        video.copy_(tube)
    elif index is not None:
        video.index_copy_(1, index, tube)


class _Gather(torch.autograd.Function):
    """A copy of x and its tubes. One node for both, so that their gradients meet in one tensor instead of two."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *indices: Tensor | None) -> tuple[Tensor, ...]:
        ctx.indices = indices
        pairs = zip(x, indices, strict=True)
        tubes = [gather_tube(video.flatten(1), index) for video, index in pairs]
        # An output of a Function must not be a view of its input.
        return x.clone(), *(tube.clone() if index is None else tube for tube, index in zip(tubes, indices, strict=True))

    @staticmethod
    def backward(ctx: Any, d_copy: Tensor, *d_tubes: Tensor) -> tuple[Tensor | None, ...]:
        # Gradients come with any strides, and flatten must give views to write through.
        channels_last = d_copy.is_contiguous(memory_format=torch.channels_last_3d)
        d_x = d_copy.clone(memory_format=torch.channels_last_3d if channels_last else torch.contiguous_format)
        for video, index, d_tube in zip(d_x, ctx.indices, d_tubes, strict=True):
            target = video.flatten(1)
            put_tube(target, index, gather_tube(target, index) + d_tube)
        return d_x, *(None for _ in ctx.indices)


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, indices: tuple[Tensor | None, ...], *updates: Tensor) -> Tensor:
        ctx.indices = indices
        ctx.mark_dirty(z)
        for video, index, update in zip(z, indices, updates, strict=True):
            target = video.flatten(1)
            put_tube(target, index, gather_tube(target, index) + update.to(z.dtype))
        return z

    @staticmethod
    def backward(ctx: Any, d_z: Tensor) -> tuple[Any, ...]:
        pairs = zip(d_z, ctx.indices, strict=True)
        return d_z, None, *(gather_tube(video.flatten(1), index) for video, index in pairs)


def gather_tubes(x: Tensor, indices: list[Tensor | None]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A copy of x (B, C, T, H, W) float and the features of each video's tube, B × (C, P_b); differentiable."""
    x = x if x.is_contiguous(memory_format=torch.channels_last_3d) else x.contiguous()  # flatten must give views
    copy, *tubes = _Gather.apply(x, *indices)
    return copy, tuple(tubes)


def add_to_tubes(copy: Tensor, indices: list[Tensor | None], updates: list[Tensor]) -> Tensor:
    """`updates`, B × (C, P_b) float, added inside the tubes, in place; other positions stay, bit for bit."""
    z: Tensor = _Add.apply(copy, tuple(indices), *updates)
    return z
