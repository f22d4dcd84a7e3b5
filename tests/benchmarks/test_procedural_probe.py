"""The probe of single positions finds what a position tells, and nothing of a relation between two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.procedural_probe import (
    Rank,
    TubeFeatures,
    fit,
    predict,
    probe_table,
    rank_of,
    single_positions,
    tube_features,
)
from data_catalog.catalog import Workspace
from flows.datasets.clips import dataset_clips
from flows.experiments.contenders import find_contenders
from tests.support.tiny_workspace import DATASET, copy_workspace, run


def clips_of(score_of: str, count: int = 400) -> list[TubeFeatures]:
    """Three steps of five positions with four channels: a side in the first, a side in the last, noise elsewhere."""
    rng = np.random.default_rng(3)
    found = []
    for number in range(count):
        first, last = rng.uniform(-1, 1, 2)
        steps = rng.normal(0, 0.3, (3, 5, 4))
        steps[0, :, 1] += first
        steps[2, :, 2] += last
        score = first * last if score_of == "relation" else first
        found.append(TubeFeatures(tuple(steps), float(score), number % 4 < 2))
    return found


def test_a_relation_is_in_no_position_and_in_no_sum_of_positions() -> None:
    for name, rank in single_positions(clips_of("relation")).items():
        assert rank.low < 0 < rank.high, name
        assert abs(rank.value) < 0.25, name


def test_what_a_position_tells_is_found_where_it_is() -> None:
    found = single_positions(clips_of("side"))
    assert found["step 0"].low > 0.9
    assert found["mean of the tube"].low > 0.9
    for step in ("step 1", "step 2"):
        assert found[step].low < 0 < found[step].high


def test_ridge_by_hand() -> None:
    features = np.array([[0.0], [1.0], [2.0], [3.0]])
    fitted = fit(features, 2 * features[:, 0] + 5)
    middle = 5 + 2 * 1.5
    assert predict(fitted, features) == pytest.approx(middle + (2 * features[:, 0] - 3) / 1.01)  # drawn in by the ridge
    assert rank_of(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 5.0]), 50).value == pytest.approx(1)


def test_table() -> None:
    assert probe_table({"step 0": Rank(-0.01, -0.1, 0.1)}).endswith("| step 0 | -0.010 [-0.100, +0.100] |")


def test_features_are_those_of_the_tube(finished_workspace: Path, tmp_path: Path) -> None:
    """A real run on features: per step as many positions as the mask has there, and the labels of the dataset."""
    root = copy_workspace(finished_workspace, tmp_path / "ws")
    summary = run(root, "features.mode=cut", "train.difficulty=false", "train.epochs=1")
    workspace = Workspace.open(root)
    contender = find_contenders(workspace, summary.run_id)[0]
    found = tube_features(workspace, contender)
    clips = [clip for clip in dataset_clips(workspace, DATASET) if clip.clip_id in contender.first.keys["features"]]
    assert [clip.score for clip in found] == [clip.score for clip in clips]
    assert [clip.trains for clip in found] == [clip.split == "train" for clip in clips]
    for clip, seen in zip(clips, found, strict=True):
        mask = workspace.store.read("masks", contender.first.keys["masks"][clip.clip_id], ["mask"]).arrays["mask"]
        assert [len(step) for step in seen.steps] == mask.sum(axis=(2, 3)).ravel().tolist()
        assert {step.shape[1] for step in seen.steps} == {112}
