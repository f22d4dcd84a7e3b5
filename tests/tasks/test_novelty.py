"""The features that new clips are compared with: the same however they come about, and which clips are held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_catalog.pack.feature_clips import FeatureClips, HeldFeatures
from data_catalog.pack.file import ClipLabels
from models.clip_kind import fit_kind
from tasks.novelty import CHUNK, clip_vectors, cross_distances, in_turn
from tasks.training.config import ModelConfig
from tasks.training.network import build_network_on_features
from tasks.training.scorer import FeatureScorer
from tasks.training.targets import score_scale

NAMES = [f"c{number}" for number in range(40)]


def features(clips: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(1 + number % 3, 6)).astype(np.float32) for number in range(clips)]


def scorer(steps: list[np.ndarray]) -> tuple[FeatureScorer, FeatureClips]:
    labels = [ClipLabels(f"c{number}", "train", "", float(number), None, (), None) for number in range(len(steps))]
    clips = FeatureClips("the clips", labels, HeldFeatures(steps))
    network = build_network_on_features(ModelConfig(head="linear"), 6, 0)
    return FeatureScorer(network, clips, "linear", score_scale(clips.labels, (0.0, 1.0), False)).eval(), clips


def test_of_a_clip_of_several_steps_their_mean_is_compared() -> None:
    steps = features(CHUNK + 5)
    found = clip_vectors(*scorer(steps), list(range(len(steps))), 0)
    np.testing.assert_allclose(found, [one.mean(axis=0) for one in steps], rtol=1e-5, atol=1e-6)


def test_a_computation_that_was_killed_goes_on_behind_what_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = features(3 * CHUNK)
    made, clips = scorer(steps)
    places, whole = list(range(len(steps))), clip_vectors(made, clips, list(range(len(steps))), 0)
    read: list[int] = []
    genuine = FeatureClips.read

    def reading(self: FeatureClips, index: int) -> object:
        read.append(index)
        if index == 2 * CHUNK + 3 and len(read) < 3 * CHUNK:
            raise KeyboardInterrupt
        return genuine(self, index)

    monkeypatch.setattr(FeatureClips, "read", reading)
    with pytest.raises(KeyboardInterrupt):
        clip_vectors(made, clips, places, 0, folder=tmp_path)
    (tmp_path / "0.npy").write_bytes(b"not an array")  # whatever happened to it, it is made again
    read.clear()
    read.extend([-1] * 3 * CHUNK)
    again = clip_vectors(made, clips, places, 0, folder=tmp_path)
    assert read[3 * CHUNK :] == [*range(CHUNK), *range(2 * CHUNK, 3 * CHUNK)]
    np.testing.assert_array_equal(again, whole)


def test_each_clip_is_compared_with_those_of_other_folds_alone() -> None:
    vectors = np.random.default_rng(3).normal(size=(40, 6))
    found = cross_distances(vectors, NAMES, 1, 5)
    order = in_turn(NAMES, 1)
    for place, clip in enumerate(order):
        others = [other for number, other in enumerate(order) if number % 5 != place % 5]
        assert found[clip] == pytest.approx(fit_kind(vectors[others]).distance(vectors[[clip]])[0], rel=1e-9)


def test_folds_do_not_depend_on_the_order_of_the_clips() -> None:
    vectors = np.random.default_rng(3).normal(size=(40, 6))
    shuffled = np.random.default_rng(4).permutation(40)
    straight = cross_distances(vectors, NAMES, 1, 5)
    other = cross_distances(vectors[shuffled], [NAMES[one] for one in shuffled], 1, 5)
    np.testing.assert_allclose(other, straight[shuffled], rtol=1e-9)
    assert not np.allclose(straight, cross_distances(vectors, NAMES, 2, 5))
