"""Metrics reach every logger for real, and a training that resumes continues the same run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tasks.train import train
from tests.support.interrupted_training import train_and_stop
from tests.support.tiny_training import CONFIG, MODEL

pytestmark = pytest.mark.usefixtures("one_thread")


def test_tensorboard_has_every_epoch(pack: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train(pack, MODEL, CONFIG.model_copy(update={"loggers": ("tensorboard",)}), tmp_path)
    events = EventAccumulator(str(tmp_path / "logs" / "tensorboard"))
    events.Reload()
    found = [event.value for event in events.Scalars("test/spearman")]
    assert found == pytest.approx([row["test/spearman"] for row in result.history], abs=1e-6)
    assert "hp_metric" not in events.Tags()["scalars"]


def test_mlflow_writes_one_run_to_a_local_file(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="needs mlflow: pip install 'tubeflow[loggers]'")
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = CONFIG.model_copy(update={"loggers": ("mlflow",)})
    train_and_stop(pack, tmp_path, 1, MODEL, config)
    result = train(pack, MODEL, config, tmp_path)
    assert result.resumed is not None
    client = MlflowClient(f"sqlite:///{tmp_path / 'logs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tubeflow")
    (run,) = client.search_runs([experiment.experiment_id])
    history = [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, "test/spearman")]
    # The epoch at whose end it was killed was computed again, to the same number.
    assert sorted(set(history)) == [(row["epoch"], row["test/spearman"]) for row in result.history]
    assert len(history) == len(result.history) + 1
    assert run.data.params["train/lr"] == str(CONFIG.lr)
    assert run.info.status == "FINISHED"


def test_weights_and_biases_writes_offline(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="needs wandb: pip install 'tubeflow[loggers]'")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("HOME", str(tmp_path))  # nobody's login
    result = train(pack, MODEL, CONFIG.model_copy(update={"loggers": ("wandb",), "epochs": 2}), tmp_path)
    (file,) = (tmp_path / "logs" / "wandb").glob("offline-run-*/run-*.wandb")
    assert file.read_bytes().count(b"test/spearman") >= len(result.history)
    assert wandb.run is None  # or the next training of this process would write to it


@pytest.mark.parametrize(
    ("name", "extra"), [("tensorboard", "tensorboard"), ("mlflow", "loggers"), ("wandb", "loggers")]
)
def test_a_missing_package_is_one_sentence(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("sys.path", [path for path in sys.path if "site-packages" not in path])
    monkeypatch.setattr("sys.path_importer_cache", {})
    with pytest.raises(ValueError, match=rf"'{name}', but the package {name} isn't installed; pip install '") as told:
        train(pack, MODEL, CONFIG.model_copy(update={"loggers": ("csv", name)}), tmp_path)
    assert f"'tubeflow[{extra}]'" in str(told.value)
    assert "\n" not in str(told.value)
