"""A 3-D convolution whose weights' gradient is taken tap by tap where a map has fewer steps than the kernel has taps.

Behind the last temporal pool of an I3D a map has two steps and the kernel three taps in time: a third of all products
of tap and step are with padding. On a CPU PyTorch's gradient of the weights (not the convolution, nor the gradient of
its input) takes twice the time of the others there. As one 2-D gradient for each tap, over the steps which that tap
meets, it takes half as long. On longer maps the 3-D form is the faster one, and is left as it is.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Triple = tuple[int, int, int]


def convolve(x: Tensor, weight: Tensor, stride: Triple, padding: Triple) -> Tensor:
    """`torch.nn.functional.conv3d` without a bias, with the same result and gradients but for the order of sums.

    Args:
        x: (M, C, T, H, W) float.
        weight: (C', C, k, kh, kw) float.
        stride, padding: of time, rows and columns.

    Returns:
        (M, C', T', H', W').
    """
    if _is_short(x, weight, stride, padding):
        made: Tensor = _ShortConvolution.apply(x, weight, padding)
        return made
    return F.conv3d(x, weight, stride=stride, padding=padding)


def _is_short(x: Tensor, weight: Tensor, stride: Triple, padding: Triple) -> bool:
    """Whether the tap-by-tap gradient will be asked for, is possible, and is the faster one."""
    if not (torch.is_grad_enabled() and weight.requires_grad) or x.device.type != "cpu":
        return False
    plain = not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
    same_length = stride == (1, 1, 1) and weight.shape[2] == 2 * padding[0] + 1
    return plain and same_length and x.shape[2] < weight.shape[2]


def _frames(steps: Tensor) -> Tensor:
    """Steps of a map (M, C, T, H, W) as pictures (M·T, C, H, W); a view of all steps of a channels-last map."""
    return steps.transpose(1, 2).flatten(0, 1)


class _ShortConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: Triple) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return F.conv3d(x, weight, padding=padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        d_x = d_weight = None
        if ctx.needs_input_grad[0]:
            d_x = torch.ops.aten.convolution_backward(
                d_y, x, weight, None, [1] * 3, ctx.padding, [1] * 3, False, [0] * 3, 1, [True, False, False]
            )[0]
        if ctx.needs_input_grad[1]:
            d_weight = torch.zeros_like(weight)
            _add_taps(d_weight, d_y, x, ctx.padding)
        return d_x, d_weight, None


def _add_taps(d_weight: Tensor, d_y: Tensor, x: Tensor, padding: Triple) -> None:
    """The gradient of each tap in time, from those steps of the output that it gave a share of."""
    steps, before = x.shape[2], padding[0]
    for tap in range(d_weight.shape[2]):
        first, end = max(0, before - tap), min(steps, steps + before - tap)
        if first >= end:
            continue  # this tap meets nothing but padding
        moved = tap - before
        d_weight[:, :, tap] = torch.ops.aten.convolution_backward(
            _frames(d_y[:, :, first:end]),
            _frames(x[:, :, first + moved : end + moved]),
            d_weight[:, :, tap],
            None,
            [1] * 2,
            padding[1:],
            [1] * 2,
            False,
            [0] * 2,
            1,
            [False, True, False],
        )[1]
