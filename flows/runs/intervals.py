"""The uncertainty of a run's metrics: bootstrap intervals over the clips that it predicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from models.metrics.comparison import METRICS, ActionPredictions, bootstrap

if TYPE_CHECKING:
    import pandas as pd


def metric_intervals(
    predictions: pd.DataFrame, split: str, names: Iterable[str], weights: str = "last"
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals over clips of the metrics of one epoch, as `tubeflow compare` prints them."""
    kept = (predictions["weights"] == weights) & (predictions["split"] == split) & np.isfinite(predictions["true"])
    samples = {
        str(action): ActionPredictions(rows["true"].to_numpy(float), [rows["predicted"].to_numpy(float)[None]])
        for action, rows in predictions[kept].groupby("action")
    }
    found = {}
    for name in names:
        if name in METRICS and samples:
            how = METRICS[name]
            interval = bootstrap(how.prepare(samples), how.score, how.join).interval(0)
            if interval.low is not None and interval.high is not None:
                found[name] = (interval.low, interval.high)
    return found
