"""Does what a head says of its own uncertainty go with its errors? On real scores: UNLV-Dive, 370 dives.

    python -m benchmarks.own_spread --features shared/features/unlv-dive                       # prints the table
    python -m benchmarks.own_spread --features … --into docs/heads.md                          # puts it there

Each head is trained on the 300 training dives as in `benchmarks.score_intervals`, without held-out ones. Of the 70 test
dives the spread is compared with the size of the error, by rank: 1 where dives of larger spread have larger errors
throughout, 0 where the spread says nothing, so that one width for all would do. Of `contrastive` the spread is the
standard deviation of what the exemplars say, which nothing uses. `musdl` learns judges' marks, which these dives lack:
it is given a panel of one, who marks the execution, score over difficulty. Its spread is that of the mark's
distribution about the decoded mark, times the difficulty, which nothing uses either. Means over seeds, intervals over
dives and seeds drawn again (1,000 times).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.unlv_dive import Dives
from data_catalog.pack.feature_clips import FeatureClips
from models.heads import ContrastiveHead, MusdlHead
from models.metrics.scores import spearman
from tasks.train import train
from tasks.trained import action_range, batches_for, build_feature_scorer
from tasks.training.config import ModelConfig, TrainConfig

BEST_EXECUTION = 30.0  # three marks of ten
HEADS = ("gaussian", "usdl", "musdl", "contrastive")
OPTIONS: dict[str, dict[str, Any]] = {
    "musdl": {"judges": 1, "rule": "sum", "drop": 0, "judge_max": BEST_EXECUTION, "bins": 61}
}
DRAWS = 1000
Floats = NDArray[np.float64]


def ask(dives: Dives, head: str, seed: int) -> tuple[Floats, Floats]:
    """Spread and size of the error of the test dives, (70,) each, after one training."""
    clips = marked(dives.clips(dives.train, dives.test))
    model = ModelConfig(head=head, temporal="mean", head_options=OPTIONS.get(head, {}))
    config = TrainConfig(
        seed=seed, epochs=40, batch=16, lr=1e-3, schedule="cosine", score_range="train", flip=0.0, loggers=(),
        checkpoint_steps=0, accelerator="cpu",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:  # without the test dives, which would be scored in each epoch
        result = train(marked(dives.clips(dives.train, ())), model, config, Path(folder))
    scorer = build_feature_scorer(clips, result.last, model, config, action_range(clips.labels, config, ""))
    tested = clips.indices("test")
    with torch.inference_mode():
        [batch] = batches_for(scorer, clips, tested, 0, batch=len(tested))
        output = scorer.run(batch)
        error = np.abs(scorer.points(output, batch) - clips.labels.score[tested])
        network = scorer.network.head
        if isinstance(network, ContrastiveHead):
            said, votes = network.votes(output, batch["difficulty"])
            spread = np.array([float(one[there > 0].std()) for one, there in zip(said, votes, strict=True)])
        elif isinstance(network, MusdlHead):
            spread = one_judges_spread(network, output, batch["difficulty"])
        else:
            spread = scorer.spread(output, batch)
    return spread, error


def marked(clips: FeatureClips) -> FeatureClips:
    """The clips with a panel of one judge, who marks the execution."""
    labels = clips.labels
    clips.labels = replace(labels, judges=(labels.score / labels.difficulty)[:, None])
    return clips


def one_judges_spread(head: MusdlHead, output: Tensor, difficulty: Tensor) -> Floats:
    """Root mean square distance (B,) of the distribution over marks, (B, 1, bins), from the decoded one, in points."""
    marks = torch.linspace(0, head.judge_max, head.bins)
    distance = marks - head.decode_judges(output)
    rms = (output[:, 0].softmax(dim=-1) * distance.square()).sum(dim=-1).sqrt()
    found: Floats = (rms * difficulty).double().numpy()
    return found


def table(dives: Dives, seeds: int) -> list[str]:
    """The lines of the table."""
    lines = ["| head | its spread and its error, by rank |", "|---|---|"]
    for head in HEADS:
        asked = [ask(dives, head, seed) for seed in range(seeds)]
        low, high = np.quantile(drawn_again(asked), (0.025, 0.975))
        lines.append(f"| `{head}` | {mean_of(asked):.2f} ({low:.2f} to {high:.2f}) |")
        print(lines[-1], flush=True)
    return lines


def mean_of(asked: Sequence[tuple[Floats, Floats]]) -> float:
    """The rank correlation, mean over seeds."""
    found = [spearman(spread, error).value for spread, error in asked]
    return float(np.mean([value for value in found if value is not None]))


def drawn_again(asked: Sequence[tuple[Floats, Floats]]) -> Floats:
    """The mean with dives and seeds drawn again, (DRAWS,)."""
    rng, found = np.random.default_rng(0), np.empty(DRAWS)
    for number in range(DRAWS):
        rows = rng.integers(len(asked[0][0]), size=len(asked[0][0]))
        seeds = rng.integers(len(asked), size=len(asked))
        found[number] = mean_of([(asked[seed][0][rows], asked[seed][1][rows]) for seed in seeds])
    return found


def main() -> None:
    """Print the table, or put it between its marks in a document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--features", type=Path, required=True, help="folder with the features")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--into", type=Path, help="a document with marks for the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = table(Dives.read(options.features), options.seeds)
    if options.into is not None:
        from benchmarks.procedural_tables import write_block  # with Prefect, which each training would wait for

        write_block(options.into, "own-spread", "\n".join(lines))


if __name__ == "__main__":
    main()
