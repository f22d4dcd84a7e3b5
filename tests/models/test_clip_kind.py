"""How far a clip is from a kind of clips, against definitions written out; which share of a kind passes for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis

from models.clip_kind import conformal_bound, fewest, fit_kind

Floats = NDArray[np.float64]


def ledoit_wolf(clips: Floats) -> Floats:
    """The shrunk covariance (F, F), from the definitions of the paper's Lemmas 3.2 to 3.4, clip by clip."""
    centred = clips - clips.mean(axis=0)
    count, size = centred.shape
    sample = sum(np.outer(one, one) for one in centred) / count
    target = np.trace(sample) / size * np.eye(size)
    away = np.linalg.norm(sample - target) ** 2
    error = sum(np.linalg.norm(np.outer(one, one) - sample) ** 2 for one in centred) / count**2
    share = min(error, away) / away
    return np.asarray(share * target + (1 - share) * sample)


def drawn(seed: int, clips: int, size: int) -> Floats:
    """Features that vary much in some directions and little in others."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=(clips, size)) * rng.uniform(0.05, 3, size) + rng.normal(size=size))


@pytest.mark.parametrize(("clips", "size"), [(40, 5), (12, 30), (25, 25)])
def test_the_distance_is_mahalanobis_with_the_shrunk_covariance(clips: int, size: int) -> None:
    known, asked = drawn(0, clips, size), drawn(1, 7, size)
    unit = known / np.linalg.norm(known, axis=1, keepdims=True)
    inverse = np.linalg.inv(ledoit_wolf(unit))
    expected = [mahalanobis(one / np.linalg.norm(one), unit.mean(axis=0), inverse) for one in asked]
    np.testing.assert_allclose(fit_kind(known.astype(np.float64)).distance(asked), expected, rtol=1e-8)


def test_how_long_features_are_does_not_matter() -> None:
    known, asked = drawn(0, 20, 8), drawn(1, 5, 8)
    longer = np.random.default_rng(2).uniform(0.1, 9, (5, 1)) * asked
    np.testing.assert_allclose(fit_kind(known).distance(longer), fit_kind(known * 3).distance(asked), rtol=1e-9)


def test_features_of_zeros_have_a_distance_and_those_that_do_not_differ_none() -> None:
    assert np.isfinite(fit_kind(drawn(0, 20, 8)).distance(np.zeros((1, 8)))).all()
    for same in (np.ones((5, 3)), np.zeros((5, 3)), drawn(0, 1, 3)):
        with pytest.raises(ValueError, match="don't differ"):
            fit_kind(same)


def test_two_clips_that_are_each_others_opposite_still_have_a_variance_elsewhere() -> None:
    kind = fit_kind(np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]))
    assert np.isfinite(kind.distance(np.eye(3))).all()


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=120), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_of_clips_that_could_change_places_hardly_more_than_the_rest_are_beyond_the_bound_of_the_others(
    distances: list[float], coverage: float
) -> None:
    """Each in turn is the new clip; that at most a share of 1 - coverage is beyond is what the guarantee rests on."""
    beyond = 0
    for place, one in enumerate(distances):
        bound = conformal_bound(np.array([*distances[:place], *distances[place + 1 :]]), coverage)
        beyond += bound is not None and one > bound
    assert beyond <= math.floor(len(distances) * (1 - coverage) + 1e-9)


@given(st.sampled_from([0.5, 0.75, 0.8, 0.9, 0.95, 0.99]))
def test_the_bound_needs_as_many_clips_as_fewest_says(coverage: float) -> None:
    count = fewest(coverage)
    assert count == round(coverage / (1 - coverage))
    assert conformal_bound(np.arange(count), coverage) == count - 1  # the greatest of them
    assert conformal_bound(np.arange(count - 1), coverage) is None
