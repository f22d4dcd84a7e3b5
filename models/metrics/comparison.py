"""Statistics of a comparison between models on the same clips: intervals, differences, paired tests.

Letters: n = clips, S = seeds (trainings that differ only in chance), R = repetitions of a resampling.

Every interval is a percentile bootstrap over clips: clips are drawn with replacement, within each action by itself so
that a group keeps its size, and every model sees the same draw, which makes differences paired. A model with several
seeds is judged by the mean of its seeds' metrics. A draw in which a metric has no value (all clips drawn have equal
scores) is left out, and how many were is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.metrics.batched import (
    Floats,
    accuracy_many,
    fisher_mean_many,
    mse_many,
    plain_mean_many,
    pooled_mean_many,
    spearman_many,
)

Score = Callable[[Floats, Floats], Floats]
"""Predictions (…, n) and truths (…, n) → the metric (…,), nan where it has no value."""
Join = Callable[[Floats, Floats], Floats]
"""Metrics (actions, …) and clips of each action (actions,) → the figure over actions (…,)."""

REPETITIONS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure with its interval; None where the figure has no value.

    Attributes:
        level: share of the bootstrap distribution between `low` and `high`.
        undefined: repetitions that gave no value.
    """

    value: float | None
    low: float | None
    high: float | None
    undefined: int = 0
    level: float = LEVEL


@dataclass(frozen=True)
class PairedTest:
    """A paired test of two models: its p-value, or why it can't be made."""

    p: float | None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class ActionPredictions:
    """The clips of one action as several models predict them.

    Attributes:
        truth: (n,).
        predictions: one (S, n) array a model; S may differ between models.
    """

    truth: Floats
    predictions: Sequence[Floats]

    def __post_init__(self) -> None:
        if any(one.ndim != 2 or one.shape[1] != len(self.truth) for one in self.predictions):
            shapes = [one.shape for one in self.predictions]
            raise ValueError(f"each model predicts (seeds, {len(self.truth)} clips), got {shapes}")


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Metrics of every model, per action and joined, on all clips and on every draw.

    Attributes:
        values: action → (models,), on all clips.
        draws: action → (models, R).
        joined: (models,), and `joined_draws` (models, R): over actions.
    """

    values: Mapping[str, Floats]
    draws: Mapping[str, Floats]
    joined: Floats
    joined_draws: Floats

    def interval(self, model: int, action: str | None = None) -> Interval:
        """A model's metric, of one action or joined."""
        values, draws = self._of(action)
        return interval(values[model], draws[model])

    def difference(self, model: int, baseline: int, action: str | None = None) -> Interval:
        """A model's metric less that of another on the same clips."""
        values, draws = self._of(action)
        return interval(values[model] - values[baseline], draws[model] - draws[baseline])

    def _of(self, action: str | None) -> tuple[Floats, Floats]:
        return (self.joined, self.joined_draws) if action is None else (self.values[action], self.draws[action])


def bootstrap(
    samples: Mapping[str, ActionPredictions],
    score: Score,
    join: Join,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Bootstrap:
    """Resample clips within each action, the same clips for every model.

    Args:
        samples: action → its clips; the same models in the same order everywhere.
        score: the metric.
        join: how actions become one figure.
        repetitions: R.
        seed: of the draws; equal seeds give equal intervals.
    """
    rng = np.random.default_rng(seed)
    values: dict[str, Floats] = {}
    draws: dict[str, Floats] = {}
    for action, sample in samples.items():
        n = len(sample.truth)
        picks = rng.integers(0, n, (repetitions, n))
        truth = sample.truth[picks]
        values[action] = np.array([score(one, sample.truth[None]).mean() for one in sample.predictions])
        draws[action] = np.stack(
            [np.mean([score(seed_row[picks], truth) for seed_row in one], axis=0) for one in sample.predictions]
        )
    counts = clip_counts(samples)
    joined, joined_draws = (join(np.stack(list(part.values())), counts) for part in (values, draws))
    return Bootstrap(values, draws, joined, joined_draws)


def clip_counts(samples: Mapping[str, ActionPredictions]) -> Floats:
    """Clips of each action (actions,)."""
    return np.array([len(sample.truth) for sample in samples.values()], np.float64)


def interval(value: float, draws: Floats, level: float = LEVEL) -> Interval:
    """Percentile interval of (R,) draws around a value; draws that are nan are left out and counted."""
    known = draws[np.isfinite(draws)]
    undefined = len(draws) - len(known)
    if not np.isfinite(value):
        return Interval(None, None, None, undefined, level)
    if not len(known):
        return Interval(float(value), None, None, undefined, level)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high), undefined, level)


