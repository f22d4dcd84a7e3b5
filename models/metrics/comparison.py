"""Statistics of a comparison between models on the same clips: intervals, differences, paired tests.

Letters: n = clips, S = seeds (trainings that differ only in chance), R = repetitions of a resampling.

A model with several seeds is judged by the mean of its seeds' figures, each of them joined over actions by itself: a
seed is one trained system, and its figure over all actions is what a paper prints of one (`mean_over_seeds` is the only
place that says so).

Every interval is a percentile interval of a hierarchical bootstrap. Clips are drawn with replacement, within each
action by itself so that a group keeps its size, and every model sees the same draw, which makes differences paired; of
a model's S seeds S - 1 are drawn with replacement, because S drawn of S would vary by (S - 1) / S of what the mean of
seeds does (Rao and Wu 1988). A draw in which a metric has no value (all clips drawn have equal scores) is left out, and
how many were is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

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
    """A paired test of two models: its p-value, or why it can't be made.

    Attributes:
        p: by itself.
        reason: why there is no p-value.
        over: what chance the test takes into account, "clips" or "seeds and clips".
        corrected: `p` corrected for the other comparisons of its family; None until `holm` was asked.
    """

    p: float | None
    reason: str | None = None
    over: str = "clips"
    corrected: float | None = None


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

    def ensembles(self) -> ActionPredictions:
        """Each model's seeds as one: the mean of what they predict."""
        return ActionPredictions(self.truth, [one.mean(axis=0, keepdims=True) for one in self.predictions])


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


def mean_over_seeds(figures: Floats) -> Floats:
    """A model's figure from those of its seeds, (S, …) → (…,): their mean; nan where one seed has no value."""
    return np.asarray(figures.mean(axis=0))


