"""A network on features that were made elsewhere: temporal module and head, nothing else.

Letters: B = clips, N = steps, F = features of a step.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from models.heads import Head, build_head
from models.temporal import Temporal, build_temporal, outputs_alone
from models.tsanet import TSANetOutput


class FeatureNetwork(nn.Module):
    """Score of a clip from the features of its steps.

    Features of different networks differ in size by orders of magnitude, so they are centred by their means over the
    training clips and divided by one scale, the root of their mean variance; both are part of the weights. One scale,
    because one a feature would make those that hardly vary as loud as those that say something.

    Args:
        features: F.
        temporal: steps to one vector.
        head: that vector to raw output.
    """

    def __init__(self, features: int, temporal: Temporal, head: Head) -> None:
        super().__init__()
        self.temporal: Temporal = temporal
        self.head: Head = head
        self.features = features
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(()))

    def standardize(self, mean: Tensor, scale: float) -> None:
        """Take over mean (F,) float32 and scale of the training clips; with scale 0, nothing varies and 1 is taken.

        The means stay 0 where the temporal module compares features with each other (`keeps_origin`).
        """
        if not getattr(self.temporal, "keeps_origin", False):
            cast(Tensor, self.mean).copy_(mean)
        cast(Tensor, self.scale).fill_(scale or 1.0)

    def forward(
        self,
        steps: Tensor,
        mask: Tensor | None = None,
        return_segments: bool = False,
        return_features: bool = False,
    ) -> Tensor | TSANetOutput:
        """Run the network.

        Args:
            steps: (B, N, F) float.
            mask: (B, N) bool, true where a step is there; None where all are. What is missing stands at the end.
            return_segments: also give the output for every step by itself.
            return_features: also give the steps as they were given.

        Returns:
            The head's raw output (B, …), or a `TSANetOutput` whose `segments` are (B, N, …) and whose `features` are
            the steps as they were given.

        Raises:
            ValueError: the steps have another number of features.
        """
        if steps.dim() != 3 or steps.shape[2] != self.features:
            raise ValueError(f"the network takes features (B, N, {self.features}), got {tuple(steps.shape)}")
        standard = self.standard(steps)
        output = self.head(self.temporal(standard, mask))
        if not (return_segments or return_features):
            return output
        segments = outputs_alone(standard, self.temporal, self.head) if return_segments else None
        return TSANetOutput(output, segments, features=steps)

    def standard(self, steps: Tensor) -> Tensor:
        """Steps (B, N, F) float, centred and scaled as those of the training clips are."""
        return (steps - cast(Tensor, self.mean)) / cast(Tensor, self.scale)


def build_feature_network(
    features: int,
    temporal: str = "mean",
    temporal_options: dict[str, object] | None = None,
    head: str = "regression",
    head_options: dict[str, object] | None = None,
) -> FeatureNetwork:
    """Build a network on features of length `features`; see `build_temporal` and `build_head`. Raises ValueError."""
    pool = build_temporal(temporal, features, **(temporal_options or {}))
    return FeatureNetwork(features, pool, build_head(head, pool.outputs, **(head_options or {})))
