"""The table of backbones in the docs: cut, grid, parameters, MACs, speed.

    python -m benchmarks.backbones            # all but the speed without running a network
    python -m benchmarks.backbones --measure  # also clips/s of a forward pass on this machine

Everything is derived: sizes by the dry run that builds a backbone, MACs by PyTorch's own counter on the meta device.
A clip here is a segment of 16 frames.
"""

import argparse
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from models.backbones import BACKBONES, SplitBackbone, build_backbone


def count_macs(net: SplitBackbone) -> float:
    """Multiply-accumulates of one segment's forward pass."""
    ghost = net.to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ghost(torch.empty(1, 3, net.frames, net.input_size, net.input_size, device="meta"))
    return float(counter.get_total_flops()) / 2


def segments_per_second(net: SplitBackbone, batch: int, repeats: int = 3) -> float:
    """Best of a few forward passes, segments over wall seconds, after one to warm up."""
    net = net.eval()
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv3d):
            layer.to(memory_format=torch.channels_last_3d)
    x = torch.randn(batch, 3, net.frames, net.input_size, net.input_size)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            net(x)
            seconds.append(time.perf_counter() - start)
    return batch / min(seconds[1:])


def row(name: str, measured: bool, batch: int) -> str:
    """One line of the table, as Markdown."""
    net = build_backbone(name)
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    speed = f"{segments_per_second(net, batch):.2f}" if measured else "–"
    grid, stride = f"{net.steps}×{net.grid[0]}×{net.grid[1]}", net.stride_t
    gmacs = count_macs(net) / 1e9
    return (
        f"| `{name}` | `{net.split}` | {net.input_size} | {grid} | {stride} | {net.channels} | {net.features} "
        f"| {millions:.1f} | {gmacs:.2f} | {speed} |"
    )


def main() -> None:
    """Command line: print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(BACKBONES), help="which backbones; all by default")
    parser.add_argument("--measure", action="store_true", help="also measure clips/s")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| backbone | cut after | input | grid T×H×W | stride | channels | feature | params (M) | GMACs | clips/s |")
    print("|---|---|--:|---|--:|--:|--:|--:|--:|--:|")
    for name in options.names:
        print(row(name, options.measure, options.batch))


if __name__ == "__main__":
    main()
