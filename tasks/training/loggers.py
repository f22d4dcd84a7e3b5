"""Where the metrics of each epoch go besides the artifact: CSV, TensorBoard, MLflow, Weights & Biases.

A training that was killed and resumes writes to the same run of MLflow or Weights & Biases.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

EXTRAS = {"tensorboard": "tensorboard", "mlflow": "loggers", "wandb": "loggers"}
"""Name of a logger, which is also that of the package it imports → the extra of Tubeflow that brings it."""
PROJECT = "tubeflow"


def check_loggers(names: Sequence[str]) -> None:
    """Say before the training begins which logger can't be used. Raises ValueError."""
    for name in names:
        extra = EXTRAS.get(name)
        if extra is not None and importlib.util.find_spec(name) is None:
            raise ValueError(
                f"train.loggers has '{name}', but the package {name} isn't installed; pip install "
                f"'tubeflow[{extra}]', or leave it out."
            )


def build_loggers(names: Sequence[str], workdir: Path) -> list[Logger]:
    """Loggers that write below `workdir/logs`, unless the environment names a server.

    MLflow: MLFLOW_TRACKING_URI, else an SQLite file. Weights & Biases: WANDB_MODE, and the key of WANDB_API_KEY or
    `wandb login`; without a key, offline (`wandb sync` sends it later).

    Raises:
        ValueError: see `check_loggers`.
    """
    check_loggers(names)
    folder = workdir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return [_build(name, folder, _name(workdir)) for name in names]


def _name(workdir: Path) -> str:
    """Of the run on a server: short, and the same whenever this training resumes."""
    return hashlib.blake2b(workdir.name.encode(), digest_size=5).hexdigest()


def _build(name: str, folder: Path, run: str) -> Logger:
    from lightning.pytorch import loggers

    if name == "csv":
        return loggers.CSVLogger(folder, name="csv", version="")
    if name == "tensorboard":
        return loggers.TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False)
    if name == "mlflow":
        return _mlflow(folder, run)
    return _wandb(folder, run)


def _mlflow(folder: Path, run: str) -> Logger:
    from lightning.pytorch.loggers import MLFlowLogger

    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"
    remembered = folder / "mlflow_run"  # MLflow chooses the id itself
    known = remembered.read_text().strip() if remembered.exists() else None
    artifacts = (folder / "mlflow").resolve().as_uri()
    logger = MLFlowLogger(PROJECT, run_name=run, tracking_uri=uri, run_id=known, artifact_location=artifacts)
    remembered.write_text(str(logger.run_id))
    return logger


def _wandb(folder: Path, run: str) -> Logger:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    more: dict[str, Any] = {}
    if "WANDB_MODE" not in os.environ and not wandb.login(prompt=False):  # has no key, and asks for none
        more["mode"] = "offline"  # Lightning's own `offline` sets WANDB_MODE for the rest of the process
    return WandbLogger(project=PROJECT, name=run, id=run, save_dir=folder, resume="allow", **more)


def close_loggers(loggers: Sequence[Logger], failed: bool) -> None:
    """End what the loggers leave open: else this process's next training would write to the same W&B run."""
    from lightning.pytorch.loggers import WandbLogger

    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=int(failed))
