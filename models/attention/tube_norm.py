"""BatchNorm over the positions of all tubes of a batch, and of all processes that share it."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.attention.inputs import wide


class TubeNorm(nn.Module):
    """Normalises channels by their mean and variance over tube positions; what lies outside of tubes never counts.

    In training the statistics are those of all positions of all tubes of the batch, and where several processes share a
    batch (torch.distributed), of all their tubes: a process without any position takes part in the sums all the same.
    The running ones, for evaluation, follow with `momentum` and the unbiased variance, as PyTorch's BatchNorm does
    (Ioffe and Szegedy 2015). A single position has no variance, so a batch with fewer than two positions is
    normalised by the running statistics and leaves them as they are.

    It is no `nn.BatchNorm1d`, whose forward torch's own conversion to synchronised BatchNorm would replace; parameters
    and buffers have that one's names.

    Args:
        channels: C.
        gain: what `weight` starts with; the bias starts with zero.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, gain: float = 1.0, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.full((channels,), float(gain)))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, columns: Tensor) -> Tensor:
        """Normalise (C, P) float, the positions of all tubes of this process side by side; P may be 0.

        Returns:
            (C, P), at least float32.
        """
        columns = wide(columns)
        if self.training:
            total, positions = _over_processes(columns.sum(1)), columns.new_tensor([columns.shape[1]])
            count = float(_over_processes(positions))
            mean = total / max(count, 1)
            variance = _over_processes((columns - mean[:, None]).square().sum(1)) / max(count, 1)
            if count > 1:
                self._follow(mean.detach(), variance.detach(), count)
                scale = self.weight * (variance + self.eps).rsqrt()
                return (columns - mean[:, None]) * scale[:, None] + self.bias[:, None]
        scale, shift = in_evaluation(self)
        return columns * scale[:, None] + shift[:, None]

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: float) -> None:
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked += 1


def in_evaluation(norm: nn.BatchNorm1d | TubeNorm) -> tuple[Tensor, Tensor]:
    """The running statistics as scale and shift, (C,) float each: the norm of evaluation is scale * x + shift.

    Raises:
        ValueError: it has none.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a norm without running statistics can't be folded")
    scale = wide(norm.weight) * (wide(norm.running_var) + norm.eps).rsqrt()
    return scale, wide(norm.bias) - wide(norm.running_mean) * scale


class _SumOverProcesses(torch.autograd.Function):
    """What each process has, summed; each process's gradient reaches all of them."""

    @staticmethod
    def forward(ctx: object, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _over_processes(tensor: Tensor) -> Tensor:
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return tensor
    total: Tensor = _SumOverProcesses.apply(tensor)
    return total
