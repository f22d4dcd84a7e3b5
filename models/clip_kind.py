"""How unlike a kind of clips another clip is, by features, and from which distance on it isn't of that kind.

Letters: n = clips that are known, m = clips that are asked about, F = features of a clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-12
"""Share of the mean variance that every direction has at least, so that none divides by nothing."""


@dataclass(frozen=True, eq=False)
class Kind:
    """What clips that are known have in common: mean and covariance of their features, each made as long as 1.

    The distance to it is Mahalanobis' (Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution
    Samples and Adversarial Attacks", NeurIPS 2018), of features whose length was taken away before (Mueller and Hein,
    "Mahalanobis++", ICML 2025), with the covariance of Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices" (2004), which can be had of fewer clips than features. Never is an (F, F)
    matrix made.

    Attributes:
        mean: (F,) float64.
        directions: (r, F) float64, in which the known clips vary.
        variances: (r,) float64, in these directions, shrunk.
        elsewhere: the variance in every other direction.
    """

    mean: NDArray[np.float64]
    directions: NDArray[np.float64]
    variances: NDArray[np.float64]
    elsewhere: float

    def distance(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """How far clips are, in standard deviations: (m, F) to (m,)."""
        off = _of_length_one(features) - self.mean
        along = off @ self.directions.T
        beside = np.square(off).sum(axis=1) - np.square(along).sum(axis=1)
        squared = (np.square(along) / self.variances).sum(axis=1) + np.maximum(beside, 0) / self.elsewhere
        return np.asarray(np.sqrt(squared))


def fit_kind(features: NDArray[np.floating]) -> Kind:
    """The kind of clips that have these features, (n, F) of any float dtype.

    Raises:
        ValueError: fewer than two clips, or all of them are the same.
    """
    known = _of_length_one(features)
    mean = known.mean(axis=0)
    off = known - mean
    count, size = off.shape
    _, spread, directions = np.linalg.svd(off, full_matrices=False)
    variances = np.square(spread) / count
    usual = float(variances.sum()) / size
    if count < 2 or usual < np.finfo(np.float64).eps ** 2:
        raise ValueError(f"the features of {count} clips don't differ, so nothing can be compared with them")
    # Ledoit and Wolf's Lemmas 3.2 to 3.4, in the eigenvalues of the sample covariance: ‖S - μI‖² and the error of S.
    away = float(np.square(variances - usual).sum()) + (size - len(variances)) * usual**2
    error = (float(np.square(np.square(off).sum(axis=1)).mean()) - float(np.square(variances).sum())) / count
    shrinkage = min(max(error, 0.0) / away, 1.0) if away > 0 else 1.0
    least = LEAST * usual
    shrunk = np.maximum((1 - shrinkage) * variances + shrinkage * usual, least)
    return Kind(mean, directions, shrunk, max(shrinkage * usual, least))


def _of_length_one(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, F) float64; a row of zeros stays as it is."""
    exact = np.asarray(features, np.float64)
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    return np.asarray(exact / np.where(length > 0, length, 1.0))


def conformal_bound(distances: NDArray[np.floating], coverage: float) -> float | None:
    """The bound within which the next clip of the same kind is, with a probability of at least `coverage`.

    Split conformal prediction (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005): the
    ceil((n + 1) · coverage)-th smallest of n distances. It holds however distances are distributed, where the next
    clip and those n could change places.

    Args:
        distances: (n,) of clips that were held out.
        coverage: between 0 and 1.

    Returns:
        The bound; None where n is smaller than `fewest`.
    """
    rank = _rank(len(distances), coverage)
    return float(np.sort(distances)[rank - 1]) if rank <= len(distances) else None


def fewest(coverage: float) -> int:
    """How many held-out clips `conformal_bound` needs for a coverage below 1."""
    count = 1
    while _rank(count, coverage) > count:
        count += 1
    return count


def _rank(count: int, coverage: float) -> int:
    return max(math.ceil(round((count + 1) * coverage, 9)), 1)  # rounded, as most shares have no exact value
