"""Dot-product attention inside the tubes of a batch, as one differentiable operator.

On a CPU the tubes are gathered one by one, each in the cheaper of the two forms of `tube_forms`, so what lies
outside costs nothing. On an accelerator all videos go through one batched product with zeros outside the
tubes: as exact, and without the wait for positions to be counted. The operator is registered with torch, so
a compiled graph keeps it whole although the sizes of tubes are known only at run time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.attention.dot_forms import (
    MatrixForm,
    Projections,
    factored_backward,
    factored_forward,
    factored_limit,
    moments,
)
from models.attention.gather import chunks, gather_tube, put_tube, tube_indices


def tube_dot(x: Tensor, mask: Tensor, weights: Projections, compute_dtype: torch.dtype) -> Tensor:
    """Update every tube of a batch by dot-product attention among its own positions (Eq. 4-6).

    Args:
        x: (B, C, T, H, W) float features.
        mask: (B, T, H, W) bool, the tube of each video; positions outside are copied bit for bit.
        weights: the projections to r reduced channels and back, at least float32.
        compute_dtype: dtype of the products over positions; products of weights stay in the weights' dtype.

    Returns:
        (B, C, T, H, W), dtype and memory format of `x`.
    """
    if not (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last_3d)):
        x = x.contiguous()
    # An argument, not worked out inside: a compiled graph kept on disk must not outlive a change of it.
    room = state_size(x, weights)
    z: Tensor = torch.ops.tubeflow.tube_dot2(x, mask, list(weights), compute_dtype, room)[0]
    return z


def state_size(x: Tensor, w: Projections) -> int:
    """Numbers a video that backward needs kept: G and s, or on a CPU Q, K and V of a tube in factored form.

    `x` (B, C, T, H, W) float and `w` tell the sizes. The same for every tube, so that a compiled graph knows it; what
    is never written takes no memory on a CPU.
    """
    channels, reduced = w.z.shape
    room: int = channels * (channels + 1)
    if not x.is_cuda:
        room = max(room, 3 * reduced * min(factored_limit(channels, reduced), x.shape[2:].numel()))
    return room


def _moments_of(state: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    used = state[..., : channels * (channels + 1)]
    gram, mean = torch.split(used, [channels * channels, channels], dim=-1)
    return gram.view(*gram.shape[:-1], channels, channels), mean.unsqueeze(-1)


def _batched(x: Tensor, mask: Tensor, dtype: torch.dtype, w: Projections) -> tuple[Tensor, Tensor, Tensor]:
    """All videos at once: features (B, C, S), zero outside the tubes; selected (B, 1, S); sizes (B, 1, 1)."""
    selected = mask.flatten(1)[:, None]
    features = x.flatten(2).masked_fill(~selected, 0).to(dtype)
    return features, selected, selected.sum(-1, keepdim=True).clamp_(min=1).to(w.z.dtype)


def _kept_projections(row: Tensor, w: Projections, positions: int) -> Tensor:
    rows = 3 * w.z.shape[1]
    return row[: rows * positions].view(rows, positions)


def _forward_batched(x: Tensor, mask: Tensor, w: Projections, compute_dtype: torch.dtype, state: Tensor) -> Tensor:
    features, selected, positions = _batched(x, mask, compute_dtype, w)
    made = moments([features], positions, w, compute_dtype)
    for room, moment in zip(_moments_of(state, x.shape[1]), made, strict=True):
        room.copy_(moment)
    # Outside the tube `x` takes part here, and what comes of it is thrown away.
    updated = MatrixForm(*made, positions, w).apply(x.flatten(2), compute_dtype)
    return torch.where(selected, updated, x.flatten(2)).view_as(x)


def _forward_gathered(x: Tensor, mask: Tensor, w: Projections, compute_dtype: torch.dtype, state: Tensor) -> Tensor:
    limit = factored_limit(*w.z.shape)
    z = torch.empty_like(x)
    for b, index in enumerate(tube_indices(mask)):
        source, target = x[b].flatten(1), z[b].flatten(1)
        positions = source.shape[1] if index is None else len(index)
        if index is not None:
            target.copy_(source)
        if 0 < positions <= limit:
            tube = gather_tube(source, index)
            kept = _kept_projections(state[b], w, positions)
            put_tube(target, index, factored_forward(tube, tube.to(compute_dtype), w, kept))
        elif positions:
            pieces = chunks(index)
            made = moments((gather_tube(source, piece) for piece in pieces), positions, w, compute_dtype)
            for room, moment in zip(_moments_of(state[b], len(source)), made, strict=True):
                room.copy_(moment)
            form = MatrixForm(*made, positions, w)
            for piece in pieces:
                out = target if piece is None else None
                put_tube(target, piece, form.apply(gather_tube(source, piece), compute_dtype, out))
    return z


def _backward_batched(
    d_z: Tensor, x: Tensor, mask: Tensor, w: Projections, state: Tensor, compute_dtype: torch.dtype, wants_x: bool
) -> list[Tensor]:
    features, selected, positions = _batched(x, mask, compute_dtype, w)
    inside = d_z.flatten(2).masked_fill(~selected, 0)
    form = MatrixForm(*_moments_of(state, x.shape[1]), positions, w)
    d_weights = form.gradients([(inside, features)], compute_dtype)
    d_x = x.new_empty(0)
    if wants_x:
        d_tube = form.apply_backward(inside, features, compute_dtype)
        d_x = torch.where(selected, d_tube, d_z.flatten(2)).view_as(x)
    return [d_x, *(part.sum(0) for part in d_weights)]  # an empty tube adds zero: its d_z is all zero here


def _backward_gathered(
    d_z: Tensor, x: Tensor, mask: Tensor, w: Projections, state: Tensor, compute_dtype: torch.dtype, wants_x: bool
) -> list[Tensor]:
    limit = factored_limit(*w.z.shape)
    d_weights = [torch.zeros_like(weight) for weight in w]
    d_x = torch.empty_like(x) if wants_x else x.new_empty(0)
    for b, index in enumerate(tube_indices(mask)):
        source, video = d_z[b].flatten(1), x[b].flatten(1)
        target = d_x[b].flatten(1) if wants_x else None
        positions = source.shape[1] if index is None else len(index)
        if index is not None and target is not None:
            target.copy_(source)
        if not positions:
            continue
        if positions <= limit:
            kept, features = _kept_projections(state[b], w, positions), gather_tube(video, index).to(compute_dtype)
            d_tube, parts = factored_backward(gather_tube(source, index), features, w, kept, wants_x)
            if target is not None and d_tube is not None:
                put_tube(target, index, d_tube)
        else:
            pieces = chunks(index)
            form = MatrixForm(*_moments_of(state[b], len(video)), positions, w)
            pairs = ((gather_tube(source, piece), gather_tube(video, piece)) for piece in pieces)
            parts = form.gradients(pairs, compute_dtype)
            if target is not None:
                for piece in pieces:
                    out = target if piece is None else None
                    pair = gather_tube(source, piece), gather_tube(video, piece)
                    put_tube(target, piece, form.apply_backward(*pair, compute_dtype, out))
        for total, part in zip(d_weights, parts, strict=True):
            total += part
    return [d_x, *d_weights]


# The schemas are written out, for torch 2.6 makes none from `list[Tensor]`. Where one changes, both names get the next
# number: torch.compile keeps what it compiled in a folder of the user's, knows it again by the forward's name alone,
# and would call the new backward as the old one was called.
FORWARD = "(Tensor x, Tensor mask, Tensor[] weights, ScalarType compute_dtype, SymInt room) -> (Tensor, Tensor)"
BACKWARD = (
    "(Tensor d_z, Tensor x, Tensor mask, Tensor[] weights, Tensor state, ScalarType compute_dtype, bool wants_x)"
    " -> Tensor[]"
)


@torch.library.custom_op("tubeflow::tube_dot2", mutates_args=(), schema=FORWARD)
def _forward_op(
    x: Tensor, mask: Tensor, weights: list[Tensor], compute_dtype: torch.dtype, room: int
) -> tuple[Tensor, Tensor]:
    """Z, and what backward needs of each video: (B, room)."""
    w = Projections(*weights)
    state = x.new_empty(len(x), room, dtype=w.z.dtype)
    forward = _forward_batched if x.is_cuda else _forward_gathered
    with torch.autocast(x.device.type, enabled=False):  # every cast here is deliberate
        return forward(x, mask, w, compute_dtype, state), state


@_forward_op.register_fake
def _(x: Tensor, mask: Tensor, weights: list[Tensor], compute_dtype: torch.dtype, room: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(len(x), room, dtype=weights[0].dtype)


@torch.library.custom_op("tubeflow::tube_dot2_backward", mutates_args=(), schema=BACKWARD)
def _backward_op(
    d_z: Tensor,
    x: Tensor,
    mask: Tensor,
    weights: list[Tensor],
    state: Tensor,
    compute_dtype: torch.dtype,
    wants_x: bool,
) -> list[Tensor]:
    """Gradients of x (empty where nobody wants it: behind a frozen part) and of the weights."""
    backward = _backward_batched if x.is_cuda else _backward_gathered
    with torch.autocast(x.device.type, enabled=False):
        return backward(d_z, x, mask, Projections(*weights), state, compute_dtype, wants_x)


@_backward_op.register_fake
def _(
    d_z: Tensor,
    x: Tensor,
    mask: Tensor,
    weights: list[Tensor],
    state: Tensor,
    compute_dtype: torch.dtype,
    wants_x: bool,
) -> list[Tensor]:
    return [torch.empty_like(x) if wants_x else x.new_empty(0), *(torch.empty_like(weight) for weight in weights)]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, mask, weights, ctx.compute_dtype, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, mask, output[1], *weights)


def _backward(ctx: Any, d_z: Tensor, _: Tensor) -> tuple[Tensor | None, None, list[Tensor], None, None]:
    x, mask, state, *weights = ctx.saved_tensors
    wants_x = ctx.needs_input_grad[0]
    d_x, *d_weights = torch.ops.tubeflow.tube_dot2_backward(d_z, x, mask, weights, state, ctx.compute_dtype, wants_x)
    return d_x if wants_x else None, None, d_weights, None, None


_forward_op.register_autograd(_backward, setup_context=_setup)
