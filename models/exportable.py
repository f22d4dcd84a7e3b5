"""A trained network as one module that can leave this program: fixed shapes, no shapes that depend on a mask.

Our attention gathers a tube's positions, whose number differs from video to video; exported programs want one shape.
`dense_attention` computes the same sums over all positions and weighs those outside the tube with zero. That costs
more than the gathered form, and computes the same numbers up to rounding.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention import NonLocal, TubeSelfAttention
from models.attention.positionwise import TubePointwise
from models.attention.tube_norm import TubeNorm, in_evaluation
from models.feature_network import FeatureNetwork
from models.heads import ComparingHead, Head
from models.score_network import ScoreNetwork, decoded, decoded_spread
from models.score_range import to_points
from models.tsanet import TSANet, TSANetOutput


class DenseAttention(nn.Module):
    """A `TubeSelfAttention` or `NonLocal` block in evaluation mode, with static shapes.

    Raises:
        ValueError: the block grows small tubes (`min_positions`), which takes as many steps as the mask demands.
    """

    def __init__(self, block: TubeSelfAttention) -> None:
        super().__init__()
        _refuse_growth(block)
        self.block = block
        self.w_z = block.w_z if block.norm is None else folded(block.w_z, block.norm)
        self.everywhere = isinstance(block, NonLocal)
        self.sub_sample = isinstance(block, NonLocal) and block.sub_sample

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend: x (B, C, T, H, W) float, mask (B, T, H, W) bool → (B, C, T, H, W), as the block returns it."""
        positions = x.flatten(2).transpose(1, 2)  # (B, P, C)
        if mask is None or self.everywhere:
            inside = torch.ones_like(positions[..., :1])
        else:
            inside = mask.flatten(1)[..., None].to(x.dtype)
        update = self._dot(positions, inside) if self.block.affinity == "dot" else self._softmax(x, positions, inside)
        return x + (update * inside).transpose(1, 2).reshape(x.shape)

    def _dot(self, positions: Tensor, inside: Tensor) -> Tensor:
        """Eq. 4-5 with the sum over q taken first: (B, P, C)."""
        block = self.block
        count = inside.sum(dim=1, keepdim=True).clamp(min=1.0)
        moment = (block.phi(positions) * inside).transpose(1, 2) @ block.g(positions) / count
        return cast(Tensor, self.w_z(block.theta(positions) @ moment))

    def _softmax(self, x: Tensor, positions: Tensor, inside: Tensor) -> Tensor:
        """The released form: (B, P, C); rows outside the tube are of no meaning."""
        block = self.block
        keys, values = positions, block.g(positions)
        if self.sub_sample:
            value_map = values.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
            keys, values = (F.max_pool3d(part, (1, 2, 2)).flatten(2).transpose(1, 2) for part in (x, value_map))
        scores = positions @ keys.transpose(1, 2)
        if not self.everywhere:
            # A large finite number: minus infinity would make NaN of a video whose tube is empty.
            scores = scores.masked_fill(inside.transpose(1, 2) == 0, torch.finfo(scores.dtype).min)
        return cast(Tensor, self.w_z(scores.softmax(dim=-1) @ values))


class DensePointwise(nn.Module):
    """A `TubePointwise` block with static shapes: computed for all positions, kept inside of the tube.

    Raises:
        ValueError: the block grows small tubes.
    """

    def __init__(self, block: TubePointwise) -> None:
        super().__init__()
        _refuse_growth(block)
        self.block = block

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features (B, C, T, H, W) float and a tube mask (B, T, H, W) bool → (B, C, T, H, W), as the block returns."""
        update = self.block.w_z(self.block.g(x.movedim(1, -1))).movedim(-1, 1)
        return torch.where(mask[:, None], x + update, x)


def folded(w_z: nn.Linear, norm: nn.BatchNorm1d | TubeNorm) -> nn.Linear:
    """W_z and the norm behind it, in evaluation mode, as one layer (r) → (C)."""
    one = nn.Linear(w_z.in_features, w_z.out_features, dtype=w_z.weight.dtype, device=w_z.weight.device)
    with torch.no_grad():
        scale, shift = in_evaluation(norm)
        one.weight.copy_(w_z.weight * scale[:, None])
        one.bias.copy_(w_z.bias * scale + shift)
    return one


def _refuse_growth(block: nn.Module) -> None:
    if getattr(block, "min_positions", 0):
        raise ValueError(
            "attention with min_positions grows tubes by rings until they are large enough; that loop can't be exported"
        )


def static_form(block: nn.Module) -> nn.Module:
    """A block as one whose shapes don't depend on the mask; itself where that is so already. Raises ValueError."""
    if isinstance(block, TubeSelfAttention):
        return DenseAttention(block)
    if isinstance(block, TubePointwise):
        return DensePointwise(block)
    _refuse_growth(block)
    return block


