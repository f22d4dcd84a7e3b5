"""Training on several devices: processes of their own, started from wherever the flow happens to run.

Lightning's DDP starts the other processes by running the program again. A flow's program can't be run again (it may be
the command line, a Prefect worker, a Dask worker), and `multiprocessing`, the alternative, can't be used in a daemonic
worker, imports the caller's `__main__` once more, and reports nothing back. So the flow starts one plain process,
`python -m tasks.training.worker JOB`, which Lightning can run again for every further device. It reports its progress
through a pipe, and ends when the flow's process ends, even by SIGKILL: all its processes read a pipe whose other end
only the flow's process holds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_catalog.json_file import write_json
from models.backbones import BACKBONES
from tasks.engine.progress import report
from tasks.training.config import EpochRow, ModelConfig, TrainConfig

_OF_ANOTHER_RUN = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
LOG = "processes.log"
RECORD = "\x1e"
"""Begins each line of the pipe that says how far a training is; other lines were printed by a library."""


@dataclass(frozen=True)
class TrainJob:
    """What the processes of one training need to know; everything else they read from the pack.

    Attributes:
        pack: file.
        workdir: as for `tasks.train.train`.
        checkpoint: where to resume.
        backbones: the registry of the process that asks, which may know more than ours.
        features: as for `tasks.train.train`.
    """

    pack: Path
    model: ModelConfig
    config: TrainConfig
    workdir: Path
    checkpoint: Path | None
    backbones: Mapping[str, str]
    features: Mapping[str, Path] | None = None

    def write(self, path: Path) -> None:
        """To a JSON file."""
        write_json(
            path,
            {
                "pack": str(self.pack.resolve()),
                "model": self.model.model_dump(mode="json"),
                "config": self.config.model_dump(mode="json"),
                "workdir": str(self.workdir.resolve()),
                "checkpoint": None if self.checkpoint is None else str(self.checkpoint.resolve()),
                "backbones": dict(self.backbones),
                "features": self.features and {clip: str(file.resolve()) for clip, file in self.features.items()},
            },
        )

    @classmethod
    def read(cls, path: Path) -> TrainJob:
        """The inverse of `write`."""
        values = json.loads(path.read_text())
        return cls(
            Path(values["pack"]),
            ModelConfig.model_validate(values["model"]),
            TrainConfig.model_validate(values["config"]),
            Path(values["workdir"]),
            Path(values["checkpoint"]) if values["checkpoint"] else None,
            values["backbones"],
            values["features"] and {clip: Path(file) for clip, file in values["features"].items()},
        )


def fit_in_processes(
    pack: Path,
    model: ModelConfig,
    config: TrainConfig,
    workdir: Path,
    checkpoint: Path | None,
    on_epoch: Callable[[EpochRow], None] | None,
    features: Mapping[str, Path] | None = None,
) -> None:
    """Train on `config.devices` devices until the last epoch; the result is the newest checkpoint.

    Raises:
        OSError, ValueError: as the processes met them.
        RuntimeError: they ended without a word (killed, out of memory); names the log file.
    """
    description = workdir / "processes.json"
    job = TrainJob(pack, model, config, workdir, checkpoint, BACKBONES.targets(), features)
    job.write(description)
    # As multiprocessing does: what this process can import, the others can.
    environment = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_RUN}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with (workdir / LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tasks.training.worker", str(description)],
            stdin=subprocess.PIPE,  # never written to; its end tells them that this process has ended
            stdout=subprocess.PIPE,  # how far the first process is
            stderr=log,
            env=environment,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            problem = None
            for line in process.stdout:
                if line.startswith(RECORD.encode()):
                    problem = _pass_on(json.loads(line[1:]), on_epoch) or problem
                else:
                    log.write(line)
            process.wait()
        finally:
            process.stdin.close()
            process.wait()
            process.stdout.close()
    if problem is not None:
        raise problem
    if process.returncode:
        raise RuntimeError(
            f"the training processes ended with status {process.returncode}; what they said last is in {workdir / LOG}"
        )


def _pass_on(event: Mapping[str, Any], on_epoch: Callable[[EpochRow], None] | None) -> Exception | None:
    """Pass on one message of the first process; returns the exception that it ended with."""
    if "progress" in event:
        report(*event["progress"])
    elif "epoch" in event and on_epoch is not None:
        on_epoch(event["epoch"])
    elif "error" in event:
        kind, text = event["error"]
        return {"OSError": OSError, "ValueError": ValueError}.get(kind, RuntimeError)(text)
    return None
