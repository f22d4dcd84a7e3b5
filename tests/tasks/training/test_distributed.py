"""Training on two processes: the same as on one, safe from any thread or process, killed and resumed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_catalog.pack.file import PackReader
from data_catalog.pack.loader import ClipLoader
from tasks.engine.progress import Progress, listening
from tasks.train import TrainResult, train
from tasks.training.checkpoints import find_checkpoint
from tasks.training.config import EpochRow, ModelConfig, TrainConfig
from tasks.training.distributed import LOG
from tests.support.interrupted_training import train_and_kill
from tests.support.tiny_training import CONFIG, MODEL

pytestmark = pytest.mark.usefixtures("one_thread")
# Whose steps depend on the whole batch alone: BatchNorm's statistics and dropout are each process's own.
PLAIN = MODEL.model_copy(update={"backbone": "tiny_without_chance"})
ALONE = CONFIG.model_copy(update={"accelerator": "cpu", "freeze_batchnorm": True, "epochs": 3, "flip": 0.5})
TWO = ALONE.model_copy(update={"devices": 2})


@pytest.fixture(scope="module")
def alone(pack: Path, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(pack, PLAIN, ALONE, tmp_path_factory.mktemp("alone"))


def values(result: TrainResult) -> list[list[float]]:
    return [[number for number in row.values() if number is not None] for row in result.history]


def test_two_processes_train_like_one(pack: Path, alone: TrainResult, tmp_path: Path) -> None:
    """14 clips in batches of 4: the last one has 2. From a thread, as a task runner calls it."""
    rows: list[EpochRow] = []
    heard: list[Progress] = []
    with ThreadPoolExecutor(1) as thread, listening(heard.append):
        together = thread.submit(train, pack, PLAIN, TWO, tmp_path, rows.append).result()
    assert rows == list(together.history)
    assert [row.keys() for row in together.history] == [row.keys() for row in alone.history]
    assert together.best_epoch == alone.best_epoch
    np.testing.assert_allclose(values(together), values(alone), rtol=1e-4, atol=1e-6)
    for name, array in alone.last.items():
        np.testing.assert_allclose(together.last[name], array, rtol=1e-3, atol=1e-5, err_msg=name)
    assert (heard[-1].stage, heard[-1].done, heard[-1].total) == ("train", 12, 12)


@pytest.mark.slow
@pytest.mark.parametrize("norm", [None, True])
def test_a_batch_that_cannot_be_shared_evenly_is_weighted(norm: bool | None, pack: Path, tmp_path: Path) -> None:
    """13 clips: the last batch has one, which one process gets while the other's filler has no weight.

    With a norm over the tubes of the batch its statistics are those of the one clip, too.
    """
    model = PLAIN.model_copy(update={"attention_norm": norm, "attention_gain": norm and 1.0})
    config = ALONE.model_copy(update={"epochs": 1, "validation": 0.07})
    one = train(pack, model, config, tmp_path / "one")
    two = train(pack, model, config.model_copy(update={"devices": 2}), tmp_path / "two")
    np.testing.assert_allclose(values(two), values(one), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("clips", "world_size"), [(14, 2), (13, 2), (9, 4), (7, 4), (4, 4)])
def test_every_clip_counts_once(pack: Path, clips: int, world_size: int) -> None:
    reader = PackReader(pack)
    loaders = [
        ClipLoader(reader, range(clips), batch_size=4, shuffle=True, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    counted: list[int] = []
    for number, shares in enumerate(zip(*loaders, strict=True)):
        weights = []
        for loader, share in zip(loaders, shares, strict=True):
            mine, mean = loader.counting(number)
            counted += share["index"][:mine].tolist()
            weights += [1 / (mean * world_size)] * mine
        assert sum(weights) == pytest.approx(1)  # the mean over processes is the mean over the batch's clips
    assert sorted(counted) == list(range(clips))


def processes_of(workdir: Path) -> list[int]:
    """Processes whose command line names this training."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"tasks.training.worker" in words and str(workdir).encode() in words:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_killed_it_leaves_no_process_and_goes_on_the_same(pack: Path, tmp_path: Path) -> None:
    changes = ["devices=2", "accelerator=cpu", "epochs=2"]
    config = CONFIG.model_copy(update={"devices": 2, "accelerator": "cpu", "epochs": 2})
    whole = train(pack, MODEL, config, tmp_path / "whole")
    workdir = tmp_path / "killed"
    train_and_kill(pack, workdir, 3, *changes)
    deadline = time.monotonic() + 10
    while processes_of(workdir) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(workdir) == []
    found = find_checkpoint(workdir / "checkpoints").path
    assert found is not None
    result = train(pack, MODEL, config, workdir)
    assert result.resumed == found.name
    assert result.history == whole.history
    for name in whole.last:
        np.testing.assert_array_equal(result.last[name], whole.last[name], err_msg=name)
        np.testing.assert_array_equal(result.best[name], whole.best[name], err_msg=name)


@pytest.mark.slow
def test_a_further_process_that_dies_ends_the_training_with_a_sentence(pack: Path, tmp_path: Path) -> None:
    config = TWO.model_copy(update={"epochs": 10_000})

    def kill_the_second() -> None:
        first = min(processes_of(tmp_path))
        os.kill(max(pid for pid in processes_of(tmp_path) if pid != first), signal.SIGKILL)

    killer = threading.Timer(0, kill_the_second)

    def begin(row: EpochRow) -> None:
        if row["epoch"] == 0:
            killer.start()

    # Which it is depends on who notices first: Lightning, or the first process, which waits for the second's gradients.
    with pytest.raises(RuntimeError, match=rf"ended with status -9; .*{LOG}|[Cc]onnection"):
        train(pack, PLAIN, config, tmp_path, on_epoch=begin)
    assert processes_of(tmp_path) == []


def _train(pack: Path, workdir: Path, config: TrainConfig, model: ModelConfig, results: Any) -> None:
    results.put(train(pack, model, config, workdir).history[-1])


@pytest.mark.slow
def test_it_starts_from_a_daemonic_worker_too(pack: Path, alone: TrainResult, tmp_path: Path) -> None:
    """Such as Dask's, whose processes may have no children by `multiprocessing`."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    worker = context.Process(target=_train, args=(pack, tmp_path, TWO, PLAIN, results), daemon=True)
    worker.start()
    row = results.get(timeout=600)
    worker.join()
    assert row["test/mse"] == pytest.approx(alone.history[-1]["test/mse"], rel=1e-4)


def test_what_this_machine_cannot_do_is_said(pack: Path, tmp_path: Path) -> None:
    def fails(**changes: Any) -> str:
        with pytest.raises(ValueError, match=r"\.$") as told:
            train(pack, MODEL, CONFIG.model_copy(update=changes), tmp_path)
        assert not (tmp_path / "checkpoints").exists()
        return str(told.value)

    assert "train.sync_batchnorm needs GPUs" in fails(devices=2, sync_batchnorm=True, accelerator="cpu")
    assert "train.devices is 64, but this machine has" in fails(devices=64, accelerator="gpu")
    assert "bf16-mixed" in fails(precision="16-mixed", accelerator="cpu")


@pytest.mark.slow
def test_what_the_processes_meet_comes_back(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(OSError, match="logs"):
        train(pack, PLAIN, TWO.model_copy(update={"loggers": ("csv",)}), tmp_path)
