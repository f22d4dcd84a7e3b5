"""Trains athlete-n, the first-frame detector, on pictures that are made while it learns.

The early part of its backbone keeps what ImageNet taught it: what is made differs from photographs most in edges and
textures, and those are not learnt from it. Runs on a CPU (bfloat16, one thread is enough) and on a GPU alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data_catalog.synthetic.composites.scenes import Scene
from models.detectors.athlete_network import MEAN_RGB, STD_RGB, STRIDE, build_network, save_weights, start_from_imagenet

Scenes = Callable[[np.random.Generator, tuple[int, int]], Scene]
FROZEN_BLOCKS = 7   # of the backbone, up to 1/8 of the size


class DetectorTraining(BaseModel):
    """How long and how. The defaults are the recipe of the weights that come with Tubeflow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(40_000, ge=1, description="Pictures that are learnt from.")
    minutes: float | None = Field(
        None,
        gt=0,
        description="Stop after this number of minutes at the latest, the learning rate fallen as at the end; None "
        "sets no limit.",
    )
    batch: int = Field(16, ge=1, description="Pictures of a step.")
    width: int = Field(320, ge=STRIDE, multiple_of=STRIDE, description="Of the pictures, in pixels.")
    height: int = Field(256, ge=STRIDE, multiple_of=STRIDE, description="Of the pictures, in pixels.")
    lr: float = Field(2e-3, gt=0, description="Of neck and head; the backbone learns with a quarter of it.")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's weight decay.")
    seed: int = Field(0, ge=0, description="Of the network's beginning and of the pictures.")


@dataclass(frozen=True)
class DetectorStep:
    """Where a training is: pictures seen, share of the way, mean losses of late (box, class, distribution)."""

    images: int
    share: float
    losses: tuple[float, float, float]


def train_detector(
    scenes: Scenes,
    imagenet: Path | None,
    out: Path,
    config: DetectorTraining,
    device: str = "cpu",
    progress: Callable[[DetectorStep], None] | None = None,
    checkpoint_minutes: float = 5.0,
) -> None:
    """Train and write `out`; on the way, what there is so far every few minutes.

    Args:
        scenes: makes a picture of a size.
        imagenet: torchvision's MobileNetV2 weights; without them the network starts from random numbers.
        out: the weights file, replaced when done.
        config: see `DetectorTraining`.
        device: "cpu" or "cuda[:n]".
        progress: called after every step.
        checkpoint_minutes: how often `out` is written on the way.

    Raises:
        ValueError: `imagenet` holds other weights.
        OSError: `out` cannot be written.
    """
    import torch

    torch.manual_seed(config.seed)
    network = build_network()
    if imagenet is not None:
        start_from_imagenet(network, imagenet)
    network = network.to(device, memory_format=torch.channels_last)
    learner = _Learner(network, config, frozen=FROZEN_BLOCKS if imagenet is not None else 0)
    rng = np.random.default_rng(config.seed)
    start = saved = time.monotonic()
    steps = math.ceil(config.images / config.batch)
    late = np.zeros(3)
    for number in range(steps):
        spent = (time.monotonic() - start) / 60
        share = max(number / steps, spent / config.minutes if config.minutes else 0.0)
        if share >= 1:
            break
        batch = [scenes(rng, (config.width, config.height)) for _ in range(config.batch)]
        losses = learner.step(batch, share, number, device)
        late = losses if number == 0 else 0.95 * late + 0.05 * losses
        if progress is not None:
            progress(DetectorStep((number + 1) * config.batch, share, (float(late[0]), float(late[1]), float(late[2]))))
        if time.monotonic() - saved > 60 * checkpoint_minutes:
            save_weights(learner.average, out)
            saved = time.monotonic()
    save_weights(learner.average, out)


class _Learner:
    """Network, optimiser and the running average of the weights, which is what is kept."""

    def __init__(self, network: Any, config: DetectorTraining, frozen: int) -> None:
        import copy

        import torch
        from ultralytics.cfg import get_cfg

        self.network = network
        network.args = get_cfg()
        self.average = copy.deepcopy(network).eval()
        self._config = config
        self._blocks = network.model[0].m
        self._frozen = frozen
        for block in self._blocks[:frozen]:
            block.requires_grad_(False)
        backbone = [p for p in network.model[0].parameters() if p.requires_grad]
        others = [p for layer in network.model[1:] for p in layer.parameters() if p.requires_grad]
        self._rates = (0.25, 1.0) if frozen else (1.0, 1.0)
        self._optimiser = torch.optim.AdamW(
            [{"params": backbone}, {"params": others}], lr=config.lr, weight_decay=config.weight_decay
        )
        network.criterion = network.init_criterion()
        self._mean = torch.tensor(MEAN_RGB).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(STD_RGB).view(1, 3, 1, 1) * 255

    def step(self, scenes: list[Scene], share: float, number: int, device: str) -> Any:
        """One step; returns (3,) box, class and distribution loss a picture."""
        import torch

        self.network.train()
        self._blocks[: self._frozen].eval()   # their statistics stay ImageNet's too
        rate = self._config.lr * min(1.0, (number + 1) / 50) * (0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2)
        for group, factor in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        batch = self._batch(scenes, device)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            predictions = self.network(batch["img"])
        loss, parts = self.network.loss(batch, _to_float(predictions))
        self._optimiser.zero_grad(set_to_none=True)
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.grad is not None], 10.0)
        self._optimiser.step()
        self._follow(number)
        return np.asarray([float(parts[name]) for name in ("box_loss", "cls_loss", "dfl_loss")])

    def _batch(self, scenes: list[Scene], device: str) -> dict[str, Any]:
        import torch

        pixels = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2).float()
        images = ((pixels - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
        size = np.tile([self._config.width, self._config.height], 2)
        corners = np.concatenate([scene.boxes for scene in scenes]).astype(np.float32) / size
        boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
        index = np.repeat(np.arange(len(scenes)), [len(scene.boxes) for scene in scenes])
        return {
            "img": images.to(device),
            "batch_idx": torch.from_numpy(index).float().to(device),
            "cls": torch.zeros(len(boxes), 1, device=device),
            "bboxes": torch.from_numpy(boxes).float().to(device),
        }

    def _follow(self, number: int) -> None:
        """The average forgets the first, bad weights quickly and later ones slowly."""
        import torch

        decay = 0.998 * (1 - math.exp(-(number + 1) / 100))
        with torch.no_grad():
            own = self.network.state_dict()
            for name, value in self.average.state_dict().items():
                if value.is_floating_point():
                    value.mul_(decay).add_(own[name].detach(), alpha=1 - decay)
                else:
                    value.copy_(own[name])


def _to_float(predictions: Any) -> Any:
    if isinstance(predictions, dict):
        return {name: _to_float(value) for name, value in predictions.items()}
    if isinstance(predictions, (list, tuple)):
        return [_to_float(value) for value in predictions]
    return predictions.float() if predictions.is_floating_point() else predictions
