"""Intervals and paired tests against scipy, exact enumeration and normal theory."""

import itertools

import numpy as np
import pytest
import scipy.stats

from models.metrics import scores as metrics
from models.metrics.comparison import (
    METRICS,
    ActionPredictions,
    PairedTest,
    accuracy_many,
    bootstrap,
    error_test,
    fisher_mean_many,
    holm,
    interval,
    mean_difference,
    mean_interval,
    permutation_test,
    spearman_many,
)

SPEARMAN, FISHER = METRICS["spearman"].score, METRICS["spearman"].join
MSE, POOLED = METRICS["mse"].score, METRICS["mse"].join


def noisy(truth: np.ndarray, noise: float, seed: int, seeds: int = 1) -> np.ndarray:
    return truth + noise * np.random.default_rng(seed).normal(size=(seeds, len(truth)))


def test_metrics_of_many_rows_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    truth, guess = np.round(rng.normal(size=(5, 30)), 1), np.round(rng.normal(size=(5, 30)), 1)
    guess[3] = 1.0
    rho = spearman_many(guess, truth)
    for row in (0, 1, 2, 4):
        assert rho[row] == pytest.approx(scipy.stats.spearmanr(guess[row], truth[row]).statistic, abs=1e-12)
    assert np.isnan(rho[3])
    labels = (truth > 0).astype(float)
    assert accuracy_many(guess, labels)[1] == pytest.approx(metrics.accuracy(guess[1], labels[1]).value)


def test_relative_errors_keep_the_range_of_all_clips() -> None:
    """Per action as published, plainly averaged; a draw's error is never more than the worst clip's."""
    truth = np.random.default_rng(3).uniform(0, 50, 12)
    guess = noisy(truth, 4.0, 4)
    samples = {"a": ActionPredictions(truth, [guess]), "b": ActionPredictions(truth[:5], [guess[:, :5]])}
    how = METRICS["r_l2"]
    drawn = bootstrap(how.prepare(samples), how.score, how.join, 500)
    each = [metrics.relative_l2(guess[0, :n], truth[:n]).value for n in (12, 5)]
    assert [drawn.interval(0, action).value for action in "ab"] == pytest.approx(each)
    assert drawn.interval(0).value == pytest.approx(np.mean(each))
    worst = 100 * (np.abs(guess[0] - truth).max() / np.ptp(truth)) ** 2
    assert drawn.draws["a"].max() <= worst
    equal = bootstrap(how.prepare({"a": ActionPredictions(np.ones(4), [guess[:, :4]])}), how.score, how.join, 100)
    assert equal.interval(0).value is None


def test_actions_are_joined_as_published() -> None:
    rhos = np.array([0.8379, 0.5, -0.2])
    wanted = metrics.fisher_z_mean({"a": 0.8379, "b": 0.5, "c": -0.2}).value
    assert fisher_mean_many(rhos, np.array([5.0, 9.0, 100.0])) == pytest.approx(wanted)
    truth = np.arange(10.0)
    samples = {
        "a": ActionPredictions(truth[:3], [truth[None, :3] + 1]),
        "b": ActionPredictions(truth[3:], [truth[None, 3:] + 2]),
    }
    joined = bootstrap(samples, MSE, POOLED, 100).interval(0)
    assert joined.value == pytest.approx((3 * 1 + 7 * 4) / 10)  # of all ten clips together


def test_interval_of_a_mean_is_that_of_normal_theory() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 900)
    found = mean_interval(values, 4000)
    half = 1.96 * values.std() / 30
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.06 * half)
    assert mean_difference(values + 1.5, values).low == pytest.approx(1.5)
    assert mean_interval(np.empty(0)).value is None


def test_interval_of_a_correlation_is_near_fishers() -> None:
    truth = np.random.default_rng(2).normal(size=300)
    sample = {"dive": ActionPredictions(truth, [noisy(truth, 1.0, 3)])}
    found = bootstrap(sample, SPEARMAN, FISHER, 3000).interval(0, "dive")
    z, half = np.arctanh(found.value), 1.96 * np.sqrt((1 + found.value**2 / 2) / 297)  # Bonett and Wright 2000
    assert (found.low, found.high) == pytest.approx((np.tanh(z - half), np.tanh(z + half)), abs=0.025)


def test_differences_are_paired() -> None:
    truth = np.random.default_rng(4).normal(size=60)
    good = noisy(truth, 0.5, 5)
    drawn = bootstrap({"dive": ActionPredictions(truth, [good, good, noisy(truth, 3.0, 6)])}, SPEARMAN, FISHER, 500)
    same, worse = drawn.difference(1, 0), drawn.difference(2, 0)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    assert drawn.interval(1).high - drawn.interval(1).low > 0.01  # although each by itself is uncertain
    assert worse.high < 0
    assert worse.value == pytest.approx(drawn.interval(2).value - drawn.interval(0).value)


