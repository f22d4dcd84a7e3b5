"""The metrics of a set of predictions: per action, and over all actions as published.

Over several actions Spearman is averaged through Fisher's z and R-l2 plainly, as AQA-7 results are; the
rest is computed over all clips together.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.metrics.scores import Metric, accuracy, auc, f1, fisher_z_mean, kendall, mse, relative_l2, spearman

Floats = NDArray[np.float64]
Table = dict[str, dict[str, Metric]]
"""Action (and OVERALL) → metric name → metric."""

OVERALL = "all"
SELECTION = {False: "spearman", True: "accuracy"}
"""What chooses the best epoch, for scores (False) and for classification (True)."""


def score_table(true: Floats, predicted: Floats, actions: Sequence[str], classification: bool) -> Table:
    """Metrics per action and over all.

    Args:
        true: (n,) score points, or labels 0/1; nan where unknown, such clips do not count.
        predicted: (n,) score points, or probabilities of label 1.
        actions: (n,) names.
    """
    known = np.isfinite(true)
    true, predicted = true[known], predicted[known]
    names = np.array(actions)[known]
    of_set = _of_labels if classification else _of_scores
    table = {
        action: of_set(true[names == action], predicted[names == action]) for action in sorted(set(names.tolist()))
    }
    overall = of_set(true, predicted)
    if len(table) > 1 and not classification:
        overall["spearman"] = fisher_z_mean({action: row["spearman"] for action, row in table.items()})
        overall["r_l2"] = _plain_mean({action: row["r_l2"] for action, row in table.items()})
    return {**table, OVERALL: overall}


def _of_scores(true: Floats, predicted: Floats) -> dict[str, Metric]:
    return {
        "spearman": spearman(predicted, true),
        "kendall": kendall(predicted, true),
        "r_l2": relative_l2(predicted, true),
        "mse": mse(predicted, true),
    }


def _of_labels(true: Floats, predicted: Floats) -> dict[str, Metric]:
    return {"accuracy": accuracy(predicted, true), "f1": f1(predicted, true), "auc": auc(predicted, true)}


def _plain_mean(metrics: dict[str, Metric]) -> Metric:
    values = []
    for action, metric in metrics.items():
        if metric.value is None:
            return Metric(None, f"{action}: {metric.undefined}")
        values.append(metric.value)
    return Metric(float(np.mean(values)))