def permutation_test(
    samples: Mapping[str, ActionPredictions],
    model: int,
    baseline: int,
    score: Score,
    join: Join,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> PairedTest:
    """Two-sided test that two models are exchangeable: each clip's predictions change hands with chance one half.

    p is the share of exchanges whose metric differs at least as much as observed, the observed one counted in.
    """
    if any(one.predictions[model].shape != one.predictions[baseline].shape for one in samples.values()):
        return PairedTest(None, "the two have different numbers of seeds, so their predictions can't change hands")
    rng = np.random.default_rng(seed)
    sides: list[list[Floats]] = [[], []]
    for sample in samples.values():
        a, b = sample.predictions[model], sample.predictions[baseline]
        swap = rng.random((repetitions + 1, 1, len(sample.truth))) < 0.5
        swap[0] = False  # the observed one
        for side, (own, other) in zip(sides, ((a, b), (b, a)), strict=True):
            side.append(score(np.where(swap, other, own), sample.truth).mean(axis=1))
    counts = clip_counts(samples)
    difference = join(np.stack(sides[0]), counts) - join(np.stack(sides[1]), counts)
    if not np.isfinite(difference[0]):
        return PairedTest(None, "the metric has no value for one of the two")
    known = np.abs(difference[np.isfinite(difference)])
    return PairedTest(float((known >= known[0] - 1e-12).mean()))


def error_test(truth: Floats, model: Floats, baseline: Floats) -> PairedTest:
    """Wilcoxon's signed-rank test, two-sided, of absolute errors paired by clip.

    Args:
        truth: (n,) score points.
        model, baseline: (S, n) predictions; errors are averaged over seeds.
    """
    from scipy.stats import wilcoxon

    a, b = (np.abs(one - truth).mean(axis=0) for one in (model, baseline))
    if not len(truth) or np.array_equal(a, b):
        return PairedTest(None, "the errors of the two are equal on every clip")
    return PairedTest(float(wilcoxon(a, b).pvalue))


def mean_difference(a: Floats, b: Floats, repetitions: int = REPETITIONS, seed: int = 0) -> Interval:
    """Mean of (n,) paired differences a - b with its bootstrap interval over clips."""
    return mean_interval(a - b, repetitions, seed)


def mean_interval(values: Floats, repetitions: int = REPETITIONS, seed: int = 0) -> Interval:
    """Mean of (n,) values, one a clip, with its bootstrap interval over clips."""
    if not len(values):
        return Interval(None, None, None)
    picks = np.random.default_rng(seed).integers(0, len(values), (repetitions, len(values)))
    return interval(float(values.mean()), values[picks].mean(axis=1))


def in_tenths_of_range(samples: Mapping[str, ActionPredictions]) -> dict[str, ActionPredictions]:
    """Scores in tenths of their action's range, so that their mean squared error is R-l2 (×100).

    The range is that of all clips and stays so in every draw: that of the clips drawn would only ever be smaller,
    and the error seem larger. Without a range (equal scores) all become nan.
    """
    scaled = {}
    for action, sample in samples.items():
        span = float(np.ptp(sample.truth))
        unit = 10 / span if span > 0 else np.nan
        scaled[action] = ActionPredictions(sample.truth * unit, [one * unit for one in sample.predictions])
    return scaled


@dataclass(frozen=True)
class ResampledMetric:
    """How a metric is computed on draws of clips: the metric, how actions are joined, and what is done before."""

    score: Score
    join: Join
    prepare: Callable[[Mapping[str, ActionPredictions]], Mapping[str, ActionPredictions]] = lambda samples: samples


METRICS = {
    "spearman": ResampledMetric(spearman_many, fisher_mean_many),
    "r_l2": ResampledMetric(mse_many, plain_mean_many, in_tenths_of_range),
    "mse": ResampledMetric(mse_many, pooled_mean_many),
    "accuracy": ResampledMetric(accuracy_many, pooled_mean_many),
}