def test_seeds_are_averaged() -> None:
    truth = np.random.default_rng(7).normal(size=40)
    three = noisy(truth, 1.0, 8, seeds=3)
    found = bootstrap({"dive": ActionPredictions(truth, [three])}, SPEARMAN, FISHER, 200).interval(0, "dive")
    each = [scipy.stats.spearmanr(row, truth).statistic for row in three]
    assert found.value == pytest.approx(np.mean(each))


def test_draws_without_value_are_counted() -> None:
    """Of two clips, every other draw takes one clip twice, which has no order."""
    truth = np.array([1.0, 2.0])
    found = bootstrap({"dive": ActionPredictions(truth, [truth[None]])}, SPEARMAN, FISHER, 1000).interval(0, "dive")
    assert found.undefined == pytest.approx(500, abs=60)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    constant = bootstrap({"dive": ActionPredictions(truth, [np.ones((1, 2))])}, SPEARMAN, FISHER, 100).interval(0)
    assert (constant.value, constant.undefined) == (None, 100)
    assert interval(1.0, np.full(5, np.nan)).low is None


@pytest.mark.parametrize("noise", [0.6, 3.0])
def test_permutation_p_is_that_of_all_exchanges(noise: float) -> None:
    truth = np.arange(8.0)
    a, b = noisy(truth, 0.5, 9)[0], noisy(truth, noise, 10)[0]
    observed = abs(scipy.stats.spearmanr(a, truth).statistic - scipy.stats.spearmanr(b, truth).statistic)
    hits = 0
    for swap in itertools.product((False, True), repeat=8):
        first, second = np.where(swap, b, a), np.where(swap, a, b)
        gap = scipy.stats.spearmanr(first, truth).statistic - scipy.stats.spearmanr(second, truth).statistic
        hits += abs(gap) >= observed - 1e-12
    samples = {"dive": ActionPredictions(truth, [b[None], a[None]])}
    # One action: its correlation itself, so that the mean over actions does not bend the differences.
    found = permutation_test(samples, 1, 0, SPEARMAN, POOLED, 20_000)
    assert found.p == pytest.approx(hits / 256, abs=0.015)


def test_tests_that_cannot_be_made_say_why() -> None:
    truth = np.arange(6.0)
    constant = {"dive": ActionPredictions(truth, [np.ones((1, 6)), np.ones((1, 6))])}
    assert "no value" in str(permutation_test(constant, 1, 0, SPEARMAN, FISHER, 100).reason)
    assert "equal on every clip" in str(error_test(truth, truth[None], truth[None]).reason)
    with pytest.raises(ValueError, match=r"\(seeds, 6 clips\)"):
        ActionPredictions(truth, [truth])


def test_error_test_is_wilcoxons() -> None:
    truth = np.random.default_rng(11).normal(size=50)
    a, b = noisy(truth, 1.0, 12), noisy(truth, 1.6, 13)
    wanted = scipy.stats.wilcoxon(np.abs(a[0] - truth), np.abs(b[0] - truth)).pvalue
    assert error_test(truth, a, b).p == pytest.approx(wanted)


def alike(rng: np.random.Generator, seeds: int, clips: int, spread: float, gap: float = 0.0) -> ActionPredictions:
    """Two models without a true difference (`gap` 0), whose trainings differ in how noisy they come out.

    As networks do, both err on the same clips: seven tenths of the error's variance are common to all.
    """
    truth, common = rng.normal(size=clips), rng.normal(size=clips)
    models = []
    for model in range(2):
        noise = 0.6 * np.exp(spread * rng.normal(size=(seeds, 1)) + model * gap)
        models.append(truth + noise * (0.7**0.5 * common + 0.3**0.5 * rng.normal(size=(seeds, clips))))
    return ActionPredictions(truth, models)


def clips_alone(sample: ActionPredictions, rng: np.random.Generator, repetitions: int = 100) -> float:
    """P of exchanging clips between the models, all seeds together: what leaves the spread of seeds out."""
    a, b = sample.predictions
    swap = rng.random((repetitions + 1, 1, len(sample.truth))) < 0.5
    swap[0] = False
    gaps = SPEARMAN(np.where(swap, b, a), sample.truth) - SPEARMAN(np.where(swap, a, b), sample.truth)
    gap = np.abs(gaps.mean(axis=1))
    return float((gap >= gap[0] - 1e-12).mean())


