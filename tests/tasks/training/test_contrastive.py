"""A contrastive training: its exemplars are training clips, it learns, resumes, and scores as it was validated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_catalog.pack.feature_clips import FeatureClips, HeldFeatures
from data_catalog.pack.file import ClipLabels, PackReader
from data_catalog.pack.loader import ClipLoader
from tasks.evaluate import EvaluateConfig, evaluate
from tasks.train import train
from tasks.training.config import ModelConfig, TrainConfig
from tasks.training.module import build_module
from tasks.training.splits import TrainingClips
from tests.support.interrupted_training import assert_same, train_and_stop
from tests.support.tiny_training import CONFIG, MODEL, tiny_pack

pytestmark = pytest.mark.usefixtures("one_thread")
HEAD = {"head": "contrastive", "head_options": {"exemplars": 3, "depth": 3, "hidden": 16}}
PIXELS = MODEL.model_copy(update=HEAD)
HELD_OUT = CONFIG.model_copy(update={"validation": 0.3, "epochs": 2})


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def action(number: int) -> str:
        return "dive" if number % 2 else "vault"

    def difficulty(number: int) -> float | None:
        return None if number == 3 else 2.0 + number // 2 % 3

    return tiny_pack(tmp_path_factory.mktemp("contrastive") / "pack.h5", action=action, difficulty=difficulty)


def feature_clips(count: int = 60) -> FeatureClips:
    rng = np.random.default_rng(3)
    steps = rng.normal(size=(count, 1, 4)).astype(np.float32)
    score = 50 + 12 * steps[:, 0, 0] - 6 * steps[:, 0, 1]
    labels = [
        ClipLabels(f"c{n}", "test" if n % 3 == 0 else "train", "", float(score[n]), None, (), None)
        for n in range(count)
    ]
    return FeatureClips("drawn", labels, HeldFeatures(list(steps)))


def test_only_training_clips_are_exemplars(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every batch that is compared, in all epochs, and of what the head remembers."""
    reader = PackReader(pack)
    module = build_module(reader, PIXELS, HELD_OUT)
    parts = module._parts
    assert len(parts.validation) == 4
    assert len(parts.test) == 6
    assert set(module._exemplars) <= set(parts.train)
    seen: set[int] = set()
    original = ClipLoader.__iter__

    def watched(self: ClipLoader) -> Any:
        for batch in original(self):
            if self.indices == parts.train:
                rows = batch["index"].tolist()
                seen.update(rows[len(rows) // 2 :])
            yield batch

    monkeypatch.setattr(ClipLoader, "__iter__", watched)
    result = train(pack, PIXELS, HELD_OUT, pack.parent / "watched")
    assert seen
    assert seen <= set(parts.train)
    targets = module.scorer.targets
    assert isinstance(targets, torch.Tensor)
    np.testing.assert_allclose(result.last["head.scores"], targets[sorted(module._exemplars)] / 100)
    scored = {reader.labels.score[index] for index in parts.train}
    held_out = {reader.labels.score[index] for index in [*parts.validation, *parts.test]}
    assert not scored & held_out  # so that a score tells whose it is


def test_partners_are_of_the_same_action_and_difficulty_where_there_are_such(pack: Path) -> None:
    labels = PackReader(pack).labels
    comparable = TrainingClips(labels, range(14), seed=0)
    pairs = {(epoch, index): comparable.partner(epoch, index) for epoch in range(30) for index in range(14)}
    assert all(partner != index for (_, index), partner in pairs.items())
    for index in range(14):
        drawn = {pairs[epoch, index] for epoch in range(30)}
        same = [i for i in range(14) if i != index and labels.action[i] == labels.action[index]]
        narrow = [i for i in same if labels.difficulty[i] == labels.difficulty[index]]
        assert drawn == set(narrow or same)
    assert {pairs[epoch, 3] for epoch in range(30)} > {5}  # its difficulty isn't known: any of its action
    assert TrainingClips(labels, [5], seed=0).partner(0, 5) == 5


def test_who_votes_depends_on_the_seed_and_nothing_else(pack: Path) -> None:
    labels, targets = PackReader(pack).labels, np.arange(20, dtype=np.float32)
    forward, known = TrainingClips(labels, range(14), seed=0).exemplars(2, targets)
    backward, same = TrainingClips(labels, range(13, -1, -1), seed=0).exemplars(2, targets)
    assert (forward, known.members) == (backward, same.members)
    assert known.actions == ("", "dive", "vault")
    assert known.scores == tuple(map(float, forward))
    assert max(map(len, known.members)) == 2
    assert TrainingClips(labels, range(14), seed=1).exemplars(2, targets)[1].members != known.members
    # Differences of pairs that can be drawn: dives of one difficulty, and number 3 with all other dives.
    cells = [[1, 7, 13], [0, 6, 12], [2, 8], [4, 10], [5, 11], [1, 3, 5, 7, 9, 11, 13]]
    expected = [0.0] + [float(a - b) for cell in cells for a in cell for b in cell if a != b]
    assert sorted(known.relative.tolist()) == sorted(expected)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.5}, {"batch": 3, "accumulate": 2}])
def test_evaluation_says_what_the_last_epoch_said(pack: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    config = HELD_OUT.model_copy(update=changes)
    result = train(pack, PIXELS, config, tmp_path)
    found = evaluate(pack, {"last": result.last}, PIXELS, config, EvaluateConfig(splits=("test",), device="cpu"))
    mse = found.metrics["last"]["test"]["all"]["mse"].value
    assert mse == pytest.approx(result.history[-1]["test/mse"], rel=1e-4)
    assert np.abs(result.last["head.features"]).sum() > 0


def test_a_training_that_stopped_goes_on_with_what_it_remembers(pack: Path, tmp_path: Path) -> None:
    config = HELD_OUT.model_copy(update={"epochs": 3})
    whole = train(pack, PIXELS, config, tmp_path / "whole")
    train_and_stop(pack, tmp_path / "stopped", 1, PIXELS, config)
    resumed = train(pack, PIXELS, config, tmp_path / "stopped")
    assert resumed.resumed is not None
    assert_same(resumed, whole)


def test_without_anybody_held_out_exemplars_are_remembered_too(tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "pack.h5", split=lambda number: "train")
    config = CONFIG.model_copy(update={"epochs": 1})
    for name, changes in (("plain", {}), ("ema", {"ema": 0.5})):
        result = train(pack, PIXELS, config.model_copy(update=changes), tmp_path / name)
        assert np.abs(result.best["head.features"]).sum(axis=1).min() > 0
        np.testing.assert_array_equal(result.last["head.features"], result.best["head.features"])


def test_a_training_on_features_learns_relative_scores(tmp_path: Path) -> None:
    torch.manual_seed(0)
    clips, model = feature_clips(), ModelConfig(head="contrastive", head_options={"depth": 4, "hidden": 64})
    config = TrainConfig(epochs=25, batch=8, lr=3e-3, schedule="cosine", checkpoint_steps=0, loggers=(), flip=0.0)
    result = train(clips, model, config, tmp_path)
    spearman = result.history[-1]["test/spearman"]
    assert spearman is not None
    assert spearman > 0.9
    assert result.last["head.features"].shape == (10, 4)
