"""Metrics of action quality assessment, each with a reason where it is not defined.

Pure functions on one-dimensional arrays of predictions and truths.  A metric that the data do not define (a constant
prediction has no rank correlation) carries no number but a sentence saying why: nothing is set to zero, skipped or
averaged over in silence.  Formulas follow the AQA literature; see each function.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.metrics.batched import FISHER_LIMIT, accuracy_many, fisher_mean_many, mse_many, ranks, spearman_many

__all__ = [
    "FISHER_LIMIT",
    "Metric",
    "accuracy",
    "auc",
    "f1",
    "fisher_z_mean",
    "kendall",
    "mse",
    "relative_l2",
    "spearman",
]


@dataclass(frozen=True)
class Metric:
    """A number, or the reason why there is none (exactly one of the two).

    Attributes:
        value: the metric, or None.
        undefined: why it has no value, as one sentence, or None.
    """

    value: float | None
    undefined: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.undefined is None):
            raise ValueError("a metric has either a value or a reason why it has none")


def spearman(prediction: ArrayLike, truth: ArrayLike) -> Metric:
    """Spearman's rank correlation in [-1, 1]; ties get the mean of their ranks.

    Args:
        prediction: (n,) float, score points.
        truth: (n,) float, score points.
    """
    p, t = _pair(prediction, truth)
    if reason := _no_ranking(p, t):
        return Metric(None, reason)
    return Metric(float(spearman_many(p, t)))


def kendall(prediction: ArrayLike, truth: ArrayLike) -> Metric:
    """Kendall's tau-b in [-1, 1]: concordant minus discordant pairs, corrected for ties.

    Args:
        prediction: (n,) float, score points.
        truth: (n,) float, score points.
    """
    from scipy.stats import kendalltau  # see `batched.ranks`

    p, t = _pair(prediction, truth)
    if reason := _no_ranking(p, t):
        return Metric(None, reason)
    return Metric(float(kendalltau(p, t).statistic))


def fisher_z_mean(correlations: Mapping[str, Metric | float]) -> Metric:
    """Mean correlation over actions, tanh(mean(atanh(rho))), as AQA-7 results are averaged.

    A correlation of ±1 is drawn in to ±FISHER_LIMIT.  If one action has none, neither has the mean.

    Args:
        correlations: action to its correlation.
    """
    values: list[float] = []
    for action, rho in correlations.items():
        metric = rho if isinstance(rho, Metric) else Metric(float(rho))
        if metric.value is None:
            return Metric(None, f"{action} has no correlation to average: {metric.undefined}")
        if not -1.0 - 1e-9 <= metric.value <= 1.0 + 1e-9:
            raise ValueError(f"the correlation of {action} is {metric.value}, outside [-1, 1]")
        values.append(metric.value)
    if not values:
        return Metric(None, "there are no correlations to average.")
    return Metric(float(fisher_mean_many(np.array(values))))


def mse(prediction: ArrayLike, truth: ArrayLike) -> Metric:
    """Mean squared error, in score points squared.

    Args:
        prediction: (n,) float, score points.
        truth: (n,) float, score points.
    """
    p, t = _pair(prediction, truth)
    if reason := _unusable(p, t):
        return Metric(None, reason)
    return Metric(float(mse_many(p, t)))


def relative_l2(
    prediction: ArrayLike, truth: ArrayLike, low: float | None = None, high: float | None = None
) -> Metric:
    """R-l2 as printed in the literature: 100 × mean(((truth - prediction) / (high - low))²).

    Args:
        prediction: (n,) float, score points.
        truth: (n,) float, score points.
        low: least score there can be; None takes it from `truth`, the evaluated set, as CoRe and its successors do.
        high: greatest score there can be; None as for `low`.
    """
    p, t = _pair(prediction, truth)
    if reason := _unusable(p, t):
        return Metric(None, reason)
    span = (float(t.max()) if high is None else high) - (float(t.min()) if low is None else low)
    if span <= 0:
        return Metric(None, "the true scores have no range to relate the error to.")
    return Metric(float(100.0 * mse_many(p, t) / span**2))


def accuracy(probability: ArrayLike, label: ArrayLike, threshold: float = 0.5) -> Metric:
    """Share in [0, 1] of clips whose `probability > threshold` agrees with their label.

    Args:
        probability: (n,) float in [0, 1].
        label: (n,) of 0 and 1.
        threshold: itself counts as label 0.

    Raises:
        ValueError: a label is neither 0 nor 1.
    """
    p, t = _classes(probability, label)
    if reason := _unusable(p, t):
        return Metric(None, reason)
    return Metric(float(accuracy_many(p, t, threshold)))


def f1(probability: ArrayLike, label: ArrayLike, threshold: float = 0.5) -> Metric:
    """F1 of label 1: harmonic mean of precision and recall, 2·TP / (2·TP + FP + FN).

    Args:
        probability: (n,) float in [0, 1].
        label: (n,) of 0 and 1.
        threshold: itself counts as label 0.

    Raises:
        ValueError: a label is neither 0 nor 1.
    """
    p, t = _classes(probability, label)
    if reason := _unusable(p, t):
        return Metric(None, reason)
    said, true = p > threshold, t == 1
    parts = int(said.sum()) + int(true.sum())
    if parts == 0:
        return Metric(None, "no clip is labelled 1 and none is predicted so; F1 has nothing to count.")
    return Metric(2.0 * int((said & true).sum()) / parts)


def auc(probability: ArrayLike, label: ArrayLike) -> Metric:
    """Area under the ROC curve: how often a clip of label 1 is ranked above one of label 0, ties counting half.

    Args:
        probability: (n,) float in [0, 1].
        label: (n,) of 0 and 1.

    Raises:
        ValueError: a label is neither 0 nor 1.
    """
    p, t = _classes(probability, label)
    if reason := _unusable(p, t):
        return Metric(None, reason)
    positives = int((t == 1).sum())
    negatives = len(t) - positives
    if not positives or not negatives:
        return Metric(None, f"all {len(t)} clips have label {int(t[0])}; a ROC curve needs both labels.")
    above = ranks(p)[t == 1].sum() - positives * (positives + 1) / 2
    return Metric(float(above / (positives * negatives)))


def _pair(prediction: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    p, t = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if p.ndim != 1 or p.shape != t.shape:
        raise ValueError(f"predictions and truths are two arrays of one length, got {p.shape} and {t.shape}")
    return p, t


def _classes(probability: ArrayLike, label: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    p, t = _pair(probability, label)
    if not np.isin(t, (0.0, 1.0)).all():
        raise ValueError("labels are 0 or 1; turn scores into labels before classification metrics")
    return p, t


def _unusable(p: NDArray[np.float64], t: NDArray[np.float64]) -> str | None:
    if not len(p):
        return "there are no clips to evaluate."
    for what, values in (("prediction", p), ("true value", t)):
        if bad := int((~np.isfinite(values)).sum()):
            return f"{bad} of {len(values)} clips have a {what} that is not a finite number."
    return None


def _no_ranking(p: NDArray[np.float64], t: NDArray[np.float64]) -> str | None:
    if reason := _unusable(p, t):
        return reason
    if len(p) < 2:
        return "one clip has no order; a rank correlation needs at least two."
    for what, values in (("predictions", p), ("true scores", t)):
        if (values == values[0]).all():
            return f"all {len(values)} {what} are equal ({values[0]:g}), so there is no order to compare."
    return None
