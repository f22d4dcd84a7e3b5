"""Claim: a TSANet training step (I3D, B = 2, CPU) is at least 1.2× the loop-over-segments form.

    python -m benchmarks.train_step

The baseline is the method as it is usually written: a Python loop that sends one segment of all videos at a time
through stage 1, joins the maps, applies the attention, and loops again over stage 2, in PyTorch's default memory
layout, with an I3D that pads a copy of the map before every convolution and pool, as ports of TensorFlow's SAME do.
Ours is `models.tsanet.TSANet`.  Both run the same weights, the same attention block, loss and optimiser, forward and
backward, in this one process, taking turns.  Forms in between tell where the gain comes from.  The limit is the
step's multiply-accumulates over the matmul rate that this machine reaches in the same run; the share of it says what
is left to close.

Times are CPU seconds of the process, which a busy machine disturbs less than the clock; wall seconds stand beside.
"""

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.backbones.i3d import SamePool3d, Unit3d, same_padding
from models.tsanet import TSANet, build_tsanet

FLOOR = 1.2


@dataclass(frozen=True)
class Timing:
    """One measured step, in seconds of CPU time over all threads and of the clock."""

    cpu: float
    wall: float


def loop_over_segments(model: TSANet, video: Tensor, mask: Tensor) -> Tensor:
    """The baseline: video (B, N, 3, 16, S, S), mask (B, N, T, Hf, Wf) to the head's output."""
    net, segments = model.backbone, video.shape[1]
    maps = torch.cat([net.stage1(video[:, n]) for n in range(segments)], dim=2)
    for block in model.attention:
        maps = block(maps, mask.flatten(1, 2))
    features = torch.stack([net.stage2(part) for part in maps.chunk(segments, dim=2)], dim=1)
    output: Tensor = model.head(features.mean(dim=1))
    return output


def default_layout(model: TSANet) -> TSANet:
    """A copy of the model whose weights lie in PyTorch's default order."""
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
    return model


class TextbookUnit(Unit3d):
    """Convolution, normalisation and ReLU with SAME padding by copying."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, _pads(x, self.kernel, self.stride))
        return F.relu(self.bn(F.conv3d(x, self.conv3d.weight, stride=self.stride)))


class TextbookPool(SamePool3d):
    """Max pooling with SAME padding by copying."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(F.pad(x, _pads(x, self.kernel, self.stride)), self.kernel, self.stride)


def _pads(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> list[int]:
    before, after = same_padding(x.shape[2:], kernel, stride)
    return [p for pair in zip(before[::-1], after[::-1], strict=True) for p in pair]


def textbook(model: TSANet) -> TSANet:
    """A copy of the model whose I3D is written the textbook way; the same parameters under the same names."""
    model = default_layout(model)
    for layer in model.backbone.modules():
        if isinstance(layer, Unit3d):
            layer.__class__ = TextbookUnit
        elif isinstance(layer, SamePool3d):
            layer.__class__ = TextbookPool
    return model


def folded_in_default_layout(model: TSANet, video: Tensor, mask: Tensor) -> Tensor:
    """Segments folded into the batch, but the default memory layout."""
    net, (b, n) = model.backbone, video.shape[:2]

    def attend(h: Tensor) -> Tensor:
        maps = h.unflatten(0, (b, n)).transpose(1, 2).flatten(2, 3)
        for block in model.attention:
            maps = block(maps, mask.flatten(1, 2))
        return maps.unflatten(2, (n, -1)).transpose(1, 2).flatten(0, 1)

    output: Tensor = model.head(net(video.flatten(0, 1), attend).view(b, n, -1).mean(dim=1))
    return output


def loop_in_channels_last(model: TSANet, video: Tensor, mask: Tensor) -> Tensor:
    """The baseline's loop, but channels last."""
    net, segments = model.backbone, video.shape[1]
    parts = [video[:, n].contiguous(memory_format=torch.channels_last_3d) for n in range(segments)]
    maps = torch.cat([net.stage1(part) for part in parts], dim=2)
    for block in model.attention:
        maps = block(maps, mask.flatten(1, 2))
    features = torch.stack([net.stage2(part) for part in maps.chunk(segments, dim=2)], dim=1)
    output: Tensor = model.head(features.mean(dim=1))
    return output


def timed_step(
    forward: Callable[[Tensor, Tensor], Tensor],
    model: TSANet,
    optimiser: torch.optim.Optimizer,
    batch: tuple[Tensor, ...],
) -> Timing:
    """Forward, loss, backward and update."""
    video, mask, target = batch
    cpu, wall = time.process_time(), time.perf_counter()
    optimiser.zero_grad(set_to_none=True)
    loss: Tensor = model.head.loss(forward(video, mask), target)  # type: ignore[operator]
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return Timing(time.process_time() - cpu, time.perf_counter() - wall)


def tube_batch(videos: int, segments: int, size: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Random segments with a tube of about 40 % of the grid, which is 3,000 positions at N = 10."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(videos, segments, 3, 16, size, size, generator=generator)
    mask = torch.zeros(videos, segments, 4, *grid, dtype=torch.bool)
    mask[..., 2:12, 3:11] = True
    return video, mask, torch.rand(videos, generator=generator)


def matmul_rate() -> float:
    """Multiply-accumulates per CPU second of a large float32 matrix product: the machine's limit."""
    a, b = torch.randn(2, 2048, 2048).unbind()
    rates = []
    for _ in range(6):
        start = time.process_time()
        a @ b
        rates.append(2048**3 / (time.process_time() - start))
    return max(rates)


def step_macs(model: TSANet, videos: int, segments: int) -> float:
    """Multiply-accumulates of the convolutions and linears of one step, forward and backward."""
    network = copy.deepcopy(model.backbone).to("meta")
    size = model.backbone.input_size
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 16, size, size, device="meta")).sum().backward()
    return float(counter.get_total_flops()) / 2 * videos * segments


