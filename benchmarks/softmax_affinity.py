"""Question: to how many positions of its tube does a position attend in the released softmax form, before any training?

    python -m benchmarks.softmax_affinity --into docs/fidelity.md

The affinity of two positions is x_p · x_q, not divided by anything, so differences between the products of a position
grow with the channels, and the softmax of such logits has one position: mostly itself, or a neighbour of a larger
norm where a pool has made neighbours alike. Measured on a tube of 144 positions (4 time steps of 6×6): the number of
positions that count, exp(entropy) of a row of the softmax, and the weight of the position itself; mean over all rows.
Features: of I3D with random weights, its BatchNorms in training mode, on drawn frames of smooth noise, at the cut of
the released code and at the paper's; and normal ones, rectified, of as many channels and fewer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from models.attention import TubeSelfAttention
from models.backbones import build_backbone

TUBE = (4, 6, 6)
CHANNELS = (8, 32, 112, 480, 528)


def rows(x: Tensor) -> tuple[float, float]:
    """Positions that count, and the weight of the position itself, for features (1, C, T, H, W) of a tube."""
    block = TubeSelfAttention(x.shape[1], affinity="softmax")
    inside = torch.ones(1, *x.shape[2:], dtype=torch.bool)
    counts, own = [], []
    for position in inside[0].nonzero().tolist():
        weights = block.attention_from(x.double(), inside, position).flatten()
        counts.append(float(torch.special.entr(weights).sum().exp()))
        own.append(float(weights.view(x.shape[2:])[tuple(position)]))
    return sum(counts) / len(counts), sum(own) / len(own)


def smooth_noise(side: int, frames: int) -> Tensor:
    """A video (1, 3, frames, side, side) float32 of unit variance whose structures are a few pixels wide."""
    coarse = torch.randn(1, 3, frames // 4, side // 8, side // 8)
    video = F.interpolate(coarse, size=(frames, side, side), mode="trilinear")
    return video / video.std()


def cases() -> Iterator[tuple[str, Tensor]]:
    """Name and features (1, C, 4, 6, 6) of each."""
    for split in ("maxpool_4a", "mixed_4e"):
        torch.manual_seed(0)
        network = build_backbone("i3d", split)
        with torch.no_grad():
            h = network.train().stage1(smooth_noise(network.input_size, network.frames))
        start = (h.shape[3] - TUBE[1]) // 2
        yield f"I3D at {split}", h[..., start : start + TUBE[1], start : start + TUBE[2]]
    for channels in CHANNELS:
        torch.manual_seed(0)
        yield "rectified normal", torch.randn(1, channels, *TUBE).relu()


def main() -> None:
    """Command line: print the table, and put it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, help="a page with a place for the table, e.g. docs/fidelity.md")
    options = parser.parse_args()
    lines = ["| features | channels | positions that count, of 144 | weight of itself |", "|---|--:|--:|--:|"]
    for name, x in cases():
        count, own = rows(x)
        lines.append(f"| {name} | {x.shape[1]} | {count:.1f} | {own:.3f} |")
    text = "\n".join(lines)
    print(text)
    if options.into:
        from benchmarks.procedural_tables import write_block  # with Prefect, which nothing else here needs

        write_block(options.into, "softmax", text)


if __name__ == "__main__":
    main()
