"""The sharp form's refinement: from one correlation vector to a 127 x 127 outline, guided by the backbone's maps."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.trackers.siammask.backbone import Features

REFINED_SIDE = 127


class Refine(nn.Module):
    """Grows the vector of a position three times, each time adding what a finer map of the backbone sees there."""

    def __init__(self) -> None:
        super().__init__()
        self.v0 = _two_convolutions(64, 16, 4)
        self.v1 = _two_convolutions(256, 64, 16)
        self.v2 = _two_convolutions(512, 128, 32)
        self.h2 = _two_convolutions(32, 32, 32)
        self.h1 = _two_convolutions(16, 16, 16)
        self.h0 = _two_convolutions(4, 4, 4)
        self.deconv = nn.ConvTranspose2d(256, 32, 15)
        self.post0 = nn.Conv2d(32, 16, 3, padding=1)
        self.post1 = nn.Conv2d(16, 4, 3, padding=1)
        self.post2 = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, vector: Tensor, features: Features, positions: Tensor) -> Tensor:
        """`vector` (B, 256, 1, 1) at `positions` (B, 2) row, column → (B, 127, 127) logits.

        A position's template-sized window is 15 cells of `layer2`, 31 of `layer1`, 61 of the stem; it reaches 4, 8
        and 16 cells beyond the maps, where there are zeros.
        """
        coarse = self.deconv(vector)
        coarse = self._grow(self.h2(coarse) + self.v2(window(features.layer2, positions - 4, 15)), 31, self.post0)
        fine = window(features.layer1, 2 * positions - 8, 31)
        coarse = self._grow(self.h1(coarse) + self.v1(fine), 61, self.post1)
        finest = window(features.stem, 4 * positions - 16, 61)
        return self._grow(self.h0(coarse) + self.v0(finest), REFINED_SIDE, self.post2)[:, 0]

    @staticmethod
    def _grow(x: Tensor, side: int, convolution: nn.Conv2d) -> Tensor:
        grown: Tensor = convolution(functional.interpolate(x, size=(side, side)))
        return grown


def _two_convolutions(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, middle, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(middle, outputs, 3, padding=1), nn.ReLU(inplace=True),
    )  # fmt: skip


def window(maps: Tensor, corner: Tensor, side: int) -> Tensor:
    """Cut (B, C, side, side) out of `maps` (B, C, H, W), one `corner` (B, 2) row, column each; zeros beyond them."""
    height, width = maps.shape[2:]
    steps = torch.arange(side, device=maps.device)
    rows, columns = corner[:, :1] + steps, corner[:, 1:] + steps
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    batch = torch.arange(len(maps), device=maps.device)[:, None, None]
    cut = maps[batch, :, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    return (cut * inside[..., None]).permute(0, 3, 1, 2)
