"""Averaged weights, early stopping, precision, compilation, determinism: each does what it says and survives a kill."""

from __future__ import annotations

import gc
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.train import TrainResult, train
from tasks.training.config import TrainConfig
from tests.support.interrupted_training import assert_same, train_and_kill
from tests.support.tiny_training import CONFIG, MODEL

pytestmark = pytest.mark.usefixtures("one_thread")


def with_options(**changes: object) -> TrainConfig:
    return TrainConfig.model_validate(CONFIG.model_dump() | changes)


# -- moving average


def test_the_average_is_the_formulas(pack: Path, tmp_path: Path, trained: TrainResult) -> None:
    """One epoch of 4 steps, its weights after each step taken from trainings that end there."""
    decay = 0.6
    steps = []
    for batches in (1, 2, 3, 4):  # 14 clips in batches of 14, 7, 5, 4 would differ: take epochs of one batch instead
        config = with_options(batch=14, epochs=batches, schedule="constant")
        steps.append(train(pack, MODEL, config, tmp_path / f"{batches}").last)
    expected = {name: array.astype(float) for name, array in steps[0].items()}
    for state in steps[1:]:
        expected = {name: decay * array + (1 - decay) * state[name] for name, array in expected.items()}
    config = with_options(batch=14, epochs=4, schedule="constant", ema=decay)
    averaged = train(pack, MODEL, config, tmp_path / "averaged")
    compared = 0
    for name, array in averaged.last.items():
        if np.issubdtype(array.dtype, np.floating):
            np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
            compared += not np.allclose(array, steps[-1][name], rtol=1e-4, atol=1e-6)
    assert compared > 5  # it isn't just the last step's


def test_the_average_is_what_is_validated_and_kept(pack: Path, tmp_path: Path) -> None:
    from tasks.evaluate import EvaluateConfig, evaluate

    config = with_options(ema=0.8, lr=1e-2)
    result = train(pack, MODEL, config, tmp_path)
    found = evaluate(pack, {"last": result.last, "best": result.best}, MODEL, config, EvaluateConfig(splits=("test",)))
    for weights, epoch in (("last", -1), ("best", result.best_epoch)):
        row = result.history[epoch]
        for metric in ("spearman", "mse"):
            value = found.metrics[weights]["test"]["all"][metric].value
            assert value == pytest.approx(row[f"test/{metric}"], rel=1e-4), (weights, metric)


def test_without_clips_to_test_the_average_is_kept(tmp_path: Path) -> None:
    from tests.support.tiny_training import tiny_pack

    pack = tiny_pack(tmp_path / "p.h5", split=lambda n: "train")
    result = train(pack, MODEL, with_options(ema=0.9, epochs=2), tmp_path / "w")
    for name in result.last:
        np.testing.assert_array_equal(result.best[name], result.last[name], err_msg=name)


# -- early stopping


def test_training_stops_when_nothing_gets_better(pack: Path, tmp_path: Path) -> None:
    config = with_options(epochs=60, lr=1e-7, patience=2)
    result = train(pack, MODEL, config, tmp_path)
    assert len(result.history) == result.best_epoch + 3 < 60
    again = train(pack, MODEL, config, tmp_path)  # killed behind its end: it resumes to the same end
    assert_same(again, result)


def test_training_that_gets_better_does_not_stop(pack: Path, tmp_path: Path, trained: TrainResult) -> None:
    assert_same(train(pack, MODEL, with_options(patience=4), tmp_path), trained)


# -- killed


LONG = [pytest.param(one, marks=pytest.mark.slow) for one in ("patience=1", "precision=bf16-mixed", "accumulate=2")]


@pytest.mark.parametrize("change", ["ema=0.7", *LONG])
def test_killed_and_the_same_to_the_bit(pack: Path, tmp_path: Path, change: str) -> None:
    name, _, value = change.partition("=")
    config = with_options(**{name: int(value) if value.isdigit() else float(value) if name == "ema" else value})
    whole = train(pack, MODEL, config, tmp_path / "whole")
    train_and_kill(pack, tmp_path / "killed", 3, change)
    result = train(pack, MODEL, config, tmp_path / "killed")
    assert result.resumed == "00000-0000002.ckpt"
    assert_same(result, whole)


# -- reading processes


def test_reading_processes_change_nothing(pack: Path, tmp_path: Path, trained: TrainResult) -> None:
    assert_same(train(pack, MODEL, with_options(workers=1), tmp_path), trained)
    gc.collect()
    assert multiprocessing.active_children() == []


# -- precision, compilation, determinism


def test_bf16_is_close_and_not_the_same(pack: Path, tmp_path: Path, trained: TrainResult) -> None:
    result = train(pack, MODEL, with_options(precision="bf16-mixed"), tmp_path)
    first, wanted = result.history[0]["train/loss"], trained.history[0]["train/loss"]
    assert first == pytest.approx(wanted, rel=0.05)
    assert first != wanted
    assert {array.dtype for array in result.last.values()} == {array.dtype for array in trained.last.values()}


@pytest.mark.slow
def test_a_compiled_network_trains_to_the_same(pack: Path, tmp_path: Path) -> None:
    """Without dropout: compiled code draws random numbers of its own."""
    model = MODEL.model_copy(update={"backbone": "tiny_without_chance"})
    plain = train(pack, model, with_options(epochs=2), tmp_path / "plain")
    result = train(pack, model, with_options(epochs=2, compile=True), tmp_path / "compiled")
    assert result.last.keys() == plain.last.keys()
    for row, wanted in zip(result.history, plain.history, strict=True):
        assert row["train/loss"] == pytest.approx(wanted["train/loss"], rel=1e-2)


def test_determinism_is_asked_of_torch_for_the_training_only(
    pack: Path, tmp_path: Path, trained: TrainResult
) -> None:
    seen = []
    result = train(
        pack,
        MODEL,
        with_options(deterministic=True),
        tmp_path,
        on_epoch=lambda row: seen.append(torch.are_deterministic_algorithms_enabled()),
    )
    assert seen == [True] * 4
    assert not torch.are_deterministic_algorithms_enabled()
    assert_same(result, trained)


def test_an_operation_without_a_deterministic_form_is_named(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.tsanet import TSANet

    def forward(*args: object, **kwargs: object) -> None:
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))  # one that torch refuses on a CPU too

    monkeypatch.setattr(TSANet, "forward", forward)
    with pytest.raises(ValueError, match=r"put_; set engine\.device to cpu, or train\.determ"):
        train(pack, MODEL, with_options(deterministic=True), tmp_path)
