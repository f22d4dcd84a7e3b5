"""A score with its own uncertainty: a normal distribution whose mean and variance both are read from the features."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor

from models.heads.score_heads import ScoreHead, ScoreMlp, times_difficulty, without_difficulty

LEAST_VARIANCE = 1e-6
"""In units of score_scale²: a clip that is met exactly would have an infinite likelihood."""


class GaussianHead(ScoreHead):
    """Heteroscedastic regression: score ~ N(μ, σ²), trained by the likelihood (Nix and Weigend 1994).

    The loss of a clip is ½ (log σ² + (y - μ)² / σ²), weighed by σ^(2β) without a gradient of its own (β-NLL, Seitzer et
    al. 2022, Eq. 6). With β = 0 it is the likelihood itself, which learns the mean of clips of large variance slowly
    and may explain bad means by variance; with β = 1 the mean's gradient is that of the squared error.

    Args:
        features: F.
        score_scale: as of `ScoreHead`; μ and σ are in this unit.
        with_difficulty: as of `ScoreHead`.
        dropout: within the perceptron.
        beta: β, 0 to 1.

    Raises:
        ValueError: β outside of 0 to 1.
    """

    def __init__(
        self,
        features: int,
        score_scale: float = 1.0,
        with_difficulty: bool = False,
        dropout: float = 0.0,
        beta: float = 0.5,
    ) -> None:
        super().__init__(score_scale, with_difficulty)
        if not 0 <= beta <= 1:
            raise ValueError(f"beta of the head 'gaussian' is between 0 and 1, got {beta}")
        self.mlp = ScoreMlp(features, 2, dropout)
        self.beta = beta

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) float to (..., 2), μ and what σ² is the softplus of."""
        return cast(Tensor, self.mlp(features))

    def loss(self, output: Tensor, target: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """β-NLL of (B, 2) float raw outputs against (B,) scores, in units of score_scale, without its constant.

        Raises:
            ValueError: an empty batch, or other shapes.
        """
        if output.shape != (*target.shape, 2) or not len(target):
            raise ValueError(f"prediction has shape {tuple(output.shape)}, target {tuple(target.shape)}")
        execution = without_difficulty(target, difficulty, self.with_difficulty)
        error = execution.to(output.dtype) / self.score_scale - output[..., 0]
        variance = _variance(output)
        of_clips = 0.5 * (variance.log() + error.square() / variance)
        return (of_clips * variance.detach() ** self.beta).mean()

    def decode(self, output: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """(..., 2) float raw output to (...) score, μ."""
        return super().decode(output[..., 0], difficulty)

    def spread(self, output: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """(..., 2) float raw output to (...), σ in the unit of `decode`."""
        return times_difficulty(_variance(output).sqrt() * self.score_scale, difficulty, self.with_difficulty)


def _variance(output: Tensor) -> Tensor:
    """σ² (...) in units of score_scale², of raw outputs (..., 2)."""
    return F.softplus(output[..., 1]) + LEAST_VARIANCE
