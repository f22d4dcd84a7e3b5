"""Training on features of the tiny network: as on pixels, on two processes too, and few checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_catalog.features.mapped_features import write_features
from data_catalog.pack.file import PackReader, shifted_times
from models.score_network import ScoreNetwork
from tasks.steps import StepLabels
from tasks.train import TrainResult, train
from tasks.training import trainer
from tasks.training.checkpoints import DurableCheckpoints
from tasks.training.config import TrainConfig
from tasks.training.network import build_network
from tests.support.tiny_training import CONFIG, MODEL, tiny_pack

ON_CUT = CONFIG.model_copy(update={"freeze": "stage1", "flip": 0.5, "shift": (-1, 1), "accelerator": "cpu"})
WEIGHT = {"steps": 0.5}
VERSIONS = [(flip, shift) for flip in (False, True) for shift in (-1, 0, 1)]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pack(tmp_path_factory.mktemp("pack") / "pack.h5")


@pytest.fixture(scope="module")
def features(pack: Path) -> Mapping[str, Path]:
    """Written by hand, not by the stage: shift, then flip, then the frozen layers in evaluation mode."""
    reader, found = PackReader(pack), {}
    network = ScoreNetwork(build_network(MODEL, 0, "stage1"), reader.geometry.starts).eval()
    for index, clip in enumerate(reader.labels.clip_id):
        made = []
        for flip, shift in VERSIONS:
            frames = reader.read(index).frames[shifted_times(reader.geometry.length, shift)]
            seen = torch.from_numpy(np.ascontiguousarray(frames[:, :, ::-1] if flip else frames))
            with torch.no_grad():
                made.append(network.features(seen[None])[0].numpy())
        found[clip] = pack.with_name(f"{clip}.h5")
        write_features(found[clip], VERSIONS, iter(made))
    return found


def run(
    pack: Path,
    workdir: Path,
    features: Mapping[str, Path] | None,
    labels: StepLabels | None = None,
    **changes: Any,
) -> TrainResult:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = TrainConfig.model_validate(ON_CUT.model_dump() | changes)
        return train(pack, MODEL, config, workdir, features=features, steps=labels)
    finally:
        torch.set_num_threads(threads)


def same(one: TrainResult, other: TrainResult) -> None:
    losses = [[row["train/loss"] for row in result.history] for result in (one, other)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for name, values in one.last.items():
        np.testing.assert_allclose(values, other.last[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_features_give_what_pixels_give_and_fewer_checkpoints(
    pack: Path, features: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    save = DurableCheckpoints._save

    def counted(self: DurableCheckpoints, trainer: Any, batches: int) -> None:
        saved.append(Path(trainer.default_root_dir).name)
        save(self, trainer, batches)

    monkeypatch.setattr(DurableCheckpoints, "_save", counted)
    on_features = run(pack, tmp_path / "features", features)
    same(on_features, run(pack, tmp_path / "pixels", None))
    monkeypatch.setattr(trainer, "SECONDS_APART", 0.0)
    every = run(pack, tmp_path / "every", features)
    assert all(np.array_equal(values, every.last[name]) for name, values in on_features.last.items())
    counts = {name: saved.count(name) for name in saved}
    assert counts["features"] == 1  # the end, all before it being younger than the shortest time apart
    assert counts["every"] == counts["pixels"] > on_features.history[-1]["epoch"] + 1


def test_a_training_on_features_resumes_to_the_same_weights(
    pack: Path, features: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SECONDS_APART", 0.0)
    whole = run(pack, tmp_path / "whole", features)
    (tmp_path / "cut").mkdir()

    def stop(row: Any) -> None:
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(BaseException):  # noqa: B017, PT011 (Lightning turns it into SystemExit or passes it on)
        train(pack, MODEL, ON_CUT, tmp_path / "cut", stop, features=features)
    again = run(pack, tmp_path / "cut", features)
    assert again.resumed is not None
    assert all(np.array_equal(values, again.last[name]) for name, values in whole.last.items())


def labelled(pack: Path) -> StepLabels:
    """Two steps that change at another frame in every clip; every third clip has none."""
    reader = PackReader(pack)
    length = reader.geometry.length
    kinds = [(np.arange(length) >= 6 + index % 9).astype(np.int64) for index in range(len(reader))]
    return StepLabels(("entry", "flight"), tuple(one if index % 3 else one[:0] for index, one in enumerate(kinds)))


def test_steps_are_learnt_on_features_as_on_pixels_and_resumed_to_the_bit(
    pack: Path, features: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SECONDS_APART", 0.0)
    steps = labelled(pack)
    whole = run(pack, tmp_path / "whole", features, steps, **WEIGHT)
    assert whole.last["step_head.weight"].shape == (2, 16)
    assert set(whole.best) == set(whole.last)
    same(whole, run(pack, tmp_path / "pixels", None, steps, **WEIGHT))
    without = run(pack, tmp_path / "without", features)
    assert set(whole.last) - set(without.last) == {"step_head.weight", "step_head.bias"}
    assert not np.allclose(whole.last["backbone.linear.weight"], without.last["backbone.linear.weight"], atol=1e-4)

    def stop(row: Any) -> None:
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    config = TrainConfig.model_validate(ON_CUT.model_dump() | WEIGHT)
    (tmp_path / "cut").mkdir()
    with pytest.raises(BaseException):  # noqa: B017, PT011 (as above)
        train(pack, MODEL, config, tmp_path / "cut", stop, features=features, steps=steps)
    again = run(pack, tmp_path / "cut", features, steps, **WEIGHT)
    assert again.resumed is not None
    for one, other in ((whole.last, again.last), (whole.best, again.best)):
        assert all(np.array_equal(values, other[name]) for name, values in one.items())