def dense_copy(network: TSANet) -> TSANet:
    """A copy of a network in evaluation mode whose attention has static shapes. Raises ValueError, see above."""
    dense = copy.deepcopy(network).eval()
    dense.attention = nn.ModuleList([static_form(block) for block in dense.attention])
    if dense.pool is not None:
        _refuse_growth(dense.pool)
    return dense


class InPoints(nn.Module):
    """What a network says, in the points of its data: the way out that every exported model has.

    Attributes:
        score_range, multiplies, spread, pooled: as of `ScoreModel`.
    """

    network: Any
    score_range: tuple[float, float] | None
    multiplies: bool
    spread: bool
    pooled: bool

    def _ask(self, action: str) -> None:
        """Whose exemplars a head that compares asks."""
        head = self.network.head
        number = head.action_numbers([action]) if isinstance(head, ComparingHead) else None
        self.register_buffer("action", number, persistent=False)

    def _said(self, result: TSANetOutput, difficulty: Tensor) -> tuple[Tensor, ...]:
        head, action = cast(Head, self.network.head), cast("Tensor | None", self.action)
        score = self._points(decoded(head, result.output, difficulty, False, action), difficulty)
        segments = decoded(head, cast(Tensor, result.segments), difficulty, True, action)
        found: tuple[Tensor, ...] = (score, self._points(segments, difficulty[:, None]), result.output)
        if self.spread:
            found = (*found, self._spread(result.output, difficulty))
        return (*found, cast(Tensor, result.features).mean(dim=1)) if self.pooled else found

    def _spread(self, raw: Tensor, difficulty: Tensor) -> Tensor:
        head = cast(Head, self.network.head)
        if self.score_range is None:
            return decoded_spread(head, raw, difficulty, 1.0)
        low, high = self.score_range
        said = decoded_spread(head, raw, difficulty, 100.0) / 100 * (high - low)
        return said * difficulty if self.multiplies else said

    def _points(self, shares: Tensor, difficulty: Tensor) -> Tensor:
        if self.score_range is None:
            return shares
        return to_points(shares / 100, *self.score_range, difficulty if self.multiplies else 1.0)


class ScoreModel(ScoreNetwork, InPoints):
    """From frames to a score in points: colours, segments, network, decoding and scale in one module.

    Args:
        network: trained; it is copied.
        starts: first frame of each segment.
        score_range: what the shares 0 and 1 of the output stand for, in points (of execution with `multiplies`);
            None where the head decodes to its own unit (classification, judges).
        multiplies: the score is the share times the clip's degree of difficulty.
        action: whose exemplars a head that compares asks; they are in the network.
        spread: whether it says how uncertain a score is, too.
        pooled: whether it hands out the clip's pooled features, too.
    """

    def __init__(
        self,
        network: TSANet,
        starts: tuple[int, ...],
        score_range: tuple[float, float] | None,
        multiplies: bool = False,
        action: str = "",
        spread: bool = False,
        pooled: bool = False,
    ) -> None:
        super().__init__(dense_copy(network), starts)
        self.score_range, self.multiplies, self.spread, self.pooled = score_range, multiplies, spread, pooled
        self._ask(action)

    def forward(self, frames: Tensor, mask: Tensor, difficulty: Tensor) -> tuple[Tensor, ...]:
        """Score one video.

        Args:
            frames: (1, L, S, S, 3) uint8 RGB, cut to the network's crop and resized to its input.
            mask: (1, N, T, Hf, Wf) bool, the tube mask.
            difficulty: (1,) float32; without effect where the model has no use for it.

        Returns:
            score (1,) and segments (1, N) float32 in points or probabilities, and the head's raw output (1, …); with
            `spread`, also how far the score may be off, (1,) float32 points before any calibration; with `pooled`,
            last, the mean (1, F) float32 of the features of the segments.
        """
        return self._said(self.outputs(frames, mask), difficulty)


class FeatureScoreModel(InPoints):
    """From features that were made elsewhere to a score in points.

    Args:
        network: trained; it is copied.
        score_range: as of `ScoreModel`.
        multiplies: as of `ScoreModel`.
        action: as of `ScoreModel`.
        spread: as of `ScoreModel`.
    """

    pooled = False

    def __init__(
        self,
        network: FeatureNetwork,
        score_range: tuple[float, float] | None,
        multiplies: bool = False,
        action: str = "",
        spread: bool = False,
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        self.score_range, self.multiplies, self.spread = score_range, multiplies, spread
        self._ask(action)

    def forward(self, features: Tensor, difficulty: Tensor) -> tuple[Tensor, ...]:
        """Score one clip.

        Args:
            features: (1, N, F) float32, of the clip's N steps.
            difficulty: (1,) float32; without effect where the model has no use for it.

        Returns:
            score (1,) and steps (1, N) float32 in points or probabilities, and the head's raw output (1, …); with
            `spread`, also how far the score may be off, (1,) float32 points before any calibration.
        """
        return self._said(self.network(features, return_segments=True), difficulty)
