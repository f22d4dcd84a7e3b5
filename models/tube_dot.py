"""Dot-product attention inside tubes at a cost linear in the tube's positions, forward and backward.

No softmax stands between the two products of Eq. 4-6, so they may be taken in any order and no P×P matrix is
needed. With X (C, P) the features of one tube, one column a position, Q = W_θX + b_θ, K = W_φX + b_φ and
V = W_gX + b_g, two exact orders are at hand; the cheaper one for the tube's size is taken:

    factored   M = K Vᵀ / P,  N = W_z Mᵀ                 Z = X + N Q + b_z
    matrix     G = X Xᵀ / P,  s = X 1 / P                Z = X + A X + b
               M = W_φ G W_gᵀ + W_φ s b_gᵀ + b_φ (W_g s)ᵀ + b_φ b_gᵀ
               N = W_z Mᵀ,  A = N W_θ,  b = N b_θ + b_z

The matrix form never makes Q, K or V: positions enter by their second moments G and their mean s alone, and
the gradients of all eight parameters follow from C×C products.

On a CPU the tubes are gathered one by one, so what lies outside costs nothing. On an accelerator all videos
go through one batched product with zeros outside the tubes: as exact, and without the wait that gathering
brings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.tube_pack import gather_tube, put_tube, tube_indices


class Projections(NamedTuple):
    """Weights and biases of θ, φ, g: (r, C) and (r,); of W_z: (C, r) and (C,)."""

    theta: Tensor
    theta_bias: Tensor
    phi: Tensor
    phi_bias: Tensor
    g: Tensor
    g_bias: Tensor
    z: Tensor
    z_bias: Tensor

    def stacked(self) -> tuple[Tensor, Tensor]:
        """θ, φ and g as one projection (3r, C), (3r, 1)."""
        return torch.cat([self.theta, self.phi, self.g]), torch.cat(self[1:6:2])[:, None]


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
    z: Tensor = torch.ops.tubeflow.tube_dot(x, mask, list(weights), compute_dtype)[0]
    return z


def factored_limit(channels: int, reduced: int) -> int:
    """Positions up to which the factored form needs fewer multiplications, forward and backward together."""
    c, r = channels, reduced
    matrix_fixed, matrix_each = 6 * c * c * r + 7 * c * r * r, 5 * c * c
    factored_fixed, factored_each = 3 * c * r * r, 12 * c * r + 3 * r * r
    if factored_each <= matrix_each:
        return 2**31 - 1
    return (matrix_fixed - factored_fixed) // (factored_each - matrix_each)


class _Chain(NamedTuple):
    """What the moments of a tube make of the weights; leading batch dimensions allowed."""

    f: Tensor  # W_φ G (r, C)
    phi_mean: Tensor  # W_φ s + b_φ (r, 1)
    g_mean: Tensor  # W_g s (r, 1)
    m: Tensor  # (r, r)
    n: Tensor  # (C, r)
    a: Tensor  # (C, C)
    offset: Tensor  # b (C, 1)


def _chain(gram: Tensor, mean: Tensor, w: Projections) -> _Chain:
    f, g_mean = w.phi @ gram, w.g @ mean
    phi_mean = w.phi @ mean + w.phi_bias[:, None]
    m = f @ w.g.T + phi_mean * w.g_bias + w.phi_bias[:, None] * g_mean.mT
    n = w.z @ m.mT
    return _Chain(f, phi_mean, g_mean, m, n, n @ w.theta, n @ w.theta_bias[:, None] + w.z_bias[:, None])


def _chain_backward(
    d_a: Tensor, d_offset: Tensor, gram: Tensor, mean: Tensor, chain: _Chain, w: Projections
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Gradients of G, s and the eight parameters from those of A (…, C, C) and b (…, C, 1)."""
    d_n = d_a @ w.theta.T + d_offset * w.theta_bias
    d_m = d_n.mT @ w.z
    left, right = w.phi.T @ d_m, d_m @ w.g_bias[:, None]
    down = d_m.mT @ w.phi_bias[:, None]
    d_gram = left @ w.g
    d_mean = w.phi.T @ right + w.g.T @ down
    weights = [
        chain.n.mT @ d_a,
        (chain.n.mT @ d_offset)[..., 0],
        d_m @ (w.g @ gram) + right * mean.mT,
        (d_m @ (chain.g_mean + w.g_bias[:, None]))[..., 0],
        d_m.mT @ chain.f + down * mean.mT,
        (d_m.mT @ chain.phi_mean)[..., 0],
        d_n @ chain.m,
        d_offset[..., 0],
    ]
    return d_gram, d_mean, weights


