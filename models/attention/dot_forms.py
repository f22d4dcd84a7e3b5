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

from collections.abc import Iterable
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
        """θ, φ and g as one projection (3r, C), (3r, 1), dtype kept."""
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


def dot_matrix(gram: Tensor, mean: Tensor, w: Projections) -> tuple[Tensor, Tensor]:
    """A (C, C) and b (C, 1) of Z = X + A X + b from a tube's moments G (C, C) and s (C, 1), in the weights' dtype."""
    chain = _chain(gram, mean, w)
    return chain.a, chain.offset


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


def _add_product(total: Tensor | None, left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum total + left @ right in `dtype`, in place where there is a total; matrices or batches of them."""
    if total is None:
        return (left @ right).to(dtype)
    if left.dtype != dtype:
        return total.add_(left @ right)
    return total.addmm_(left, right) if total.dim() == 2 else total.baddbmm_(left, right)


def moments(
    pieces: Iterable[Tensor], positions: Tensor | int, w: Projections, products: torch.dtype
) -> tuple[Tensor, Tensor]:
    """G (C, C) and s (C, 1) of one tube whose columns come in pieces (C, p), or of a batch that is zero outside.

    `positions` is P or (B, 1, 1); `products` the dtype of the products over positions.
    """
    gram, total, dtype = None, torch.zeros((), dtype=w.z.dtype, device=w.z.device), w.z.dtype
    for piece in pieces:
        features = piece.to(products)
        gram = _add_product(gram, features, features.mT, dtype)
        total = total + features.sum(-1, keepdim=True, dtype=dtype)
    if gram is None:
        raise ValueError("a tube without positions has no moments")
    return gram.div_(positions), total / positions


class MatrixForm:
    """Z = X + A X + b of one tube, or of a batch of videos zero outside their tubes, and its gradients.

    Columns of X may be given all at once or piece by piece: the result of a piece depends on the others through the
    moments alone, so that temporaries stay small.
    """

    def __init__(self, gram: Tensor, mean: Tensor, positions: Tensor | int, w: Projections) -> None:
        self._gram, self._mean, self._positions, self._w = gram, mean, positions, w
        self._chain = _chain(gram, mean, w)
        # The residual rides along in the product: no pass over all positions for a sum.
        self._riding = self._chain.a + torch.eye(w.z.shape[0], dtype=w.z.dtype, device=w.z.device)

    def apply(self, tube: Tensor, products: torch.dtype, out: Tensor | None = None) -> Tensor:
        """Z (C, p) for columns X (C, p) float, or batches; written to `out` if it is given and the dtypes allow."""
        if self._riding.dtype == products == tube.dtype:
            return _affine(self._chain.offset, self._riding, tube, out)
        # In a narrower dtype the residual must not ride: x itself is never rounded.
        update = _affine(self._chain.offset.to(products), self._chain.a.to(products), tube.to(products))
        return tube + update.to(tube.dtype)

    def gradients(self, pieces: Iterable[tuple[Tensor, Tensor]], products: torch.dtype) -> list[Tensor]:
        """Gradients of the eight parameters (…) from all pairs of columns of Z's gradient and of X, (C, p) float."""
        d_a, dtype = None, self._w.z.dtype
        d_offset = torch.zeros((), dtype=dtype, device=self._w.z.device)
        for d_z, tube in pieces:
            d_a = _add_product(d_a, d_z.to(products), tube.to(products).mT, dtype)
            d_offset = d_offset + d_z.sum(-1, keepdim=True, dtype=dtype)
        if d_a is None:
            raise ValueError("a tube without positions has no gradients")
        d_gram, d_mean, d_weights = _chain_backward(d_a, d_offset, self._gram, self._mean, self._chain, self._w)
        self._d_features = (d_gram + d_gram.mT).div_(self._positions)
        self._d_offset = d_mean / self._positions
        return d_weights

    def apply_backward(self, d_z: Tensor, tube: Tensor, products: torch.dtype, out: Tensor | None = None) -> Tensor:
        """X's gradient (C, p) for a pair of columns (C, p) float, once `gradients` has seen all of them."""
        if self._riding.dtype == products == tube.dtype == d_z.dtype:
            d_x = _affine(self._d_offset, self._riding.mT, d_z, out)
            return _add_product(d_x, self._d_features, tube, products)
        update = _affine(self._d_offset.to(products), self._chain.a.mT.to(products), d_z.to(products))
        update = _add_product(update, self._d_features.to(products), tube.to(products), products)
        return d_z + update.to(d_z.dtype)


def _affine(offset: Tensor, matrix: Tensor, columns: Tensor, out: Tensor | None = None) -> Tensor:
    """The sum matrix @ columns + offset, of matrices or batches of them."""
    product = torch.addmm if columns.dim() == 2 else torch.baddbmm
    return product(offset, matrix, columns, out=out)


def factored_forward(tube: Tensor, features: Tensor, w: Projections, saved: Tensor) -> Tensor:
    """Z of one tube (C, P) float; Q, K and V are left in `saved`, (3r, P)."""
    weight, bias = (part.to(features.dtype) for part in w.stacked())
    if saved.dtype == features.dtype:
        torch.addmm(bias, weight, features, out=saved)
    else:
        saved.copy_(torch.addmm(bias, weight, features))
    query, key, value = saved.to(features.dtype).chunk(3)
    m = (key @ value.T).to(w.z.dtype) / features.shape[1]
    update = _affine(w.z_bias[:, None].to(features.dtype), (w.z @ m.T).to(features.dtype), query)
    return update.add_(tube) if update.dtype == tube.dtype else tube + update.to(tube.dtype)


def factored_backward(
    d_z: Tensor, features: Tensor, w: Projections, saved: Tensor, wants_x: bool = True
) -> tuple[Tensor | None, list[Tensor]]:
    """Gradients of X, unless nobody wants it, and of the eight parameters from that of Z, of one tube (C, P) float."""
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
    if not wants_x:
        return None, d_weights
    stacked = w.stacked()[0].to(dtype)
    if dtype == d_z.dtype:
        return torch.addmm(d_z, stacked.T, d_kept), d_weights
    return d_z + (stacked.T @ d_kept).to(d_z.dtype), d_weights
