"""A tiny pack whose score is the athlete's brightness, a tiny real network, and a training that a test can kill.

Run as a program (`python -m tests.support.tiny_training PACK WORKDIR KILL_AT [FIELD=VALUE…]`) it trains in a process of
its own and sends itself SIGKILL after KILL_AT training batches.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from models.backbones import BACKBONES
from models.backbones.split import SplitBackbone
from models.registry import Entry
from tasks.engine.progress import listening
from tasks.masks import MasksConfig, build_masks
from tasks.pack import PackClip, PackConfig, write_pack
from tasks.train import train
from tasks.training.config import ModelConfig, TrainConfig

BACKBONES["tiny"] = Entry("tests.support.tiny_training:build_tiny")
BACKBONES["tiny_without_chance"] = Entry("tests.support.tiny_training:build_tiny_without_chance")
MASKS = MasksConfig(starts=(0, 8), grid=(4, 4), crop=32)
MODEL = ModelConfig(backbone="tiny", attention="tsa", head="regression")
CONFIG = TrainConfig(epochs=4, lr=3e-3, schedule="cosine", checkpoint_steps=2, loggers=())


class TinyBackbone(SplitBackbone):
    """16-pixel input, a 4×4 grid of 4 time steps at the cut, dropout behind it."""

    input_size = 16

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 4, 4)
        self.norm = nn.BatchNorm3d(8)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(8, 16)
        self.settle("conv")

    def stage1_layers(self) -> list[nn.Module]:
        return [self.conv, self.norm]

    def stage1(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))

    def stage2(self, h: Tensor) -> Tensor:
        return torch.relu(self.linear(self.dropout(h.mean(dim=(2, 3, 4)))))


def build_tiny(split: str | None = None, weights: str | Path | None = None) -> TinyBackbone:
    return TinyBackbone()


def build_tiny_without_chance(split: str | None = None, weights: str | Path | None = None) -> TinyBackbone:
    """Without dropout, whose draws differ between one process and two."""
    return TinyBackbone(dropout=0.0)


def tiny_clips(count: int = 20, **changes: Any) -> Iterator[PackClip]:
    """Noise, and in it an athlete whose brightness above the noise is the score; the last 6 clips are the test."""
    rng = np.random.default_rng(0)
    for number in range(count):
        x, bright = rng.uniform(4, 20), rng.uniform(0, 150)
        frames = rng.integers(0, 100, (24, 32, 40, 3), dtype=np.uint8)
        frames[:, 4:28, int(x) : int(x) + 14] += np.uint8(bright)
        quad = np.array([[x, 4], [x + 14, 4], [x + 14, 28], [x, 28]], np.float32)
        tube = build_masks(np.broadcast_to(quad, (1, 24, 4, 2)), (40, 32), MASKS)
        values: dict[str, Any] = {
            "split": "train" if number < count - 6 else "test",
            "action": "diving",
            "score": float(bright),
            "difficulty": 2.0,
            "judges": tuple(np.clip(bright / 15 + np.arange(-3, 4) / 2, 0, 10)),
            "label": float(bright > 75),
        }
        values |= {name: change(number) for name, change in changes.items()}
        yield PackClip(f"c{number}", frames=lambda f=frames: f, coverage=tube["coverage"], mask=tube["mask"], **values)


def tiny_pack(path: Path, **changes: Any) -> Path:
    write_pack(path, tiny_clips(**changes), PackConfig(input_size=16), MASKS)
    return path


def main(pack: str, workdir: str, kill_at: str, *changes: str) -> None:
    values = {name: yaml.safe_load(value) for name, _, value in (change.partition("=") for change in changes)}
    config = TrainConfig.model_validate(CONFIG.model_dump() | values)

    def kill(progress: Any) -> None:
        if progress.done == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    with listening(kill):
        train(Path(pack), MODEL, config, Path(workdir))


if __name__ == "__main__":
    main(*sys.argv[1:])
