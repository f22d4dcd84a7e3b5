"""Claim: channels-last and bf16 pay on a CPU, accumulation costs nothing; what torch.compile does is shown on demand.

    python -m benchmarks.train_options [--backbone i3d_small] [--compile]

A training step (forward, loss, backward, Adam) of TSANet on the same clips in one process, the forms taking turns:

  default            what `train.*` does unless told otherwise: float32, channels-last-3d
  contiguous         the same weights in PyTorch's default memory layout
  bf16-mixed         `train.precision: bf16-mixed`
  accumulate 2       `train.accumulate: 2`, half of the clips at a time
  compiled           `train.compile: true`, after its compilation, whose seconds stand beside (with --compile)

Times are CPU seconds of the process for all clips of the step, which a busy machine disturbs less than the clock. The
ratio is the default's median over the form's: above 1 the form is faster.
"""

import argparse
import contextlib
import copy
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from benchmarks.train_step import default_layout, folded_in_default_layout, tube_batch
from models.tsanet import TSANet, build_tsanet

Step = Callable[[], None]
FLOORS = {"contiguous": (None, 1.0), "bf16-mixed": (1.0, None), "accumulate 2": (0.8, None)}
"""Form → lowest and highest ratio that the claim allows."""


def make_step(
    model: TSANet,
    batch: tuple[Tensor, ...],
    *,
    forward: Callable[[Tensor, Tensor], Tensor] | None = None,
    bf16: bool = False,
    parts: int = 1,
) -> Step:
    """One training step; `parts` batches whose gradients are summed."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-5)
    run = forward or model

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        for video, mask, target in zip(*(values.chunk(parts) for values in batch), strict=True):
            context = torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()
            with context:
                output = run(video, mask)
            loss: Tensor = model.head.loss(output.float(), target)  # type: ignore[operator]
            (loss / parts).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def forms(model: TSANet, batch: tuple[Tensor, ...]) -> dict[str, Step]:
    """Every form on weights of its own."""
    plain = default_layout(model)
    return {
        "default": make_step(copy.deepcopy(model), batch),
        "contiguous": make_step(plain, batch, forward=lambda v, m: folded_in_default_layout(plain, v, m)),
        "bf16-mixed": make_step(copy.deepcopy(model), batch, bf16=True),
        "accumulate 2": make_step(copy.deepcopy(model), batch, parts=2),
    }


def cpu_seconds(step: Step) -> float:
    """CPU seconds of all threads for one step."""
    start = time.process_time()
    step()
    return time.process_time() - start


def measure(backbone: str, clips: int, segments: int, repeats: int, with_compile: bool) -> None:
    """Run the forms in turns and print the table."""
    torch.manual_seed(0)
    model = build_tsanet(backbone).train()
    batch = tube_batch(clips, segments, model.backbone.input_size, model.backbone.grid)
    steps = forms(model, batch)
    compilation = 0.0
    if with_compile:
        compiled = copy.deepcopy(model)
        compiled.compile()
        steps["compiled"] = make_step(compiled, batch)
        start = time.perf_counter()
        steps["compiled"]()
        compilation = time.perf_counter() - start
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()  # allocations and choices of kernels
    for _ in range(repeats):
        for name, step in steps.items():
            times[name].append(cpu_seconds(step))
    threads = torch.get_num_threads()
    print(f"{backbone}, {clips} clips of {segments} segments a step, {threads} threads, {repeats} turns")
    print(f"{'form':16}{'CPU s':>8}{'ratio':>8}")
    base = median(times["default"])
    for name, found in times.items():
        ratio = base / median(found)
        low, high = FLOORS.get(name, (None, None))
        kept = (low is None or ratio >= low) and (high is None or ratio <= high)
        verdict = "" if name not in FLOORS else "  as claimed" if kept else "  NOT as claimed"
        print(f"{name:16}{median(found):8.2f}{ratio:7.2f}×{verdict}")
    if with_compile:
        print(f"compilation: {compilation:.0f} s of the clock, before the first step")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="i3d_small")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--segments", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    measure(options.backbone, options.clips, options.segments, options.repeats, options.compile)


if __name__ == "__main__":
    main()
