"""Do intervals of scores hold as often as they say? On real features with real scores: UNLV-Dive, 370 dives.

    python -m benchmarks.score_intervals --features shared/features/unlv-dive                        # prints the table
    python -m benchmarks.score_intervals --features … --into docs/heads.md                           # puts it there

Each head is trained on the 300 training dives as the preset `gaussian` says, and its intervals are tried on the 70 test
dives. They are calibrated in two ways. `a fifth of the training dives`, which don't train: but the networks that made
the features were fine-tuned on all 300, so errors there are smaller than those on new dives, as anybody's are who
calibrates on clips that some part of the model has seen. `half of the test dives`, another half for each seed, tried on
the other half: the control, in which nothing but chance tells the two apart.

Coverage is the mean over seeds, its interval over dives and seeds drawn again (1,000 times).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.unlv_dive import FILE, Dives
from models.metrics.calibration import LEVELS, Method
from models.metrics.scores import spearman
from tasks.evaluate import EvaluateConfig, evaluate, interval_ends
from tasks.train import train
from tasks.training.config import ModelConfig, TrainConfig

HEADS = ("gaussian", "usdl", "regression")
METHODS: tuple[Method, ...] = ("temperature", "isotonic")
SOURCES = ("a fifth of the training dives", "half of the test dives")
DRAWS = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tried:
    """What one training's intervals say of the test dives.

    Attributes:
        inside: coverage in percent → (70,) 1 or 0; nan for dives that calibrated, and where no interval could be made.
        width: of the intervals of 80 %, (70,) points.
        predicted: (70,) points.
    """

    inside: dict[int, Floats]
    width: Floats
    predicted: Floats


def try_intervals(dives: Dives, head: str, source: str, seed: int) -> dict[Method, Tried]:
    """Train once and calibrate with each method."""
    of_test = source == SOURCES[1]
    calibrating = np.random.default_rng(seed).permutation(dives.test)[: len(dives.test) // 2] if of_test else ()
    clips = dives.clips(dives.train, dives.test, calibrating)
    model = ModelConfig(head=head, temporal="mean")
    config = TrainConfig(
        seed=seed, epochs=40, batch=16, lr=1e-3, schedule="cosine", score_range="train", flip=0.0, loggers=(),
        checkpoint_steps=0, accelerator="cpu", validation="validation" if of_test else 0.2,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        result = train(clips, model, config, Path(folder))
    found = {}
    for method in METHODS:
        asked = EvaluateConfig(splits=("test", "validation"), intervals=method, device="cpu", batch=len(dives.test))
        table = evaluate(clips, {"last": result.last}, model, config, asked).predictions
        of_dive = table.set_index("clip_id")
        shown = of_dive.loc[[f"dive_{row + 1}" for row in dives.test]]
        test = (shown["split"] == "test").to_numpy()
        true = shown["true"].to_numpy(float)
        inside = {}
        for level in LEVELS:
            low, high = interval_ends(shown, level)
            known = test & np.isfinite(low)
            inside[level] = np.where(known, (low <= true) & (true <= high), np.nan)
        width = np.where(test, (shown["high_80"] - shown["low_80"]).to_numpy(float), np.nan)
        found[method] = Tried(inside, width, shown["predicted"].to_numpy(float))
    return found


def share(inside: Sequence[Floats]) -> str:
    """Mean over seeds and dives as text, with its interval: (70,) a seed."""
    values = np.stack(inside)
    if np.isnan(values).all():
        return "–"
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        seeds, rows = (rng.integers(0, size, size) for size in values.shape)
        draws.append(np.nanmean(values[np.ix_(seeds, rows)]))
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{np.nanmean(values):.0%} ({low:.0%} to {high:.0%})"


def table(dives: Dives, seeds: int, say: Callable[[str], None] = print) -> list[str]:
    """The lines of the table."""
    lines = [
        f"| head | calibrated on | method | {' | '.join(f'made for {level} %' for level in LEVELS)} | width of 80 % |",
        f"|---|---|---|{'---|' * len(LEVELS)}---|",
    ]
    of_heads = []
    for head in HEADS:
        for source in SOURCES:
            tried = [try_intervals(dives, head, source, seed) for seed in range(seeds)]
            for method in METHODS:
                shares = " | ".join(share([one[method].inside[level] for one in tried]) for level in LEVELS)
                width = float(np.nanmean([one[method].width for one in tried]))
                lines.append(f"| `{head}` | {source} | {method} | {shares} | {width:.1f} points |")
                say(lines[-1])
            if source == SOURCES[1]:
                predicted = np.stack([one[METHODS[0]].predicted for one in tried])
                single = [spearman(one, dives.score[dives.test]).value or 0.0 for one in predicted]
                together = spearman(predicted.mean(axis=0), dives.score[dives.test]).value
                of_heads.append(f"| `{head}` | {np.mean(single):.3f} | {together:.3f} |")
    header = f"| head | Spearman ρ, mean of {seeds} seeds | of the seeds as an ensemble |"
    return [*lines, "", header, "|---|---|---|", *of_heads]


def main() -> None:
    """Print the table, or put it between its marks in a document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--features", type=Path, required=True, help=f"folder with {FILE}")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--into", type=Path, help="a document with marks for the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = table(Dives.read(options.features), options.seeds)
    print("\n".join(lines))
    if options.into is not None:
        from benchmarks.procedural_tables import write_block  # with Prefect, which each training would wait for

        write_block(options.into, "score-intervals", "\n".join(lines))


if __name__ == "__main__":
    main()
