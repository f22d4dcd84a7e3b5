"""Question: which start, norm, learning rate and clipping let one, two and three blocks of Eq. 4-6 train?

    python -m benchmarks.attention_depth --results depth.jsonl --into docs/fidelity.md

A toy without pixels, seconds a training: rectified normal features on a grid, a tube that fills a part of it, and a
score that is a function of what lies inside, tanh of one direction's mean over the tube. Nothing else tells it:
inside and outside have one distribution, level by level. Behind the blocks stand a convolution with kernel 1, a ReLU,
the mean over all positions and a perceptron, as a second stage and a head are. Adam with a constant learning rate and
the weight decay of the presets, squared error.

One row a form: number of blocks, norm behind W_z or none, gain. One column a learning rate, without and with the
gradient clipped to norm 1. Each cell holds Spearman on held-out clips, one figure a seed; "const" is a network that
predicts one value for all clips, "nan" one whose weights have overflowed. A file of results (a line of JSON a
training) is continued where it was left.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.attention import TubeSelfAttention
from models.metrics.scores import spearman

CHANNELS, SHAPE = 112, (2, 6, 6)
TRAIN, HELD_OUT, BATCH = 256, 128, 4
STACKS, NORMS, GAINS = (1, 2, 3), (False, True), (0.0, 0.1, 1.0)
GOOD = 0.9
RATES, CLIPPING = (1e-4, 3e-4, 1e-3, 3e-3), (None, 1.0)


@dataclass(frozen=True)
class Trial:
    """One training."""

    stacks: int
    norm: bool
    gain: float
    lr: float
    clip: float | None
    seed: int


class Toy(nn.Module):
    """Blocks at a cut, and what stands behind it in a network."""

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            TubeSelfAttention(CHANNELS, norm=trial.norm, gain=trial.gain) for _ in range(trial.stacks)
        )
        self.second = nn.Conv3d(CHANNELS, CHANNELS, 1)
        self.head = nn.Sequential(nn.Linear(CHANNELS, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Scores (B,) of features (B, C, T, H, W) float with tube masks (B, T, H, W) bool."""
        for block in self.blocks:
            x = block(x, mask)
        scores: Tensor = self.head(self.second(x).relu().mean((2, 3, 4)))
        return scores[:, 0]


