"""Claim: attention inside tubes costs less than the textbook form, in time and in memory, by the issue's floors.

    python -m benchmarks.attention

The textbook form is the block as it is usually written: a loop over videos, a P×P matrix of affinities, matmuls,
autograd. Ours is `models.attention.TubeSelfAttention` with the same weights and input. Each row runs both in turn in
this one process, forward and backward, on two threads, and keeps the least of the repetitions. The first ratio is by
the clock, the second by CPU seconds over all threads, which a busy machine disturbs less;
floors are judged by the second.

Extra peak memory is what the resident set of a fresh process rises by during one forward and backward pass, less
what any form has to deliver: the output and the gradients of features and weights. The limit is the
multiply-accumulates that ours executes over the rate of a large float32 matmul measured in the same run; the share
says how much of the time they account for.
"""

import argparse
import ctypes
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from models.attention import TubeSelfAttention
from models.attention.dot_forms import factored_limit, factored_macs, matrix_macs
from models.attention.softmax import symmetric_macs

CHANNELS, SHAPE = 528, (40, 14, 14)
POSITIONS = 40 * 14 * 14
# Tubes of very different athletes, near 3,000 positions on average.
BATCH_OF_FOUR = (1200, 2400, 3600, 4800)
GROWTH = (1000, 2000, 4000, 8000)
GROWTH_SHAPE = (42, 14, 14)

Block = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """One line of the speed table; a floor of 0 is not checked."""

    name: str
    affinity: str
    sizes: tuple[int, ...]
    faster: float
    less_memory: float


ROWS = (
    Row("dot, P = 3,000", "dot", (3000,), 3, 5),
    Row("dot, P = 7,840 (dense)", "dot", (POSITIONS,), 7, 20),
    Row("softmax, 4 tubes of 1,200-4,800", "softmax", BATCH_OF_FOUR, 1.5, 0),
)


@dataclass(frozen=True)
class Seconds:
    wall: float
    cpu: float


def textbook(block: TubeSelfAttention) -> Block:
    """The baseline, with the weights of `block`."""

    def forward(x: Tensor, mask: Tensor) -> Tensor:
        z = x.clone()
        for b in range(len(x)):
            tube = x[b][:, mask[b]].T
            value = block.g(tube)
            if block.affinity == "dot":
                weights = block.theta(tube) @ block.phi(tube).T / len(tube)
            else:
                weights = F.softmax(tube @ tube.T, dim=1)
            update = block.w_z(weights @ value)
            if block.norm is not None:
                update = block.norm(update)
            z[b][:, mask[b]] = (tube + update).T
        return z

    return forward


def problem(
    affinity: str, sizes: tuple[int, ...], shape: tuple[int, int, int]
) -> tuple[TubeSelfAttention, Tensor, Tensor]:
    """A block, features of unit size as a pretrained network has, and compact tubes of exactly these sizes."""
    torch.manual_seed(0)
    block = TubeSelfAttention(CHANNELS, affinity=affinity, zero_init=False).train()
    x = torch.randn(len(sizes), CHANNELS, *shape) * (6 / CHANNELS) ** 0.5
    t, h, w = shape
    rows, columns = torch.meshgrid(torch.arange(h) - h / 2 + 0.1, torch.arange(w) - w / 2 + 0.2, indexing="ij")
    nearest_first = (rows**2 + columns**2).expand(t, h, w).flatten().argsort(stable=True)
    mask = torch.zeros(len(sizes), t * h * w, dtype=torch.bool)
    for tube, size in zip(mask, sizes, strict=True):
        tube[nearest_first[:size]] = True
    return block, x, mask.view(len(sizes), *shape)


def step(forward: Block, block: TubeSelfAttention, x: Tensor, mask: Tensor) -> Callable[[], None]:
    """One forward and backward pass, to the features as well as to the weights."""
    features, given = x.clone().requires_grad_(), torch.randn_like(x)

    def run() -> None:
        block.zero_grad()
        features.grad = None
        forward(features, mask).backward(given)

    return run


def least(runs: Sequence[Callable[[], object]], repetitions: int) -> list[Seconds]:
    """The least time of each, taken in turn so that a busy moment strikes all alike."""
    best = [Seconds(float("inf"), float("inf"))] * len(runs)
    for repetition in range(repetitions + 1):
        for i, run in enumerate(runs):
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if repetition:  # the first round warms up
                best[i] = Seconds(min(best[i].wall, wall), min(best[i].cpu, cpu))
    return best


