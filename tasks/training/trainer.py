"""Lightning's trainer, set up as a training configuration says."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_catalog.memory import kept_memory
from tasks.training.config import TrainConfig
from tasks.training.loggers import build_loggers, check_loggers, close_loggers

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from tasks.training.module import TubeModule

SECONDS_APART = 30.0
"""Between two checkpoints of a training on features, whose epochs take less time than writing one."""
NO_DETERMINISTIC_FORM = "does not have a deterministic implementation"
"""In torch's message about an operation that `train.deterministic` can't be had with."""


def fit(
    module: TubeModule, config: TrainConfig, workdir: Path, checkpoint: Path | None, gpu: int | None = None
) -> None:
    """Train in this process, or in this process's share of a distributed run, until the last epoch.

    Args:
        workdir: holds `checkpoints/` and `logs/`.
        checkpoint: where to resume.
        gpu: number of the only GPU to be used.

    Raises:
        ValueError: an option that this machine doesn't have.
    """
    import torch

    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        with kept_memory(), _quiet_lightning():
            trainer = _trainer(config, workdir, gpu, SECONDS_APART if module.on_features else 0.0)
            if config.compile:
                module.network.compile()
            try:
                trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
            finally:
                close_loggers(trainer.loggers, failed=sys.exc_info()[0] is not None)
    except RuntimeError as exc:
        if NO_DETERMINISTIC_FORM in str(exc):
            what = str(exc).partition(NO_DETERMINISTIC_FORM)[0].strip()
            raise ValueError(
                f"train.deterministic can't be had on this device: torch has no deterministic form of {what}; "
                "set engine.device to cpu, or train.deterministic to false."
            ) from exc
        raise
    finally:
        torch.use_deterministic_algorithms(deterministic)  # the setting is the whole process's


def check_machine(config: TrainConfig) -> None:
    """Say what of the options this machine can't do, before the training begins. Raises ValueError."""
    import torch

    check_loggers(config.loggers)
    gpu = config.accelerator == "gpu" or (config.accelerator == "auto" and torch.cuda.is_available())
    if gpu and config.devices > torch.cuda.device_count():
        raise ValueError(f"train.devices is {config.devices}, but this machine has {torch.cuda.device_count()} GPUs.")
    if config.sync_batchnorm and config.devices > 1 and not gpu:
        raise ValueError(
            "train.sync_batchnorm needs GPUs: torch synchronises no BatchNorm on CPUs; set it to false, or "
            "train.freeze_batchnorm to true."
        )
    if config.precision == "16-mixed" and not gpu:
        raise ValueError("train.precision 16-mixed needs a GPU; on a CPU take bf16-mixed or 32-true.")


def _trainer(config: TrainConfig, workdir: Path, gpu: int | None, apart: float) -> Trainer:
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.pytorch import Callback, Trainer

    from tasks.training.averaging import MovingAverage
    from tasks.training.checkpoints import DurableCheckpoints

    # Gradients that are still being accumulated are in no checkpoint: save between two optimiser steps only.
    every = -(-config.checkpoint_steps // config.accumulate) * config.accumulate
    callbacks: list[Callback] = [DurableCheckpoints(workdir / "checkpoints", every, apart)]
    if config.ema is not None:
        callbacks.append(MovingAverage(config.ema))
    several = config.devices > 1
    distributed: dict[str, Any] = {
        "strategy": "ddp" if config.strategy == "auto" else config.strategy,
        # The processes are ours; a cluster's environment variables mean the flow's process, not these.
        "plugins": [LightningEnvironment()],
    }
    return Trainer(
        max_epochs=config.epochs,
        accelerator=config.accelerator,
        devices=config.devices if several or gpu is None else [gpu],
        precision=config.precision,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.clip_gradient,
        sync_batchnorm=config.sync_batchnorm,
        deterministic=config.deterministic,
        callbacks=callbacks,
        logger=build_loggers(config.loggers, workdir) if is_first_process() else False,
        default_root_dir=workdir,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        use_distributed_sampler=False,
        **(distributed if several else {}),
    )


def is_first_process() -> bool:
    """Whether this is the only process of a training, or the one of several that writes and reports."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """No banners and tips; what matters is reported by us."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
