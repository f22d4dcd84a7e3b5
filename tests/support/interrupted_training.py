"""Trainings that are killed or stopped, and whether what was resumed is the same as what nobody interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.train import TrainResult, train
from tasks.training.config import EpochRow, ModelConfig, TrainConfig
from tests.support import REPO, tiny_training


def assert_same(found: TrainResult, wanted: TrainResult) -> None:
    """Every metric of every epoch and every weight, to the bit."""
    assert found.history == wanted.history
    assert found.best_epoch == wanted.best_epoch
    for name in wanted.last:
        np.testing.assert_array_equal(found.last[name], wanted.last[name], err_msg=name)
        np.testing.assert_array_equal(found.best[name], wanted.best[name], err_msg=name)


def train_and_kill(pack: Path, workdir: Path, kill_at: int, *changes: str) -> None:
    """Real training in a real process that gets a real SIGKILL after `kill_at` batches (4 a whole epoch)."""
    program = Path(tiny_training.__file__)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    command = [sys.executable, str(program), str(pack), str(workdir), str(kill_at), *changes]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


class Stop(Exception):
    """Ends a training from within."""


def train_and_stop(pack: Path, workdir: Path, epoch: int, model: ModelConfig, config: TrainConfig) -> None:
    """Train until this epoch ends, and raise then."""

    def stop(row: EpochRow) -> None:
        if row["epoch"] == epoch:
            raise Stop

    with pytest.raises(Stop):
        train(pack, model, config, workdir, on_epoch=stop)