def measure(videos: int, segments: int, repeats: int, threads: int) -> None:
    """Run all forms in turns and print the table."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    ours = build_tsanet("i3d").train()
    plain, book = default_layout(ours), textbook(ours)
    batch = tube_batch(videos, segments, ours.backbone.input_size, ours.backbone.grid)
    forms: dict[str, tuple[TSANet, Callable[[Tensor, Tensor], Tensor]]] = {
        "textbook loop (baseline)": (book, lambda v, m: loop_over_segments(book, v, m)),
        "loop, our I3D, default layout": (plain, lambda v, m: loop_over_segments(plain, v, m)),
        "folded, default layout": (plain, lambda v, m: folded_in_default_layout(plain, v, m)),
        "loop, channels last": (ours, lambda v, m: loop_in_channels_last(ours, v, m)),
        "TSANet (folded, channels last)": (ours, lambda v, m: _tensor(ours(v, m))),
    }
    optimisers = {id(m): torch.optim.Adam(m.parameters(), lr=1e-4, weight_decay=1e-5) for m in (book, plain, ours)}
    with torch.no_grad():  # eval mode has one answer whatever the batch; training normalises over other batches
        answers = [forward(*(part[:1, :2] for part in batch[:2])) for model, forward in forms.values() if model.eval()]
        for answer in answers[1:]:
            torch.testing.assert_close(answer, answers[0], rtol=1e-3, atol=1e-4)
    for model, _ in forms.values():
        model.train()
    warm = tuple(part[:, :1] if part.dim() > 1 else part for part in batch)
    times: dict[str, list[Timing]] = {name: [] for name in forms}
    for model, forward in forms.values():
        timed_step(forward, model, optimisers[id(model)], warm)
    for _ in range(repeats):
        for name, (model, forward) in forms.items():
            times[name].append(timed_step(forward, model, optimisers[id(model)], batch))
    report(
        times, step_macs(ours, videos, segments) / matmul_rate(), f"I3D, B={videos}, N={segments}, {threads} threads"
    )


def report(times: dict[str, list[Timing]], limit: float, what: str) -> None:
    """Print seconds, ratio to the baseline and share of the limit."""
    cpu = {name: median(t.cpu for t in runs) for name, runs in times.items()}
    baseline = next(iter(cpu.values()))
    print(f"TSANet training step, {what}; limit {limit:.1f} CPU s (MACs over this machine's matmul rate)")
    print(f"{'form':34}{'CPU s':>8}{'wall s':>8}{'ratio':>8}{'of limit':>10}")
    for name, runs in times.items():
        wall = median(t.wall for t in runs)
        print(f"{name:34}{cpu[name]:8.1f}{wall:8.1f}{baseline / cpu[name]:7.2f}×{limit / cpu[name]:10.0%}")
    ratio = baseline / list(cpu.values())[-1]
    print(f"ratio {ratio:.2f}× against a floor of {FLOOR}×: {'met' if ratio >= FLOOR else 'NOT met'}")


def _tensor(output: object) -> Tensor:
    assert isinstance(output, Tensor)
    return output


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=2)
    parser.add_argument("--segments", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    measure(options.videos, options.segments, options.repeats, options.threads)


if __name__ == "__main__":
    main()