def _sum_of_products(start: Tensor, *pairs: tuple[Tensor, Tensor]) -> Tensor:
    """start + Σ left @ right, without temporaries, of matrices or batches of them."""
    single = start.dim() == 2
    left, right = pairs[0]
    total = torch.addmm(start, left, right) if single else torch.baddbmm(start, left, right)
    for left, right in pairs[1:]:
        total = total.addmm_(left, right) if single else total.baddbmm_(left, right)
    return total


def _residual(tube: Tensor, features: Tensor, matrix: Tensor, offset: Tensor, *more: tuple[Tensor, Tensor]) -> Tensor:
    """tube + matrix @ features + offset + Σ more; `features` is `tube` in the dtype of the products."""
    if matrix.dtype == features.dtype == tube.dtype:
        # The residual rides along in the product: no pass over all positions for a sum.
        identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        return _sum_of_products(offset, (matrix + identity, features), *more)
    # In a lower dtype it must not: x itself is never rounded.
    pairs = [(left.to(features.dtype), right) for left, right in ((matrix, features), *more)]
    return tube + _sum_of_products(offset.to(features.dtype), *pairs).to(tube.dtype)


def _matrix_forward(
    tube: Tensor, features: Tensor, positions: Tensor | int, w: Projections
) -> tuple[Tensor, Tensor, Tensor]:
    """Z, G and s of one tube (C, P), or of videos (B, C, S) that are zero outside their tubes."""
    gram = (features @ features.mT).to(w.z.dtype) / positions
    mean = features.sum(-1, keepdim=True, dtype=w.z.dtype) / positions
    chain = _chain(gram, mean, w)
    return _residual(tube, features, chain.a, chain.offset), gram, mean


def _matrix_backward(
    d_z: Tensor, features: Tensor, positions: Tensor | int, gram: Tensor, mean: Tensor, w: Projections
) -> tuple[Tensor, list[Tensor]]:
    chain = _chain(gram, mean, w)
    d_low = d_z.to(features.dtype)
    d_a = (d_low @ features.mT).to(w.z.dtype)
    d_offset = d_z.sum(-1, keepdim=True, dtype=w.z.dtype)
    d_gram, d_mean, d_weights = _chain_backward(d_a, d_offset, gram, mean, chain, w)
    symmetric = (d_gram + d_gram.mT) / positions
    return _residual(d_z, d_low, chain.a.mT, d_mean / positions, (symmetric, features)), d_weights


def _factored_forward(tube: Tensor, features: Tensor, w: Projections, saved: Tensor) -> Tensor:
    """Z of one tube (C, P); Q, K and V are left in `saved`, (3r, P)."""
    weight, bias = (part.to(features.dtype) for part in w.stacked())
    if saved.dtype == features.dtype:
        torch.addmm(bias, weight, features, out=saved)
    else:
        saved.copy_(torch.addmm(bias, weight, features))
    query, key, value = saved.to(features.dtype).chunk(3)
    m = (key @ value.T).to(w.z.dtype) / features.shape[1]
    update = _sum_of_products(w.z_bias[:, None].to(features.dtype), ((w.z @ m.T).to(features.dtype), query))
    return update.add_(tube) if update.dtype == tube.dtype else tube + update.to(tube.dtype)


