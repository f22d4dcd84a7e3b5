"""W_z y + b_z of one tube by itself, for what stands between it and the residual.

`tube_dot` adds the residual within its product; a norm behind W_z has to see the update alone. The forms are those of
`dot_forms`, their gradients PyTorch's own, the cost linear in the tube's positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.attention.dot_forms import Projections, dot_matrix, factored_limit


def dot_update(tube: Tensor, w: Projections, products: torch.dtype) -> Tensor:
    """The update of Eq. 4-5 and W_z for one tube.

    Args:
        tube: (C, P) float; without positions the result has none, and the weights' gradients are zeros, not missing.
        w: the projections, at least float32.
        products: dtype of the products over positions.

    Returns:
        (C, P) in `products`.
    """
    features, positions = tube.to(products), tube.shape[1]
    if positions <= factored_limit(*w.z.shape):
        weight, bias = (part.to(products) for part in w.stacked())
        query, key, value = torch.addmm(bias, weight, features).chunk(3)
        m = (key @ value.T).to(w.z.dtype) / max(positions, 1)
        return torch.addmm(w.z_bias[:, None].to(products), (w.z @ m.T).to(products), query)
    gram = (features @ features.T).to(w.z.dtype) / positions
    mean = features.sum(1, keepdim=True, dtype=w.z.dtype) / positions
    matrix, offset = dot_matrix(gram, mean, w)
    return torch.addmm(offset.to(products), matrix.to(products), features)
