"""From a batch of packed clips to scores in points."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_catalog.pack.file import PackReader
from data_catalog.pack.loader import Batch
from models.tsanet import TSANet, TSANetOutput
from tasks.training.config import ModelConfig, TrainConfig
from tasks.training.targets import score_scale


class ClipScorer(nn.Module):
    """From a batch as the loader gives it to scores in points: gathers segments, normalises colours, decodes.

    Raises:
        ValueError: when the pack was made for another network.
    """

    def __init__(self, network: TSANet, reader: PackReader, model: ModelConfig, config: TrainConfig) -> None:
        super().__init__()
        _check_fit(network, reader)
        self.network = network
        self._judged = model.head == "musdl"
        self.classification = model.head == "classification"
        labels = reader.labels
        self._scale = score_scale(labels, config.score_range, config.difficulty)
        g = reader.geometry
        times = torch.tensor(g.starts)[:, None] + torch.arange(g.segment_length)
        net = network.backbone
        self.register_buffer("times", times, persistent=False)
        self.register_buffer("mean", torch.tensor(net.mean) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(net.std) * 255, persistent=False)
        targets = labels.label if self.classification else self._scale.shares(labels.score) * 100
        self.register_buffer("targets", torch.tensor(targets, dtype=torch.float32), persistent=False)
        self.truth = labels.label if self.classification else labels.score

    def video(self, frames: Tensor) -> Tensor:
        """(B, L, S, S, 3) uint8 → (B, N, 3, 16, S, S) float32, normalised, channels last in memory."""
        times = cast(Tensor, self.times)
        segments = frames[:, times]  # (B, N, 16, S, S, 3)
        normal = segments.float().sub_(cast(Tensor, self.mean)).div_(cast(Tensor, self.std))
        return normal.permute(0, 1, 5, 2, 3, 4)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Scalar loss of the network's raw output."""
        target = batch["judges"] if self._judged else cast(Tensor, self.targets)[batch["index"]]
        return cast(Tensor, self.network.head.loss(output.float(), target, batch["difficulty"]))  # type: ignore[operator]

    def points(self, output: Tensor, batch: Batch) -> NDArray[np.float64]:
        """Raw output (B, …) or of segments (B, N, …) → score points or probabilities (B,) or (B, N) float64."""
        difficulty = batch["difficulty"]
        head = self.network.head
        per_segment = output.dim() > self._raw_dims
        decoded = head.decode(output.float(), difficulty[:, None] if per_segment else difficulty)  # type: ignore[operator]
        values = decoded.double().cpu().numpy()
        if self.classification or self._judged:
            return cast(NDArray[np.float64], values)
        return self._scale.points(values / 100, batch["index"].cpu().numpy())

    @property
    def _raw_dims(self) -> int:
        """Axes of the head's raw output of one batch."""
        if self._judged:
            return 3
        return 2 if hasattr(self.network.head, "bins") else 1

    def predict(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points of the clips (B,) and of their segments (B, N)."""
        result = self.network(self.video(batch["frames"]), batch["mask"], return_segments=True)
        assert isinstance(result, TSANetOutput)
        assert result.segments is not None
        return self.points(result.output, batch), self.points(result.segments, batch)


def _check_fit(network: TSANet, reader: PackReader) -> None:
    net, g = network.backbone, reader.geometry
    for what, found, wanted, remedy in (
        ("frames of", g.input_size, net.input_size, "pack.input_size"),
        ("a mask grid of", tuple(g.grid), tuple(net.grid), "masks.grid"),
        ("segments of", g.segment_length, net.frames, "masks.segment_length"),
        ("a mask stride of", g.stride, net.stride_t, "masks.stride"),
    ):
        if found != wanted:
            raise ValueError(
                f"the pack {reader.path} holds {what} {found}, the network takes {wanted}; set {remedy} to {wanted}."
            )