def _factored_backward(d_z: Tensor, features: Tensor, w: Projections, saved: Tensor) -> tuple[Tensor, list[Tensor]]:
    dtype, positions = features.dtype, features.shape[1]
    kept = saved.to(dtype)
    query, key, value = kept.chunk(3)
    m = (key @ value.T).to(w.z.dtype) / positions
    n = w.z @ m.T
    d_low = d_z.to(dtype)
    d_n = (d_low @ query.T).to(w.z.dtype)
    d_m = ((d_n.T @ w.z) / positions).to(dtype)
    d_kept = torch.empty_like(kept)
    d_query, d_key, d_value = d_kept.chunk(3)
    torch.mm(n.T.to(dtype), d_low, out=d_query)
    torch.mm(d_m, value, out=d_key)
    torch.mm(d_m.T, key, out=d_value)
    d_weight = (d_kept @ features.T).to(w.z.dtype).chunk(3)
    d_bias = d_kept.sum(1, dtype=w.z.dtype).chunk(3)
    d_weights = [part for pair in zip(d_weight, d_bias, strict=True) for part in pair]
    d_weights += [d_n @ m, d_z.sum(1, dtype=w.z.dtype)]
    stacked = w.stacked()[0].to(dtype)
    if dtype == d_z.dtype:
        return torch.addmm(d_z, stacked.T, d_kept), d_weights
    return d_z + (stacked.T @ d_kept).to(d_z.dtype), d_weights


def _state(x: Tensor, w: Projections) -> Tensor:
    """Room, one row a video, for what backward needs: G and s, or on a CPU Q, K and V of a small tube.

    Of fixed size, so that a compiled graph knows it; what is never written takes no memory on a CPU.
    """
    channels, reduced = w.z.shape
    room = channels * (channels + 1)
    if not x.is_cuda:
        largest = min(factored_limit(channels, reduced), x[0, 0].numel())
        room = max(room, 3 * reduced * largest)
    return x.new_empty(len(x), room, dtype=w.z.dtype)


