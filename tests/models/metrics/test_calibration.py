"""Intervals: ends against other definitions of them, and that they hold as often as they say."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from models.metrics.calibration import LEVELS, Calibration, Coverage, Method, calibrate, clips_needed, coverage

ONES = np.ones


def test_temperature_is_the_most_likely_stretch() -> None:
    """Against a search for the greatest likelihood, and Student's quantile from its definition √n·Z / √χ²ₙ."""
    rng = np.random.default_rng(0)
    predicted, spread = rng.uniform(20, 90, 12), rng.uniform(1, 5, 12)
    true = predicted + rng.normal(size=12) * spread * 2.3
    found = calibrate("temperature", true, predicted, spread)
    tried = np.linspace(0.5, 6, 11001)
    likelihood = stats.norm.logpdf(true, predicted, tried[:, None] * spread).sum(axis=1)
    assert found.scale == pytest.approx(tried[likelihood.argmax()], abs=1e-3)
    draws = rng.normal(size=2_000_000) / np.sqrt(rng.chisquare(12, 2_000_000) / 12)
    for level in LEVELS:
        low, high = found.ends[level] or (np.nan, np.nan)
        assert -low == high == pytest.approx(found.scale * np.quantile(np.abs(draws), level / 100), rel=0.01)


def test_isotonic_goes_through_the_ranks() -> None:
    """As isotonic regression of observed on predicted levels does, with n + 1 in the place of n."""
    rng = np.random.default_rng(1)
    predicted, spread = rng.uniform(20, 90, 99), rng.uniform(1, 5, 99)
    true = predicted + rng.standard_t(2, 99) * spread + 1
    levels = np.sort(stats.norm.cdf((true - predicted) / spread))
    observed = (levels[:, None] >= levels).sum(axis=1) / 100
    mapped = optimize.isotonic_regression(observed).x
    found = calibrate("isotonic", true, predicted, spread)
    for level in (50, 80):
        tail = (100 - level) / 200
        wanted = np.interp([tail, 1 - tail], mapped, levels)
        assert stats.norm.cdf(found.ends[level]) == pytest.approx(wanted)


def test_the_least_number_of_clips() -> None:
    for level in LEVELS:
        few = clips_needed("isotonic", level) - 1
        for count, there in ((few, False), (few + 1, True)):
            errors = np.arange(count) - count / 3
            ends = calibrate("isotonic", errors, 0 * errors, ONES(count)).ends[level]
            assert (ends is not None) == there
            assert ends is None or ends == (errors[0], errors[-1])
    assert clips_needed("isotonic", 95) == 39
    assert clips_needed("temperature", 95) == 1


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=60), st.sampled_from(LEVELS))
def test_isotonic_holds_for_every_one_that_was_left_out(errors: list[float], level: int) -> None:
    """Each of n + 1 clips by the others: on the average over them the share that is named, whatever the errors are."""
    true = np.array(errors)
    inside = []
    for left_out in range(len(true)):
        others = np.delete(true, left_out)
        ends = calibrate("isotonic", others, 0 * others, ONES(len(others))).ends[level]
        inside.append(ends is None or ends[0] <= true[left_out] <= ends[1])
    assert np.mean(inside) >= level / 100 - 1e-9


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_intervals_hold_as_often_as_they_say(method: Method) -> None:
    """Normal errors, 20 clips to calibrate on, one new clip each time; spreads in a unit of their own."""
    rng = np.random.default_rng(2)
    held = dict.fromkeys((50, 80), 0)
    for _ in range(1500):
        spread = rng.uniform(0.1, 0.5, 21)
        true = rng.normal(size=21) * spread * 7
        found = calibrate(method, true[:20], np.zeros(20), spread[:20])
        for level in held:
            low, high = found.interval(level, np.zeros(1), spread[20:])
            held[level] += bool(low[0] <= true[20] <= high[0])
    for level, count in held.items():
        assert level / 100 - 0.025 < count / 1500 < level / 100 + (0.025 if method == "temperature" else 0.06)


def test_as_json_and_back() -> None:
    found = calibrate("isotonic", np.arange(25.0), np.full(25, 12.0), ONES(25))
    assert found.ends[95] is None
    again = Calibration.from_json(json.loads(json.dumps(found.as_json(), allow_nan=False)))
    assert again == found
    low, high = again.interval(95, np.array([3.0]), ONES(1))
    assert np.isnan([low, high]).all()


def test_clips_without_a_score_have_no_say() -> None:
    with_gap = calibrate("temperature", np.array([1.0, np.nan, 3.0]), np.array([0.0, 9.0, 0.0]), ONES(3))
    assert with_gap == calibrate("temperature", np.array([1.0, 3.0]), np.zeros(2), ONES(2))
    assert with_gap.scale == pytest.approx(np.sqrt(5))
    with pytest.raises(ValueError, match="no clip of known score"):
        calibrate("temperature", np.full(3, np.nan), np.zeros(3), ONES(3))
    with pytest.raises(ValueError, match="spread is not above 0"):
        calibrate("temperature", np.ones(3), np.zeros(3), np.zeros(3))


def test_how_often_they_held() -> None:
    true = np.array([1.0, 2.0, 3.0, np.nan, 5.0])
    low, high = np.array([0.0, 2.0, 3.5, 0.0, np.nan]), np.array([1.0, 4.0, 4.5, 9.0, np.nan])
    found = coverage(80, true, low, high)
    assert found == Coverage(80, clips=3, inside=2, width=pytest.approx(4 / 3))
    assert found.share == pytest.approx(2 / 3)
    wanted = stats.binomtest(2, 3).proportion_ci(method="exact")
    assert found.bounds == pytest.approx((wanted.low, wanted.high))
    assert Coverage(80, 4, 4, 1.0).bounds == pytest.approx(tuple(stats.binomtest(4, 4).proportion_ci(method="exact")))
    assert coverage(80, np.full(2, np.nan), np.zeros(2), np.ones(2)) is None