SIMULATIONS = [(3, 40, 0.4, 150), (5, 40, 0.4, 150)]
LONG = [(2, 60, 0.2, 400), (3, 128, 0.4, 400), (5, 60, 0.2, 400), (10, 60, 0.2, 400), (10, 128, 0.4, 400)]


@pytest.mark.parametrize(
    ("seeds", "clips", "spread", "count"),
    [*SIMULATIONS, *(pytest.param(*one, marks=pytest.mark.slow) for one in LONG)],
)
def test_seeds_spread_is_not_taken_for_a_difference(seeds: int, clips: int, spread: float, count: int) -> None:
    """Of two models that are alike, at most 7 in 100 comparisons say p < .05; exchanging clips alone, far more do."""
    rng = np.random.default_rng(seeds)
    found = [alike(rng, seeds, clips, spread) for _ in range(count)]
    ours = [permutation_test({"": one}, 1, 0, SPEARMAN, POOLED, 100, seed).p for seed, one in enumerate(found)]
    assert all(p is not None for p in ours)
    assert np.mean([p is not None and p < 0.05 for p in ours]) <= 0.07
    if spread > 0.3:
        assert np.mean([clips_alone(one, rng) < 0.05 for one in found]) > 0.2


def test_a_true_difference_is_found() -> None:
    rng = np.random.default_rng(5)
    found = [alike(rng, 10, 60, 0.2, gap=0.5) for _ in range(10)]
    tests = [permutation_test({"": one}, 1, 0, SPEARMAN, POOLED, 200, seed) for seed, one in enumerate(found)]
    assert {test.over for test in tests} == {"seeds and clips"}
    assert np.mean([test.p < 0.05 for test in tests if test.p is not None]) >= 0.8


def test_intervals_know_the_spread_of_seeds() -> None:
    """With many clips only the seeds are left, and the interval is that of a mean of seeds: s² / S."""
    rng = np.random.default_rng(12)
    truth = rng.normal(size=4000)
    offsets = rng.normal(0, 1.0, (8, 1))
    sample = {"": ActionPredictions(truth, [truth + np.sqrt(1 + (offsets - offsets.mean()) * 0.1)])}
    drawn = bootstrap(sample, MSE, POOLED, 4000)
    each = ((sample[""].predictions[0] - truth) ** 2).mean(axis=1)
    assert drawn.interval(0).value == pytest.approx(each.mean())
    assert drawn.joined_draws[0].std() == pytest.approx(each.std(ddof=1) / np.sqrt(8), rel=0.05)


def test_a_models_figure_is_the_mean_of_its_seeds_figures() -> None:
    """Joined over actions seed by seed: two trainings that each fail on another action are no better for it."""
    truth = np.arange(12.0)
    good, bad = truth + 0.3 * (-1) ** np.arange(12), truth[[1, 5, 3, 0, 8, 2, 9, 4, 11, 6, 7, 10]]
    samples = {
        "a": ActionPredictions(truth, [np.stack([good, bad])]),
        "b": ActionPredictions(truth, [np.stack([bad, good])]),
    }
    rhos = [scipy.stats.spearmanr(one, truth).statistic for one in (good, bad)]
    each = metrics.fisher_z_mean({"a": rhos[0], "b": rhos[1]}).value
    drawn = bootstrap(samples, SPEARMAN, FISHER, 200)
    assert drawn.interval(0).value == pytest.approx(each)
    # The Fisher mean of the actions' means over seeds, as it was before, is another number.
    assert abs(metrics.fisher_z_mean({"a": np.mean(rhos), "b": np.mean(rhos)}).value - each) > 0.02


def test_holms_correction() -> None:
    """Worked by hand: 3·.01, 2·.02 and, not below the one before, .04."""
    found = holm([PairedTest(0.04), PairedTest(0.01), PairedTest(None, "none"), PairedTest(0.02)])
    assert [test.corrected for test in found] == pytest.approx([0.04, 0.03, None, 0.04])
    assert [test.p for test in found] == [0.04, 0.01, None, 0.02]
    assert holm([PairedTest(0.9), PairedTest(0.8)])[0].corrected == 1.0
    assert holm([]) == []


def test_an_action_without_a_name_is_one_of_its_own() -> None:
    """As in datasets whose labels have no column for it."""
    truth = np.arange(6.0)
    models = [noisy(truth, 1.0, 3)]
    named, nameless = (
        bootstrap({name: ActionPredictions(truth, models)}, SPEARMAN, FISHER, 200) for name in ("dive", "")
    )
    assert nameless.interval(0, "") == named.interval(0, "dive")
    assert nameless.interval(0) == named.interval(0)
