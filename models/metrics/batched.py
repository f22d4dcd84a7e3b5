"""Metrics of many rows of clips at once: one form for a single result, the seeds of a model, and every bootstrap draw.

Letters: n = clips; … = anything, seeds or draws. nan stands where the data define no value; `models.metrics.scores` has
the same metrics of one row, with the reason in words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# atanh(1) is infinite; a perfect correlation enters a Fisher mean as this.
FISHER_LIMIT = 1.0 - 1e-6


def ranks(values: Floats) -> Floats:
    """Ranks 1..n along the last axis: (…, n) float64 → (…, n) float64; equal values share the mean of their ranks."""
    from scipy.stats import rankdata  # half a second to import, and who trains or tracks needs none of it

    return np.asarray(rankdata(values, axis=-1), np.float64)


def spearman_many(prediction: Floats, truth: Floats) -> Floats:
    """Spearman's rho: (…, n) float64 each → (…,), nan where one side has no order. Ties share their mean rank."""
    a, b = (ranks(values) for values in np.broadcast_arrays(prediction, truth))
    a, b = (side - side.mean(axis=-1, keepdims=True) for side in (a, b))
    spread = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 0, (a * b).sum(axis=-1) / spread, np.nan))


def accuracy_many(probability: Floats, label: Floats, threshold: float = 0.5) -> Floats:
    """Share of clips whose `probability > threshold` agrees with their label 0 or 1: (…, n) float64 → (…,)."""
    return np.asarray(((probability > threshold) == (label == 1)).mean(axis=-1))


def mse_many(prediction: Floats, truth: Floats) -> Floats:
    """Mean squared error in the scores' unit squared: (…, n) float64 each → (…,)."""
    return np.asarray(((prediction - truth) ** 2).mean(axis=-1))


def fisher_mean_many(correlations: Floats, counts: Floats | None = None) -> Floats:
    """tanh(mean(atanh(rho))) over actions, as AQA-7's are averaged: (actions, …) float64 → (…,).

    An action counts once, whatever its `counts`. A correlation of ±1 is drawn in to ±FISHER_LIMIT.
    """
    return np.asarray(np.tanh(np.arctanh(np.clip(correlations, -FISHER_LIMIT, FISHER_LIMIT)).mean(axis=0)))


def plain_mean_many(values: Floats, counts: Floats) -> Floats:
    """Mean over actions, (actions, …) float64 → (…,); an action counts once, whatever its `counts`."""
    return np.asarray(values.mean(axis=0))


def pooled_mean_many(values: Floats, counts: Floats) -> Floats:
    """Mean of all clips together: (actions, …) float64 weighted by `counts` (actions,) clips → (…,)."""
    return np.asarray(np.tensordot(counts / counts.sum(), values, axes=(0, 0)))
