"""Metrics against scipy and literal definitions; undefined cases say why. Published tables: tests/flows."""

import math

import numpy as np
import pytest
import scipy.stats

from models.metrics import scores as metrics
from models.metrics.scores import Metric


@pytest.fixture(params=[(7, None), (60, None), (60, 4), (2, None)], ids=["short", "long", "many ties", "two"])
def pair(request):
    n, levels = request.param
    rng = np.random.default_rng(n)
    truth = rng.normal(size=n)
    guess = truth + rng.normal(size=n)
    if levels:
        truth, guess = np.round(truth * levels) / levels, np.round(guess)
    return guess, truth


def test_rank_correlations_agree_with_scipy(pair):
    assert metrics.spearman(*pair).value == pytest.approx(scipy.stats.spearmanr(*pair).statistic, abs=1e-12)
    assert metrics.kendall(*pair).value == pytest.approx(scipy.stats.kendalltau(*pair).statistic, abs=1e-12)


def test_fisher_mean_survives_a_perfect_correlation():
    mean = metrics.fisher_z_mean({"a": 1.0, "b": 0.5}).value
    assert mean is not None
    assert 0.9 < mean < 1.0


def test_fisher_mean_names_the_action_without_a_value():
    broken = metrics.spearman([1.0, 1.0], [1.0, 2.0])
    mean = metrics.fisher_z_mean({"ski": 0.5, "gym": broken})
    assert mean.value is None
    assert mean.undefined == (
        "gym has no correlation to average: all 2 predictions are equal (1), so there is no order to compare."
    )
    with pytest.raises(ValueError, match=r"ski is 1\.2, outside"):
        metrics.fisher_z_mean({"ski": 1.2})


def test_errors_by_hand():
    assert metrics.mse([1.0, 2.0], [3.0, 2.0]).value == 2.0
    # ((3-1)/10)^2 = 0.04, ((13-14)/10)^2 = 0.01; mean 0.025, times 100.
    assert metrics.relative_l2([1.0, 14.0], [3.0, 13.0]).value == pytest.approx(2.5)
    assert metrics.relative_l2([1.0, 14.0], [3.0, 13.0], low=0.0, high=100.0).value == pytest.approx(0.025)


def test_classification_by_hand():
    probability, label = [0.9, 0.6, 0.5, 0.2], [1, 0, 1, 0]
    assert metrics.accuracy(probability, label).value == 0.5  # 0.5 itself is not above the threshold
    assert metrics.f1(probability, label).value == pytest.approx(2 * 1 / (2 * 1 + 1 + 1))
    assert metrics.auc(probability, label).value == 0.75  # 3 of the 4 pairs are ordered right


def test_auc_agrees_with_the_rank_test(pair):
    guess, truth = pair
    label = (truth > np.median(truth)).astype(int)
    if label.min() == label.max():
        pytest.skip("two values with one label")
    u = scipy.stats.mannwhitneyu(guess[label == 1], guess[label == 0]).statistic
    assert metrics.auc(guess, label).value == pytest.approx(u / (label.sum() * (1 - label).sum()))


def test_accuracy_without_any_positive_prediction_is_defined():
    """The released code divides by zero here."""
    assert metrics.accuracy([0.1, 0.2], [0, 1]).value == 0.5
    assert metrics.f1([0.1, 0.2], [0, 1]).value == 0.0


NAN = float("nan")


@pytest.mark.parametrize(
    ("metric", "prediction", "truth", "words"),
    [
        ("spearman", [], [], "no clips"),
        ("spearman", [1.0], [1.0], "one clip has no order"),
        ("spearman", [1.0, 2.0], [5.0, 5.0], "all 2 true scores are equal (5)"),
        ("kendall", [3.0, 3.0, 3.0], [1.0, 2.0, 3.0], "all 3 predictions are equal (3)"),
        ("mse", [NAN, 1.0], [1.0, 1.0], "1 of 2 clips have a prediction that is not a finite number"),
        ("relative_l2", [1.0, 2.0], [4.0, 4.0], "no range"),
        ("auc", [0.1, 0.2], [1, 1], "all 2 clips have label 1"),
        ("f1", [0.1, 0.2], [0, 0], "no clip is labelled 1"),
        ("accuracy", [NAN], [1], "1 of 1 clips"),
    ],
)
def test_undefined_says_why(metric, prediction, truth, words):
    found = getattr(metrics, metric)(prediction, truth)
    assert found.value is None
    assert words in found.undefined


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        metrics.mse([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="labels are 0 or 1"):
        metrics.accuracy([0.5], [55.0])
    with pytest.raises(ValueError, match="either a value or a reason"):
        Metric(None)


def test_inputs_are_not_modified():
    prediction, truth = np.array([3.0, 1.0, 2.0]), np.array([1.0, 0.0, 1.0])
    for name in ("spearman", "kendall", "mse", "relative_l2", "accuracy", "f1", "auc"):
        assert math.isfinite(getattr(metrics, name)(prediction, truth).value)
    assert prediction.tolist() == [3.0, 1.0, 2.0]
    assert truth.tolist() == [1.0, 0.0, 1.0]