def draw(count: int, generator: torch.Generator, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Clips: features (N, C, T, H, W) float32, tube masks (N, T, H, W) bool, standardised scores (N,) float32.

    A clip's athlete lends its positions a common level in the direction that counts; the rest has another one.
    """
    levels = torch.randn(count, 2, generator=generator)
    mask = torch.zeros(count, *SHAPE, dtype=torch.bool)
    corners = torch.randint(0, 4, (count, SHAPE[0], 2), generator=generator)
    for clip, moments in enumerate(corners.tolist()):
        for t, (row, column) in enumerate(moments):
            mask[clip, t, row : row + 3, column : column + 3] = True
    noise = torch.randn(count, CHANNELS, *SHAPE, generator=generator)
    level = torch.where(mask, levels[:, :1, None, None], levels[:, 1:, None, None])
    x = (noise + direction.view(-1, 1, 1, 1) * level[:, None]).relu()
    return x, mask, torch.tanh(levels[:, 0])


def train(trial: Trial, epochs: int) -> list[float] | None:
    """Predictions for the held-out clips and their truth, one after the other; None where weights overflowed."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(trial.seed)
    direction = torch.nn.functional.normalize(torch.randn(CHANNELS, generator=generator), dim=0) * 2
    x, mask, score = draw(TRAIN, generator, direction)
    held_x, held_mask, held_score = draw(HELD_OUT, generator, direction)
    torch.manual_seed(trial.seed)
    toy = Toy(trial)
    optimizer = torch.optim.Adam(toy.parameters(), lr=trial.lr, weight_decay=1e-5)
    for _ in range(epochs):
        for picked in torch.randperm(TRAIN, generator=generator).split(BATCH):
            loss = (toy(x[picked], mask[picked]) - score[picked]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            if trial.clip is not None:
                nn.utils.clip_grad_norm_(toy.parameters(), trial.clip)
            optimizer.step()
    with torch.no_grad():
        predicted = toy.eval()(held_x, held_mask)
    return [*predicted.tolist(), *held_score.tolist()] if bool(torch.isfinite(predicted).all()) else None


def result(given: tuple[Trial, int]) -> dict[str, object]:
    """A line of the file of results."""
    trial, epochs = given
    found = train(trial, epochs)
    figure: float | str | None = "nan"
    if found is not None:
        metric = spearman(found[:HELD_OUT], found[HELD_OUT:])
        figure = "const" if metric.value is None else round(metric.value, 3)
    return {**asdict(trial), "epochs": epochs, "spearman": figure}


def trials(seeds: Sequence[int]) -> Iterator[Trial]:
    """Every combination, a seed after the other, so that a part of the file is a table with fewer seeds."""
    for seed, *rest in itertools.product(seeds, STACKS, NORMS, GAINS, RATES, CLIPPING):
        stacks, norm, gain, lr, clip = rest
        yield Trial(stacks, norm, gain, lr, clip, seed)


def table(results: Sequence[Mapping[str, object]]) -> str:
    """The results as a Markdown table."""
    columns = list(itertools.product(RATES, CLIPPING))
    heads = [f"{lr:.0e}".replace("e-0", "e-") + ("" if clip is None else ", clipped") for lr, clip in columns]
    lines = ["| blocks | norm | gain | " + " | ".join(heads) + " |", "|" + "---|" * (3 + len(heads))]
    cells: dict[tuple[object, ...], list[str]] = {}
    for one in sorted(results, key=lambda one: str(one["seed"])):
        figure = one["spearman"]
        place = tuple(one[name] for name in ("stacks", "norm", "gain", "lr", "clip"))
        cells.setdefault(place, []).append(f"{figure:.2f}" if isinstance(figure, float) else str(figure))
    for row in itertools.product(STACKS, NORMS, GAINS):
        stacks, norm, gain = row
        shown = [" ".join(cells.get((*row, *column), ["–"])) for column in columns]
        lines.append(f"| ×{stacks} | {'yes' if norm else 'no'} | {gain:g} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def counts(results: Sequence[Mapping[str, object]]) -> str:
    """Trainings of several blocks that ranked the held-out clips well, of all, as a Markdown table."""
    heads = "two and three blocks | all rates | all rates, clipped | lowest rate | lowest rate, clipped"
    lines = [f"| {heads} |", "|---|--:|--:|--:|--:|"]
    for norm, gain in itertools.product(NORMS, GAINS):
        shown = []
        for rates, clip in itertools.product((RATES, RATES[:1]), CLIPPING):
            figures = [
                one["spearman"]
                for one in results
                if one["stacks"] != 1 and (one["norm"], one["gain"], one["clip"]) == (norm, gain, clip)
                if one["lr"] in rates
            ]
            good = sum(isinstance(figure, float) and round(figure, 2) >= GOOD for figure in figures)
            shown.append(f"{good} of {len(figures)}")
        lines.append(f"| {'norm' if norm else 'no norm'}, gain {gain:g} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    """Command line: train what is missing, print the table, put it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="a file of JSON lines, continued where it exists")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--into", type=Path, help="a page with a place for the table, e.g. docs/fidelity.md")
    options = parser.parse_args()
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    results = [one for one in map(json.loads, lines) if one["epochs"] == options.epochs]
    done = {Trial(**{name: one[name] for name in Trial.__dataclass_fields__}) for one in results}
    missing = [(trial, options.epochs) for trial in trials(options.seeds) if trial not in done]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool, options.results.open("a") as file:
        for one in pool.imap(result, missing):
            file.write(json.dumps(one) + "\n")
            file.flush()
            results.append(one)
    results = [one for one in results if one["seed"] in options.seeds]
    text = f"{table(results)}\n\nHow many of them rank the clips at {GOOD} or better:\n\n{counts(results)}"
    print(text)
    if options.into:
        from benchmarks.procedural_tables import write_block  # with Prefect, which each training would wait for

        write_block(options.into, "depth", text)


if __name__ == "__main__":
    main()