def extra_peak(arguments: tuple[str, tuple[int, ...], bool]) -> float:
    """MB of this process beyond input, output and gradients in one step of ours or of the textbook form; Linux only."""
    affinity, sizes, ours = arguments
    torch.set_num_threads(2)
    # Libraries load code and take their own workspace at the first large product: not the block's memory.
    torch.mm(torch.ones(CHANNELS, CHANNELS), torch.ones(CHANNELS, POSITIONS)).t().mm(torch.ones(CHANNELS, 64))
    torch.mm(torch.ones(CHANNELS, POSITIONS), torch.ones(POSITIONS, CHANNELS))
    small = problem(affinity, (64,) * len(sizes), (1, 14, 14))
    step(small[0] if ours else textbook(small[0]), *small)()
    block, x, mask = problem(affinity, sizes, SHAPE)
    run = step(block if ours else textbook(block), block, x, mask)
    ctypes.CDLL(None).malloc_trim(0)  # freed memory must not be there for the taking
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew at what is resident now
    before = resident_peak()
    run()
    delivered = 2 * x.nbytes + sum(parameter.nbytes for parameter in block.parameters())
    return ((resident_peak() - before) * 1024 - delivered) / 1e6


def resident_peak() -> int:
    """Peak resident set in kB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def training_macs(affinity: str, positions: int, channels: int) -> int:
    """What ours multiplies in one tube, forward and backward."""
    if affinity == "softmax":
        # g and W_z folded into one matrix, its use, and both their gradients.
        return sum(symmetric_macs(positions, channels)) + 3 * positions * channels**2 + 3 * channels**3
    reduced = channels // 2
    form = factored_macs if positions <= factored_limit(channels, reduced) else matrix_macs
    return sum(form(positions, channels, reduced))


def matmul_rate() -> Seconds:
    """Multiply-accumulates a second of a 2048² float32 product: by the clock, and by CPU second."""
    a, b = torch.randn(2, 2048, 2048)
    best = least([lambda: a @ b], 8)[0]
    return Seconds(2048**3 / best.wall, 2048**3 / best.cpu)


def compare(row: Row, repetitions: int) -> bool:
    """Print one row of the table; whether it meets its floors."""
    block, x, mask = problem(row.affinity, row.sizes, SHAPE)
    runs = [step(form, block, x, mask) for form in (textbook(block), block)]
    base, ours = least(runs, repetitions)
    faster = (base.wall / ours.wall, base.cpu / ours.cpu)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:
        tasks = [(row.affinity, row.sizes, flag) for flag in (False, True)]
        base_mb, ours_mb = fresh.map(extra_peak, tasks, chunksize=1)
    rate, macs = matmul_rate(), sum(training_macs(row.affinity, size, CHANNELS) for size in row.sizes)
    met = faster[1] >= row.faster and base_mb / ours_mb >= row.less_memory
    memory_floor = f"floor {row.less_memory:g}x" if row.less_memory else "no floor"
    print(
        f"{row.name}\n"
        f"  textbook {base.wall * 1e3:.0f} ms ({base.cpu * 1e3:.0f} ms CPU), ours {ours.wall * 1e3:.0f} ms "
        f"({ours.cpu * 1e3:.0f} ms CPU): {faster[0]:.2f}x by the clock, {faster[1]:.2f}x by CPU, "
        f"floor {row.faster:g}x\n"
        f"  extra peak memory: textbook {base_mb:.0f} MB, ours {ours_mb:.0f} MB: {base_mb / ours_mb:.1f}x less, "
        f"{memory_floor}\n"
        f"  limit: {macs / 1e9:.2f} GMAC at {rate.cpu / 1e9:.0f} GMAC per CPU second: "
        f"{macs / rate.cpu * 1e3:.0f} ms CPU, {macs / rate.cpu / ours.cpu:.0%} of ours"
        f"{'' if met else '   BELOW THE FLOOR'}"
    )
    return met


def growth(repetitions: int) -> bool:
    """Print how the cost of dot grows with the tube; whether from 1,000 to 8,000 positions it is at most linear."""
    problems = [problem("dot", (positions,), GROWTH_SHAPE) for positions in GROWTH]
    times = least([step(block, block, x, mask) for block, x, mask in problems], repetitions)
    ratio = (times[-1].wall / times[0].wall, times[-1].cpu / times[0].cpu)
    met = ratio[1] <= 8.8
    figures = ", ".join(f"P = {p:,}: {t.cpu * 1e3:.0f} ms CPU" for p, t in zip(GROWTH, times, strict=True))
    print(f"dot, growth\n  {figures}")
    print(f"  1,000 to 8,000: {ratio[0]:.1f}x by the clock, {ratio[1]:.1f}x by CPU, at most 8.8x")
    return met


def main() -> int:
    """Command line: print every row, exit with 1 if one is below its floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10, help="turns of each form, of which the least counts")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    met = [compare(row, options.repetitions) for row in ROWS]
    return 0 if all([*met, growth(options.repetitions)]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
