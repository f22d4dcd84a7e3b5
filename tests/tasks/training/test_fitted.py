"""A head that is fitted at once, in the train stage: on frames with a frozen backbone and on features of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_catalog.pack.feature_clips import FeatureClips, HeldFeatures
from data_catalog.pack.file import ClipLabels
from flows.config import ConfigError, apply_overrides
from tasks.evaluate import EvaluateConfig, evaluate
from tasks.train import train
from tasks.training.config import ModelConfig, TrainConfig
from tests.support.tiny_training import tiny_pack

svm = pytest.importorskip("sklearn.svm")

MODEL = ModelConfig(backbone="tiny", attention="none", head="svr")
FROZEN = TrainConfig(freeze="backbone", loggers=(), flip=0.0, accelerator="cpu")


def test_on_frames_behind_a_frozen_backbone(tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "pack.h5")
    rows: list[dict[str, float | None]] = []
    first = train(pack, MODEL, FROZEN, tmp_path / "a", rows.append)
    again = train(pack, MODEL, FROZEN, tmp_path / "b")
    assert all(np.array_equal(value, again.last[name]) for name, value in first.last.items())
    assert (len(first.history), first.best_epoch, list(first.history)) == (1, 0, rows)
    rho = first.history[0]["test/spearman"]
    assert rho is not None
    assert rho > 0.9  # brightness is what a random convolution sees best
    judged = evaluate(pack, {"last": first.last}, MODEL, FROZEN, EvaluateConfig(splits=("test",), device="cpu"))
    assert judged.metrics["last"]["test"]["all"]["spearman"].value == pytest.approx(rho)


def test_on_features_of_ones_own_it_is_scikit_learns_svr(tmp_path: Path) -> None:
    """Its predictions from the means of steps, centred and scaled as the network does; scores from 0 to 100."""
    rng = np.random.default_rng(2)
    steps = [rng.normal(3, 2, (rng.integers(2, 5), 4)).astype(np.float32) for _ in range(30)]
    means = np.stack([one.mean(axis=0) for one in steps]).astype(float)
    scores = 40 + 8 * means[:, 0] - 6 * means[:, 2]
    labels = [
        ClipLabels(f"c{i}", "train" if i < 20 else "test", "diving", float(score), 2.0, (), None)
        for i, score in enumerate(scores)
    ]
    clips = FeatureClips("the features of dataset 'mine'", labels, HeldFeatures(steps))
    model = ModelConfig(attention="none", head="svr", head_options={"kernel": "rbf", "c": 10.0})
    config = TrainConfig(loggers=(), flip=0.0, score_range=(0, 100), accelerator="cpu")
    trained = train(clips, model, config, tmp_path)
    found = evaluate(clips, {"last": trained.last}, model, config, EvaluateConfig(splits=("test",), device="cpu"))
    centre, scale = np.concatenate(steps[:20]).mean(axis=0), np.sqrt(np.concatenate(steps[:20]).var(axis=0).mean())
    x = (means - centre) / scale
    theirs = svm.SVR(kernel="rbf", C=10.0, epsilon=0.1, gamma="scale").fit(x[:20], scores[:20])
    np.testing.assert_allclose(found.predictions["predicted"], theirs.predict(x[20:]), atol=0.02)


def test_what_cannot_be_fitted_at_once_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fitted to features that stay as they are; set features\.mode to pooled"):
        apply_overrides({}, ["model.head=svr", "model.attention=none"])
    with pytest.raises(ConfigError, match=r"set model\.temporal to mean"):
        apply_overrides({}, ["model.head=svr", "model.attention=none", "features.mode=pooled", "model.temporal=lstm"])
    with pytest.raises(ConfigError, match=r"set train\.steps to 0, train\.devices to 1"):
        apply_overrides({}, ["model.head=svr", "model.attention=none", "features.mode=pooled", "train.devices=2"])
    config = apply_overrides({}, ["model.head=svr", "model.attention=none", "features.mode=pooled"])
    assert config.train.freeze == "backbone"
    with pytest.raises(ValueError, match=r"backbone\.conv\.weight isn't frozen"):
        train(tiny_pack(tmp_path / "pack.h5"), MODEL, TrainConfig(loggers=(), accelerator="cpu"), tmp_path)


def test_the_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.head_names.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"model\.head svr needs the package sklearn; install it with: .*\[sklearn\]"):
        apply_overrides({}, ["model.head=svr", "model.attention=none", "features.mode=pooled"])