def _moments_of(state: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    used = state[..., : channels * (channels + 1)]
    gram, mean = torch.split(used, [channels * channels, channels], dim=-1)
    return gram.view(*gram.shape[:-1], channels, channels), mean.unsqueeze(-1)


def _batched(x: Tensor, mask: Tensor, dtype: torch.dtype, w: Projections) -> tuple[Tensor, Tensor, Tensor]:
    """All videos at once: features (B, C, S), zero outside the tubes; selected (B, 1, S); sizes (B, 1, 1)."""
    selected = mask.flatten(1)[:, None]
    features = x.flatten(2).masked_fill(~selected, 0).to(dtype)
    return features, selected, selected.sum(-1, keepdim=True).clamp_(min=1).to(w.z.dtype)


def _kept_projections(row: Tensor, reduced: int, positions: int) -> Tensor:
    return row[: 3 * reduced * positions].view(3 * reduced, positions)


def _forward_batched(x: Tensor, mask: Tensor, w: Projections, compute_dtype: torch.dtype, state: Tensor) -> Tensor:
    features, selected, positions = _batched(x, mask, compute_dtype, w)
    updated, gram, mean = _matrix_forward(x.flatten(2), features, positions, w)
    for room, made in zip(_moments_of(state, x.shape[1]), (gram, mean), strict=True):
        room.copy_(made)
    return torch.where(selected, updated, x.flatten(2)).view_as(x)


def _forward_gathered(x: Tensor, mask: Tensor, w: Projections, compute_dtype: torch.dtype, state: Tensor) -> Tensor:
    channels, reduced = w.z.shape
    z = torch.empty_like(x)
    for b, index in enumerate(tube_indices(mask)):
        source, target = x[b].flatten(1), z[b].flatten(1)
        tube = gather_tube(source, index)
        if index is not None:
            target.copy_(source)
        if not tube.shape[1]:
            continue
        features = tube.to(compute_dtype)
        if tube.shape[1] <= factored_limit(channels, reduced):
            kept = _kept_projections(state[b], reduced, tube.shape[1])
            updated = _factored_forward(tube, features, w, kept)
        else:
            updated, gram, mean = _matrix_forward(tube, features, tube.shape[1], w)
            for room, made in zip(_moments_of(state[b], channels), (gram, mean), strict=True):
                room.copy_(made)
        put_tube(target, index, updated)
    return z


def _backward_batched(
    d_z: Tensor, x: Tensor, mask: Tensor, w: Projections, state: Tensor, compute_dtype: torch.dtype
) -> list[Tensor]:
    features, selected, positions = _batched(x, mask, compute_dtype, w)
    inside = d_z.flatten(2).masked_fill(~selected, 0)
    gram, mean = _moments_of(state, x.shape[1])
    d_tube, per_video = _matrix_backward(inside, features, positions, gram, mean, w)
    d_x = torch.where(selected, d_tube, d_z.flatten(2)).view_as(x)
    return [d_x, *(part.sum(0) for part in per_video)]  # an empty tube adds zero: its d_z is all zero here


def _backward_gathered(
    d_z: Tensor, x: Tensor, mask: Tensor, w: Projections, state: Tensor, compute_dtype: torch.dtype
) -> list[Tensor]:
    channels, reduced = w.z.shape
    d_x, d_weights = torch.empty_like(x), [torch.zeros_like(weight) for weight in w]
    for b, index in enumerate(tube_indices(mask)):
        source, target = d_z[b].flatten(1), d_x[b].flatten(1)
        d_updated = gather_tube(source, index)
        if index is not None:
            target.copy_(source)
        positions = d_updated.shape[1]
        if not positions:
            continue
        features = gather_tube(x[b].flatten(1), index).to(compute_dtype)
        if positions <= factored_limit(channels, reduced):
            kept = _kept_projections(state[b], reduced, positions)
            d_tube, parts = _factored_backward(d_updated, features, w, kept)
        else:
            gram, mean = _moments_of(state[b], channels)
            d_tube, parts = _matrix_backward(d_updated, features, positions, gram, mean, w)
        put_tube(target, index, d_tube)
        for total, part in zip(d_weights, parts, strict=True):
            total += part
    return [d_x, *d_weights]


@torch.library.custom_op("tubeflow::tube_dot", mutates_args=())
def _forward_op(x: Tensor, mask: Tensor, weights: list[Tensor], compute_dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    w = Projections(*weights)
    state = _state(x, w)
    forward = _forward_batched if x.is_cuda else _forward_gathered
    with torch.autocast(x.device.type, enabled=False):  # every cast here is deliberate
        return forward(x, mask, w, compute_dtype, state), state


@_forward_op.register_fake
def _(x: Tensor, mask: Tensor, weights: list[Tensor], compute_dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), _state(x, Projections(*weights))


@torch.library.custom_op("tubeflow::tube_dot_backward", mutates_args=())
def _backward_op(
    d_z: Tensor, x: Tensor, mask: Tensor, weights: list[Tensor], state: Tensor, compute_dtype: torch.dtype
) -> list[Tensor]:
    backward = _backward_batched if x.is_cuda else _backward_gathered
    with torch.autocast(x.device.type, enabled=False):
        return backward(d_z, x, mask, Projections(*weights), state, compute_dtype)


@_backward_op.register_fake
def _(
    d_z: Tensor, x: Tensor, mask: Tensor, weights: list[Tensor], state: Tensor, compute_dtype: torch.dtype
) -> list[Tensor]:
    return [torch.empty_like(x), *(torch.empty_like(weight) for weight in weights)]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, mask, weights, ctx.compute_dtype = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, mask, output[1], *weights)


def _backward(ctx: Any, d_z: Tensor, _: Tensor) -> tuple[Tensor, None, list[Tensor], None]:
    x, mask, state, *weights = ctx.saved_tensors
    d_x, *d_weights = torch.ops.tubeflow.tube_dot_backward(d_z, x, mask, weights, state, ctx.compute_dtype)
    return d_x, None, d_weights, None


_forward_op.register_autograd(_backward, setup_context=_setup)
