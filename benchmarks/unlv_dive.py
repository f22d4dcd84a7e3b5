"""Heads on real features with real scores: UNLV-Dive, 370 dives, beside a ridge regression on the same features.

    python -m benchmarks.unlv_dive --features shared/features/unlv-dive                          # prints the table
    python -m benchmarks.unlv_dive --features … --into docs/results.md                           # puts it there
    python -m benchmarks.unlv_dive --features … --contrastive                                    # heads that compare

The folder holds `unlv_dive_p3d.npz`: features of P3D networks (370, 2048), scores, difficulty, and the published split
of 300 and 70 dives. These networks were fine-tuned on the 300 training dives, and their training was stopped by the
correlation on the TEST dives, so every figure on the test dives is optimistic: they show that heads work on real
scores, and are no result to be compared with published ones.

Settings are chosen on folds of the training dives alone, never by a test dive. Folds are inflated, too, for the
features were fitted to all training dives. So beside the candidate that is best on the folds stands the one with the
most weight decay among those within a standard error of it (Breiman et al. 1984). Every candidate is trained by
`tasks.train`, as the stage trains it. Intervals are over clips and seeds (`models.metrics.comparison`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_catalog.pack.feature_clips import FeatureClips, HeldFeatures
from data_catalog.pack.file import ClipLabels
from models.metrics.comparison import METRICS, ActionPredictions, bootstrap
from models.metrics.scores import spearman
from tasks.train import train
from tasks.trained import action_range, build_feature_scorer, score_clips
from tasks.training.config import ModelConfig, TrainConfig

FILE = "unlv_dive_p3d.npz"
FOLDS = 3
RIDGE = 1e4
"""Weight of the ridge regression that the features were published with here: Spearman .852, raw features."""
LAMBDAS = (1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
DECAYS = {"regression": (1e-5, 1e-2, 1.0), "linear": (1e-2, 1.0, 100.0)}
HEADER = (
    "| on the features | chosen | difficulty | Spearman ρ, 70 test dives (95 %) | of single seeds |",
    "|---|---|---|---|---|",
)
REGRESSORS = ("number", "tree")
"""Of the contrastive head, whose other settings are CoRe's: no weight decay, 16 leaves, ten exemplars vote."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Dives:
    """The data: features (n, 2048) float32, score, difficulty (n,), sorted numbers of the training and test dives."""

    features: NDArray[np.float32]
    score: Floats
    difficulty: Floats
    train: NDArray[np.int64]
    test: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path) -> Dives:
        """From the folder's .npz."""
        with np.load(folder / FILE) as data:
            return cls(
                data["features"], data["score"].astype(float), data["difficulty"].astype(float),
                np.sort(data["train_id"].astype(np.int64)) - 1, np.sort(data["test_id"].astype(np.int64)) - 1,
            )

    def folds(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Training dives in `FOLDS` parts: the others, and the part."""
        parts = np.array_split(np.random.default_rng(0).permutation(self.train), FOLDS)
        return [(np.setdiff1d(self.train, part), np.sort(part)) for part in parts]

    def clips(self, trained: Iterable[int], tested: Iterable[int], validating: Iterable[int] = ()) -> FeatureClips:
        """Some dives as clips, each with the last of the splits that it is in."""
        split = dict.fromkeys(map(int, trained), "train") | dict.fromkeys(map(int, tested), "test")
        split |= dict.fromkeys(map(int, validating), "validation")
        rows = sorted(split)
        labels = [
            ClipLabels(f"dive_{row + 1}", split[row], "", self.score[row], self.difficulty[row], (), None)
            for row in rows
        ]
        return FeatureClips("UNLV-Dive", labels, HeldFeatures([self.features[row][None] for row in rows]))


@dataclass(frozen=True)
class Candidate:
    """A head with its weight decay, and what finds the relative scores of one that compares."""

    head: str
    decay: float
    regressor: str = ""

    def predict(self, dives: Dives, split: tuple[NDArray[np.int64], NDArray[np.int64]], seed: int, by: bool) -> Floats:
        """Points of the tested dives (m,), after training on the others; `by`: execution times difficulty."""
        clips = dives.clips(*split)
        options = {"regressor": self.regressor} if self.regressor else {}
        model = ModelConfig(head=self.head, head_options=options, temporal="mean")  # type: ignore[arg-type]
        config = TrainConfig(
            seed=seed, epochs=30, batch=32, lr=1e-3, weight_decay=self.decay, schedule="cosine", difficulty=by,
            score_range="train", flip=0.0, checkpoint_steps=0, loggers=(), accelerator="cpu",
        )
        with tempfile.TemporaryDirectory() as folder:  # without the tested dives, which would be scored in each epoch
            result = train(dives.clips(split[0], ()), model, config, Path(folder))
        span = action_range(clips.labels, config, "")
        scorer = build_feature_scorer(clips, result.last, model, config, span)
        table = score_clips(scorer, clips, clips.indices("test"), 0, batch=len(split[1])).table
        return table["predicted"].to_numpy(float)

    def __str__(self) -> str:
        return f"{self.head}{', ' if self.regressor else ''}{self.regressor}, weight decay {self.decay:g}"


@dataclass(frozen=True)
class Ridge:
    """A ridge regression on raw features with a free intercept."""

    decay: float

    def predict(self, dives: Dives, split: tuple[NDArray[np.int64], NDArray[np.int64]], seed: int, by: bool) -> Floats:
        """As of `Candidate`, without chance."""
        trained, tested = split
        factor = dives.difficulty if by else np.ones(len(dives.score))
        target = dives.score[trained] / factor[trained]
        mean = dives.features[trained].mean(axis=0, dtype=float)
        x, x_test = dives.features[trained] - mean, dives.features[tested] - mean
        gram = x @ x.T + self.decay * np.eye(len(trained))
        return (x_test @ (x.T @ np.linalg.solve(gram, target - target.mean())) + target.mean()) * factor[tested]

    def __str__(self) -> str:
        return f"ridge regression, λ {self.decay:g}"


Contender = Candidate | Ridge


def on_folds(dives: Dives, contender: Contender, by: bool) -> Floats:
    """Spearman on each fold, (FOLDS,)."""
    found = []
    for split in dives.folds():
        value = spearman(contender.predict(dives, split, 0, by), dives.score[split[1]]).value
        assert value is not None
        found.append(value)
    return np.array(found)


def choose(
    dives: Dives, contenders: Sequence[Contender], by: bool, say: Callable[[str], None]
) -> tuple[Contender, Contender]:
    """The best on the folds, and the one with the most weight decay within a standard error of it."""
    figures = {}
    for contender in contenders:
        figures[contender] = on_folds(dives, contender, by)
        say(f"folds, {'with' if by else 'without'} difficulty: {contender}: {figures[contender].mean():.3f}")
    best = max(figures, key=lambda one: float(figures[one].mean()))
    least = figures[best].mean() - figures[best].std(ddof=1) / np.sqrt(FOLDS)
    near = [one for one in contenders if type(one) is type(best) and figures[one].mean() >= least]
    return best, max(near, key=lambda one: one.decay)


def row(dives: Dives, contender: Contender, by: bool, seeds: int, what: str) -> str:
    """A line of the table: Spearman on the test dives with its interval over clips and seeds, and of single seeds."""
    numbers = range(1 if isinstance(contender, Ridge) else seeds)
    split = (dives.train, dives.test)
    predicted = np.stack([contender.predict(dives, split, seed, by) for seed in numbers])
    sample = {"": ActionPredictions(dives.score[dives.test], [predicted])}
    how = METRICS["spearman"]
    found = bootstrap(how.prepare(sample), how.score, how.join).interval(0)
    single = [spearman(one, dives.score[dives.test]).value or 0.0 for one in predicted]
    of_seeds = "" if len(single) == 1 else f"{min(single):.3f} to {max(single):.3f}"
    figure = f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
    return f"| {contender} | {what} | {'with' if by else 'without'} | {figure} | {of_seeds} |"


def table(dives: Dives, seeds: int, say: Callable[[str], None] = print) -> list[str]:
    """The lines of the table."""
    lines = [*HEADER, row(dives, Ridge(RIDGE), False, seeds, "as in the source's note")]
    ours = [Candidate(head, decay) for head, decays in DECAYS.items() for decay in decays]
    for by in (False, True):
        for contenders in ([Ridge(one) for one in LAMBDAS], ours):
            best, simplest = choose(dives, contenders, by, say)
            lines.append(row(dives, best, by, seeds, "best on the folds"))
            say(lines[-1])
            if simplest != best:
                lines.append(row(dives, simplest, by, seeds, "most decay within a standard error"))
                say(lines[-1])
    alone = spearman(dives.difficulty[dives.test], dives.score[dives.test]).value
    return [*lines, f"| the difficulty alone | | | {alone:.3f} | |"]


def contrastive_table(dives: Dives, seeds: int, say: Callable[[str], None] = print) -> list[str]:
    """The lines of the table of heads that compare, none of whose settings was chosen here."""
    lines = [*HEADER]
    for regressor in REGRESSORS:
        lines.append(row(dives, Candidate("contrastive", 0.0, regressor), False, seeds, "as published"))
        say(lines[-1])
    return lines


def main() -> None:
    """Print the table, or put it between its marks in a document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--features", type=Path, required=True, help=f"folder with {FILE}")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--contrastive", action="store_true", help="the table of heads that compare clips, alone")
    parser.add_argument("--into", type=Path, help="a document with marks for the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    make, name = (contrastive_table, "unlv-dive-contrastive") if options.contrastive else (table, "unlv-dive")
    lines = make(Dives.read(options.features), options.seeds)
    print("\n".join(lines))
    if options.into is not None:
        from benchmarks.procedural_tables import write_block  # with Prefect, which each training would wait for

        write_block(options.into, name, "\n".join(lines))


if __name__ == "__main__":
    main()
