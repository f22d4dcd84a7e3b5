"""Intervals and paired tests against scipy, exact enumeration and normal theory."""

import itertools

import numpy as np
import pytest
import scipy.stats

from models.metrics import scores as metrics
from models.metrics.comparison import (
    METRICS,
    ActionPredictions,
    accuracy_many,
    bootstrap,
    error_test,
    fisher_mean_many,
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
    samples = {"dive": ActionPredictions(truth, [noisy(truth, 1, 0), noisy(truth, 1, 1, seeds=2)])}
    assert "numbers of seeds" in str(permutation_test(samples, 1, 0, SPEARMAN, FISHER, 100).reason)
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
