"""Clips of which there are labels and features, no frames and no tubes: what a pack is for videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_catalog.features.mapped_features import FeatureReader
from data_catalog.pack.file import ClipLabels, PackLabels, labels_table

if TYPE_CHECKING:
    from torch import Tensor


class HeldFeatures:
    """Features of a few clips in memory, read as a `FeatureReader` reads files.

    Args:
        clips: (N, F) float32 of each.
    """

    def __init__(self, clips: Sequence[NDArray[np.float32]]) -> None:
        self._clips = clips

    def read(self, index: int, flip: bool, shift: int) -> Tensor:
        """Features of clip number `index`: (N, F) float32."""
        import torch  # as below

        return torch.tensor(self._clips[index])  # a copy: what is mapped from a file can't be written to


class FeatureClips:
    """Labels and features of n clips, in one order.

    Args:
        name: what messages call it, `the features of dataset 'unlv'`.
        labels: of each clip.
        features: of each clip, one version of (N, F) float32.
    """

    def __init__(self, name: str, labels: Sequence[ClipLabels], features: FeatureReader | HeldFeatures) -> None:
        self.name = name
        self.labels: PackLabels = labels_table(labels)
        self._features = features

    def __len__(self) -> int:
        """How many clips there are."""
        return len(self.labels.clip_id)

    def read(self, index: int) -> Tensor:
        """Features of clip number `index`: (N, F) float32, N steps. Raises ArtifactDamaged."""
        return self._features.read(index, False, 0)

    def indices(self, split: str | None = None, actions: Sequence[str] | None = None) -> list[int]:
        """Numbers of the clips of a split and of some actions, in order."""
        return self.labels.indices(split, actions)

    @property
    def features(self) -> int:
        """F, the length of one step's features."""
        return int(self.read(0).shape[1])

    def moments(self, indices: Sequence[int]) -> tuple[Tensor, float]:
        """Over all steps of some clips: the features' means (F,) float32, and the root of their mean variance."""
        import torch  # takes seconds, and who only asks for labels needs none

        steps = [self.read(index).double() for index in indices]
        count = sum(len(one) for one in steps)
        mean = torch.stack([one.sum(dim=0) for one in steps]).sum(dim=0) / count
        variance = torch.stack([(one - mean).square().sum(dim=0) for one in steps]).sum(dim=0) / count
        return mean.float(), float(variance.mean().sqrt())
