"""What every block asks of its features and mask, and in which precision it computes on them."""

from __future__ import annotations

import torch
from torch import Tensor


def check_inputs(x: Tensor, mask: Tensor, channels: int) -> None:
    """Refuse features that aren't (B, C, T, H, W) with C = `channels`, or a mask that isn't (B, T, H, W) bool.

    Raises:
        ValueError: says which of the two, and what it is.
    """
    if x.dim() != 5 or x.shape[1] != channels:
        raise ValueError(f"features must have shape (B, {channels}, T, H, W), got {tuple(x.shape)}")
    if mask.dtype != torch.bool:
        raise ValueError(f"the tube mask must be bool, got {mask.dtype}; compare it with a threshold")
    if mask.shape != (x.shape[0], *x.shape[2:]):
        raise ValueError(f"features {tuple(x.shape)} need a mask (B, T, H, W), got {tuple(mask.shape)}")


def wide(tensor: Tensor) -> Tensor:
    """The tensor, of any shape, in float32, or in its own dtype where that is wider."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def product_dtype(x: Tensor) -> torch.dtype:
    """Dtype of products over the positions of x, of any shape: autocast's, where it has the range of float32."""
    dtype = x.dtype
    if dtype != torch.float64 and torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
    return torch.float32 if dtype == torch.float16 else dtype