def bootstrap(
    samples: Mapping[str, ActionPredictions],
    score: Score,
    join: Join,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Bootstrap:
    """Resample clips within each action, the same clips for every model, and each model's seeds.

    Args:
        samples: action → its clips; the same models in the same order everywhere.
        score: the metric.
        join: how actions become one figure, of each seed by itself.
        repetitions: R.
        seed: of the draws; equal seeds give equal intervals.
    """
    rng = np.random.default_rng(seed)
    picks = _clip_draws(samples, repetitions, rng)
    count = len(next(iter(samples.values())).predictions)
    values: dict[str, list[Floats]] = {place: [] for place in (*samples, _JOINED)}
    draws: dict[str, list[Floats]] = {place: [] for place in (*samples, _JOINED)}
    for model in range(count):
        of_seeds, of_draws = seed_figures(samples, model, score, join), _on_draws(samples, picks, model, score, join)
        chosen = _seed_draws(len(of_seeds[_JOINED]), repetitions, rng)
        for place in values:
            values[place].append(mean_over_seeds(of_seeds[place]))
            draws[place].append(mean_over_seeds(np.take_along_axis(of_draws[place], chosen, axis=0)))
    whole, drawn = ({place: np.stack(models) for place, models in part.items()} for part in (values, draws))
    return Bootstrap(whole, drawn, whole.pop(_JOINED), drawn.pop(_JOINED))


_JOINED = "\0"
"""Key of the figure over all actions, beside those of the actions, of which one may be called ""."""


def seed_figures(
    samples: Mapping[str, ActionPredictions], model: int, score: Score, join: Join
) -> dict[str, Floats]:
    """A model's metric on all clips: action, and `_JOINED` for all of them, → (S,), one figure a seed."""
    each = {action: score(sample.predictions[model], sample.truth[None]) for action, sample in samples.items()}
    return {**each, _JOINED: join(np.stack(list(each.values())), clip_counts(samples))}


def _on_draws(
    samples: Mapping[str, ActionPredictions], picks: Mapping[str, NDArray[np.int64]], model: int, score: Score,
    join: Join,
) -> dict[str, Floats]:
    """As `seed_figures` on every draw of clips: (S, R)."""
    each = {}
    for action, sample in samples.items():
        truth = sample.truth[picks[action]]
        each[action] = np.stack([score(row[picks[action]], truth) for row in sample.predictions[model]])
    return {**each, _JOINED: join(np.stack(list(each.values())), clip_counts(samples))}


def _clip_draws(
    samples: Mapping[str, ActionPredictions], repetitions: int, rng: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """Action → (R, n) indices of the clips drawn."""
    return {
        action: rng.integers(0, len(sample.truth), (repetitions, len(sample.truth)))
        for action, sample in samples.items()
    }


def _seed_draws(seeds: int, repetitions: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices (max(S - 1, 1), R) of the seeds drawn: one fewer than there are, see the head of this file."""
    return rng.integers(0, seeds, (max(seeds - 1, 1), repetitions))


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
    """Two-sided test that two models are alike: p is the share of exchanges that differ at least as much as observed.

    With several seeds a whole seed changes hands between the models, all splits of the S + S' seeds alike, so that
    the seeds' own spread counts as chance; to each exchange the deviation of a draw of clips is added, so that the
    choice of clips does too, of which only the part that a model's seeds share: what is each seed's own is in the
    exchanges already. Few seeds can't show a difference: of two or three a side p is hardly ever below 0.05.

    With one seed a side each clip's predictions change hands with chance one half. That tells whether these two
    networks differ, not whether two trainings would: `over` says "clips".
    """
    first, second = (seed_figures(samples, side, score, join)[_JOINED] for side in (model, baseline))
    several = len(first) + len(second) > 2
    over = "seeds and clips" if several else "clips"
    observed = float(mean_over_seeds(first) - mean_over_seeds(second))
    if not np.isfinite(observed):
        return PairedTest(None, "the metric has no value for one of the two", over)
    rng = np.random.default_rng(seed)
    if several:
        null = _seed_exchanges(first, second, repetitions, rng)
        null += _clip_deviations(samples, (model, baseline), score, join, repetitions, rng)
    else:
        null = _clip_exchanges(samples, (model, baseline), score, join, repetitions, rng)
    known = np.abs([observed, *null[np.isfinite(null)]])
    return PairedTest(float((known >= known[0] - 1e-12).mean()), over=over)


def _seed_exchanges(first: Floats, second: Floats, repetitions: int, rng: np.random.Generator) -> Floats:
    """Differences (R,) of the means of two groups of seeds (S,), (S',) after seeds changed hands at random."""
    every = np.concatenate([first, second])
    mixed = rng.permuted(np.tile(every[:, None], (1, repetitions)), axis=0)
    return mean_over_seeds(mixed[: len(first)]) - mean_over_seeds(mixed[len(first) :])


def _clip_deviations(
    samples: Mapping[str, ActionPredictions], pair: tuple[int, int], score: Score, join: Join, repetitions: int,
    rng: np.random.Generator,
) -> Floats:
    """How far the difference of a pair of models is from its mean on draws of clips, (R,)."""
    picks = _clip_draws(samples, repetitions, rng)
    one, other = (_on_draws(samples, picks, side, score, join)[_JOINED] for side in pair)
    known = np.isfinite(one).all(axis=0) & np.isfinite(other).all(axis=0)
    difference = mean_over_seeds(one) - mean_over_seeds(other)
    if known.sum() < 2:
        return np.full(repetitions, np.nan)
    share = _shared_share(one[:, known], other[:, known])
    return np.asarray((difference - difference[known].mean()) * np.sqrt(share))


def _shared_share(one: Floats, other: Floats) -> float:
    """Share of the variance over draws of clips of the difference of two models' means that their seeds have in common.

    A model's seeds (S, R) vary together by their covariance, each on its own by what its variance is above that; as
    readers of the same cases in Obuchowski and Rockette's analysis (1995).
    """
    weights = np.concatenate([np.full(len(one), 1 / len(one)), np.full(len(other), -1 / len(other))])
    covariance = np.cov(np.concatenate([one, other]))
    total, own = float(weights @ covariance @ weights), 0.0
    for block in (covariance[: len(one), : len(one)], covariance[len(one) :, len(one) :]):
        seeds = len(block)
        if seeds > 1:
            common = (block.sum() - np.trace(block)) / (seeds * (seeds - 1))
            own += (np.trace(block) / seeds - common) / seeds
    return min(1.0, max(0.0, 1 - own / total)) if total > 0 else 0.0


def _clip_exchanges(
    samples: Mapping[str, ActionPredictions], pair: tuple[int, int], score: Score, join: Join, repetitions: int,
    rng: np.random.Generator,
) -> Floats:
    """Differences (R,) of a pair of models of one seed each after the predictions of clips changed hands."""
    sides: list[list[Floats]] = [[], []]
    for sample in samples.values():
        a, b = (sample.predictions[side] for side in pair)
        swap = rng.random((repetitions, len(sample.truth))) < 0.5
        for side, (own, other) in zip(sides, ((a, b), (b, a)), strict=True):
            side.append(score(np.where(swap, other, own), sample.truth))
    counts = clip_counts(samples)
    return np.asarray(join(np.stack(sides[0]), counts) - join(np.stack(sides[1]), counts))


def holm(tests: Sequence[PairedTest]) -> list[PairedTest]:
    """A family of tests with p-values corrected by Holm's step-down method (1979); tests without one do not count."""
    ranked = sorted((test.p, index) for index, test in enumerate(tests) if test.p is not None)
    corrected, largest = list(tests), 0.0
    for place, (p, index) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - place) * p))
        corrected[index] = replace(tests[index], corrected=largest)
    return corrected


def error_test(truth: Floats, model: Floats, baseline: Floats) -> PairedTest:
    """Wilcoxon's signed-rank test, two-sided, of absolute errors paired by clip.

    Args:
        truth: (n,) score points.
        model: (S, n) predictions; errors are averaged over seeds.
        baseline: (S, n) predictions of the other.
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
