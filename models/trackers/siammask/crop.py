"""Square crops around moving centres, resized: for many targets at once, on the device that holds the frames.

The result equals, byte for byte, what the published trackers get from padding the frame and `cv2.resize` with
bilinear interpolation: OpenCV works in whole numbers (11 bits of weight, two roundings), and so does this. One form
serves every device, so that a track does not depend on where it was made.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_WEIGHT_BITS = 11


class _Taps(NamedTuple):
    """For each output pixel of one axis: the two source pixels (B, P) int64 and their weights (B, P) int32."""

    first: Tensor
    second: Tensor
    weight_first: Tensor
    weight_second: Tensor


def crop_corner(centre: Tensor, side: Tensor, half_up: bool = False) -> Tensor:
    """Upper left pixel (B, 2) int64 of crops of `side` (B,) whole pixels around `centre` (B, 2) float64."""
    exact = centre - (side[:, None] + 1) / 2
    return (torch.floor(exact + 0.5) if half_up else torch.round(exact)).long()


def crop_targets(
    frames: Tensor, which: Tensor, corner: Tensor, side: Tensor, padding: Tensor, pixels: int
) -> Tensor:
    """Cut and resize.

    Args:
        frames: (F, H, W, 3) uint8.
        which: (B,) int64, the frame of each target.
        corner: (B, 2) int64 x, y of the upper left pixel; may lie outside.
        side: (B,) whole pixels, float64.
        padding: (B, 3) uint8, the colour beyond the frame.
        pixels: P, side of the result.

    Returns:
        (B, P, P, 3) uint8, the frame's channel order.
    """
    across, down = _taps(side, pixels, inner=True), _taps(side, pixels, inner=False)
    x0, x1 = corner[:, :1] + across.first, corner[:, :1] + across.second
    y0, y1 = corner[:, 1:] + down.first, corner[:, 1:] + down.second
    wx0, wx1 = across.weight_first[:, None, :, None], across.weight_second[:, None, :, None]
    wy0, wy1 = down.weight_first[:, :, None, None], down.weight_second[:, :, None, None]

    def row(y: Tensor) -> Tensor:
        left, right = (_pick(frames, which, y, x, padding) for x in (x0, x1))
        return (left * wx0 + right * wx1) >> 4

    mixed = ((wy0 * row(y0)) >> 16) + ((wy1 * row(y1)) >> 16)
    return ((mixed + 2) >> 2).to(torch.uint8)


def _taps(side: Tensor, pixels: int, inner: bool) -> _Taps:
    """OpenCV's bilinear taps along one axis, with its roundings.

    Beyond the middle of the outermost pixels one source pixel is left. Across (`inner`) OpenCV assigns it the whole
    weight; down it counts twice, with the weights of both, and each part is rounded.
    """
    # OpenCV has the ratio as the inverse of an inverse, in double, and the position in single precision.
    ratio = 1.0 / (pixels / side.double())
    place = ((torch.arange(pixels, device=side.device) + 0.5) * ratio[:, None] - 0.5).float()
    first = place.floor()
    fraction = place - first
    last = (side.float() - 1)[:, None]
    if inner:
        fraction = torch.where((first < 0) | (first >= last), torch.zeros_like(fraction), fraction)
    scale = float(1 << _WEIGHT_BITS)
    second = torch.minimum((first + 1).clamp(min=0), last)
    return _Taps(
        torch.minimum(first.clamp(min=0), last).long(),
        second.long(),
        torch.round((1 - fraction) * scale).int(),
        torch.round(fraction * scale).int(),
    )


def _pick(frames: Tensor, which: Tensor, y: Tensor, x: Tensor, padding: Tensor) -> Tensor:
    """Pixels (B, P, P, 3) int32 at rows `y` (B, P) and columns `x` (B, P)."""
    height, width = frames.shape[1:3]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    rows, columns = y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]
    picked = frames[which[:, None, None], rows, columns]
    return torch.where(inside[..., None], picked, padding[:, None, None, :]).int()
