"""What stands around a network when a clip is scored: the one code for training, evaluation, prediction and export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from models.heads import ComparingHead, Head, SpreadHead
from models.tsanet import TSANet, TSANetOutput


class ScoreNetwork(nn.Module):
    """A network with its way in and out: gathers segments, normalises colours, decodes the head's output.

    Letters as in `models.tsanet`: B clips, L frames, N segments, T steps, S input side.

    Args:
        network: takes segments of `network.backbone.frames` frames.
        starts: first frame of each segment, (N,).
    """

    def __init__(self, network: TSANet, starts: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        net = network.backbone
        times = torch.tensor(starts)[:, None] + torch.arange(net.frames)
        self.register_buffer("times", times, persistent=False)
        self.register_buffer("mean", torch.tensor(net.mean) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(net.std) * 255, persistent=False)

    def video(self, frames: Tensor) -> Tensor:
        """(B, L, S, S, 3) uint8 RGB → (B, N, 3, 16, S, S) float32, normalised, channels last in memory."""
        segments = frames[:, cast(Tensor, self.times)]  # (B, N, 16, S, S, 3)
        normal = segments.float().sub_(cast(Tensor, self.mean)).div_(cast(Tensor, self.std))
        return normal.permute(0, 1, 5, 2, 3, 4)

    def outputs(self, frames: Tensor, mask: Tensor) -> TSANetOutput:
        """The head's raw outputs of clips and of their segments.

        Args:
            frames: (B, L, S, S, 3) uint8 RGB.
            mask: (B, N, T, Hf, Wf) bool, the tube mask.
        """
        return cast(TSANetOutput, self.network(self.video(frames), mask, return_segments=True))

    def features(self, frames: Tensor) -> Tensor:
        """What the network's frozen part makes of clips (`TSANet.features`), float16.

        Args:
            frames: (B, L, S, S, 3) uint8 RGB.
        """
        return self.network.features(self.video(frames))

    def decode(
        self, raw: Tensor, difficulty: Tensor, per_segment: bool = False, action: Tensor | None = None
    ) -> Tensor:
        """The head's raw output → what people read, before the range of scores is applied.

        Args:
            raw: (B, …), or of segments (B, N, …).
            difficulty: (B,) float32.
            per_segment: whether `raw` is of segments.
            action: (B,) int64, of a head that compares with others.

        Returns:
            (B,) or (B, N) float32: hundredths of the range, points (judges) or probabilities (classification).
        """
        return decoded(self.network.head, raw, difficulty, per_segment, action)


def decoded(
    head: Head, raw: Tensor, difficulty: Tensor, per_segment: bool, action: Tensor | None = None
) -> Tensor:
    """What `ScoreNetwork.decode` says, for a head by itself: raw (B, …) or (B, N, …) float → (B,) or (B, N) float32."""
    factor = difficulty[:, None] if per_segment else difficulty
    if isinstance(head, ComparingHead):
        return head.decode(raw.float(), factor, action[:, None] if per_segment and action is not None else action)
    return head.decode(raw.float(), factor)


def decoded_spread(head: Head, raw: Tensor, difficulty: Tensor, otherwise: float) -> Tensor:
    """How uncertain a head says its scores are, in the unit of `decoded`: raw (B, …) float → (B,) float32.

    Args:
        head: the head.
        raw: its raw output.
        difficulty: (B,) float32.
        otherwise: the spread of all clips where the head says nothing; a calibration measures it.
    """
    if isinstance(head, SpreadHead):
        return head.spread(raw.float(), difficulty)
    return difficulty.new_full(raw.shape[:1], otherwise)
