"""The two exact orders in which dot-product attention inside a tube is computed without a P×P matrix.

No softmax stands between the two products of Eq. 4-6, so they may be taken in any order. With X (C, P) the
features of one tube, one column a position, Q = W_θX + b_θ, K = W_φX + b_φ and V = W_gX + b_g:

    factored   M = K Vᵀ / P,  N = W_z Mᵀ                 Z = X + N Q + b_z
    matrix     G = X Xᵀ / P,  s = X 1 / P                Z = X + A X + b
               M = W_φ G W_gᵀ + W_φ s b_gᵀ + b_φ (W_g s)ᵀ + b_φ b_gᵀ
               N = W_z Mᵀ,  A = N W_θ,  b = N b_θ + b_z

The matrix form never makes Q, K or V: positions enter by their second moments G and their mean s alone, and
the gradients of all eight parameters follow from C×C products. It wins once the tube has a few times C
positions.

Weights and what is made of weights alone are at least float32; only products over positions may be narrower.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


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


def factored_macs(positions: int, channels: int, reduced: int) -> tuple[int, int]:
    """Multiplications of the factored form in one tube: (forward, backward)."""
    p, c, r = positions, channels, reduced
    return 4 * p * c * r + p * r * r + c * r * r, 8 * p * c * r + 3 * p * r * r + 3 * c * r * r


def matrix_macs(positions: int, channels: int, reduced: int) -> tuple[int, int]:
    """Multiplications of the matrix form in one tube: (forward, backward)."""
    p, c, r = positions, channels, reduced
    chain = 2 * c * c * r + 2 * c * r * r
    return 2 * p * c * c + chain, 3 * p * c * c + chain + 4 * c * c * r + 5 * c * r * r


def factored_limit(channels: int, reduced: int) -> int:
    """Positions up to which the factored form costs less than the matrix form, forward and backward together."""
    (fixed, each), (matrix_fixed, matrix_each) = (
        (sum(macs(0, channels, reduced)), sum(macs(1, channels, reduced)) - sum(macs(0, channels, reduced)))
        for macs in (factored_macs, matrix_macs)
    )
    if each <= matrix_each:
        return 2**31 - 1  # strong reduction: the C×C matrix never pays
    return (matrix_fixed - fixed) // (each - matrix_each)


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


def matrix_forward(
    tube: Tensor, features: Tensor, positions: Tensor | int, w: Projections
) -> tuple[Tensor, Tensor, Tensor]:
    """Z, G and s of one tube (C, P), or of videos (B, C, S) that are zero outside their tubes.

    `features` is `tube` in the dtype of the products over positions, `positions` P or (B, 1, 1).
    """
    gram = (features @ features.mT).to(w.z.dtype) / positions
    mean = features.sum(-1, keepdim=True, dtype=w.z.dtype) / positions
    chain = _chain(gram, mean, w)
    return _residual(tube, features, chain.a, chain.offset), gram, mean


def matrix_backward(
    d_z: Tensor, features: Tensor, positions: Tensor | int, gram: Tensor, mean: Tensor, w: Projections
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of X and of the eight parameters (…) from that of Z; other arguments as in the forward pass."""
    chain = _chain(gram, mean, w)
    d_low = d_z.to(features.dtype)
    d_a = (d_low @ features.mT).to(w.z.dtype)
    d_offset = d_z.sum(-1, keepdim=True, dtype=w.z.dtype)
    d_gram, d_mean, d_weights = _chain_backward(d_a, d_offset, gram, mean, chain, w)
    symmetric = (d_gram + d_gram.mT) / positions
    return _residual(d_z, d_low, chain.a.mT, d_mean / positions, (symmetric, features)), d_weights


def factored_forward(tube: Tensor, features: Tensor, w: Projections, saved: Tensor) -> Tensor:
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


def factored_backward(d_z: Tensor, features: Tensor, w: Projections, saved: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Gradients of X and of the eight parameters from that of Z, all of one tube."""
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
