"""Softmax attention inside tubes: positions attend to each other by the softmax of plain dot products.

The queries, keys and values are the tube's own features X (C, P), one column a position: Y = X softmax(XᵀX)ᵀ,
without projections and without scaling. Rows of a softmax sum to one, so a linear map of the values may as
well be applied to Y afterwards; callers do that once, instead of projecting every value first.

Tubes are attended to one by one, each at its own length: nothing is padded to the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows of XᵀX handled at once: products large enough for full speed, temporaries small beside X.
PANEL_ROWS = 384
# Fused kernels for packed sequences of different lengths go up to this size of a head.
_VARLEN_CHANNELS = 256


def attend_tubes(tubes: Sequence[Tensor]) -> list[Tensor]:
    """Y (C, P_b) for every tube X (C, P_b), dtypes kept; an empty tube stays empty.

    On a CPU the symmetry of XᵀX is used. Elsewhere torch's fused scaled_dot_product_attention does the
    work: one call for tubes of all lengths up to the widest features that its variable-length kernels take,
    else a call a tube.
    """
    filled = [tube for tube in tubes if tube.shape[1]]
    if not filled:
        return list(tubes)
    if filled[0].device.type == "cpu":
        attended = [symmetric_softmax(tube) for tube in filled]
    elif len(filled) > 1 and filled[0].shape[0] <= _VARLEN_CHANNELS:
        attended = fused_varlen(filled)
    else:
        attended = [fused_varlen([tube])[0] for tube in filled]
    done = iter(attended)
    return [next(done) if tube.shape[1] else tube for tube in tubes]


def fused_varlen(tubes: Sequence[Tensor]) -> list[Tensor]:
    """Attention inside each of the tubes (C, P_b > 0) float by scaled_dot_product_attention, side by side, unpadded."""
    if len(tubes) == 1:
        rows = tubes[0].t().contiguous()[None, None]
        return [F.scaled_dot_product_attention(rows, rows, rows, scale=1.0)[0, 0].t()]
    lengths = [tube.shape[1] for tube in tubes]
    offsets = torch.tensor([0, *accumulate(lengths)], device=tubes[0].device)
    packed = torch.nested.nested_tensor_from_jagged(torch.cat([tube.t() for tube in tubes]), offsets)
    rows = packed.unsqueeze(2).transpose(1, 2)  # (B, one head, P_b, C)
    attended = F.scaled_dot_product_attention(rows, rows, rows, scale=1.0).transpose(1, 2).squeeze(2)
    return [tube.t() for tube in torch.split(attended.values(), lengths)]


def symmetric_softmax(tube: Tensor) -> Tensor:
    """Attention inside one tube (C, P > 0) on a CPU.

    Logits are unscaled sums over all channels: below float32 their rounding would show in the weights, so
    narrower features are widened.
    """
    attended: Tensor = _SymmetricSoftmax.apply(tube.to(torch.promote_types(tube.dtype, torch.float32)))
    return attended.to(tube.dtype)


class _SymmetricSoftmax(torch.autograd.Function):
    """Y = X softmax(XᵀX)ᵀ with 4.5 instead of 6 products of size P²C, forward plus backward.

    XᵀX is symmetric, so only the panels on and below its diagonal are computed: each serves its rows and, transposed,
    its columns. In the backward pass both uses of X in XᵀX share one product.

    With E = exp(XᵀX - peak of the row) and Z its row sums, the weights are A = E / Z. Let U = d_yᵀX and
    δ = Σ_c d_y·y; the softmax turns U into A∘(U - δ). Its part A∘δ times X is δ∘Y, known already, and transposed it
    joins the values' gradient; dividing d_y's columns by Z instead of E's rows leaves one pass over the numbers of E.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positions = x.shape[1]
        ctx.panels = [(start, min(start + PANEL_ROWS, positions)) for start in range(0, positions, PANEL_ROWS)]
        with torch.autocast("cpu", enabled=False):
            logits = [x[:, start:end].t() @ x[:, :end] for start, end in ctx.panels]
            peak, ctx.below, ctx.above = _peaks(ctx.panels, logits), [], []
            y, total = torch.zeros_like(x), x.new_zeros(positions)
            for (start, end), panel in zip(ctx.panels, logits, strict=True):
                above = (panel[:, :start] - peak[:start]).exp_()  # E transposed: rows are keys, columns queries
                total[:start] += above.sum(0)
                y[:, :start].addmm_(x[:, start:end], above)
                below = panel.sub_(peak[start:end, None]).exp_()
                total[start:end] += below.sum(1)
                y[:, start:end].addmm_(x[:, :end], below.t())
                ctx.below.append(below)
                ctx.above.append(above)
            y /= total
        ctx.save_for_backward(x, y, total)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> Tensor:
        x, y, total = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            own = (d_y * y).sum(0)
            d_x: Tensor = -own * y
            scaled, values = d_y / total, torch.addcmul(d_y, own, x, value=-1).div_(total)
            room = _scratch_buffers(x)
            for (start, end), below, above in zip(ctx.panels, ctx.below, ctx.above, strict=True):
                rows = slice(start, end)
                d_logits = torch.mm(scaled[:, rows].t(), x[:, :end], out=room[0](start, end, end)).mul_(below)
                d_weights = torch.mm(x[:, rows].t(), scaled[:, :start], out=room[1](start, end, start))
                d_logits[:, :start].addcmul_(above, d_weights)
                d_logits[:, start:] += d_logits[:, start:].t().clone()
                d_x[:, :end].addmm_(values[:, rows], below)
                d_x[:, :start].addmm_(x[:, rows], d_logits[:, :start])
                d_x[:, rows].addmm_(x[:, :end], d_logits.t())
                d_x[:, rows].addmm_(values[:, :start], above.t())
        return d_x


def symmetric_macs(positions: int, channels: int) -> tuple[int, int]:
    """Multiplications of `symmetric_softmax` in one tube: (forward, backward)."""
    starts = range(0, positions, PANEL_ROWS)
    panels = [(start, min(start + PANEL_ROWS, positions)) for start in starts]
    lower = channels * sum((end - start) * end for start, end in panels)
    upper = channels * sum((end - start) * start for start, end in panels)
    return 2 * lower + upper, 3 * lower + 3 * upper


def _scratch_buffers(x: Tensor) -> list[Callable[[int, int, int], Tensor]]:
    """Memory for two panels, used again and again: fresh pages every time would cost as much as the arithmetic."""

    def room(buffer: Tensor, start: int, end: int, columns: int) -> Tensor:
        return buffer[: (end - start) * columns].view(end - start, columns)

    largest = min(PANEL_ROWS, x.shape[1]) * x.shape[1]
    return [partial(room, x.new_empty(largest)) for _ in range(2)]


def _peaks(panels: list[tuple[int, int]], logits: list[Tensor]) -> Tensor:
    """Largest logit of every row of the symmetric matrix whose lower panels are given: (P,)."""
    peak = logits[0].new_full((panels[-1][1],), -torch.inf)
    for (start, end), panel in zip(panels, logits, strict=True):
        peak[start:end] = torch.maximum(peak[start:end], panel.amax(1))
        peak[:start] = torch.maximum(peak[:start], panel[:, :start].amax(0))
    return peak
