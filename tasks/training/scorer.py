"""From a batch of clips to scores in points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_catalog.pack.feature_clips import FeatureClips
from data_catalog.pack.file import PackLabels, PackReader
from data_catalog.pack.loader import Batch
from models.feature_network import FeatureNetwork
from models.heads import ComparingHead
from models.score_network import ScoreNetwork, decoded, decoded_spread
from models.temporal import MeanPool
from models.tsanet import Entrance, TSANet, TSANetOutput
from tasks.training.targets import ScoreScale

STEP_HEAD = "step_head."
"""Before the names of the weights that say which step a segment lies in, which stand beside a network's own."""
CUT_DIMENSIONS = 6
"""Of a batch of maps at the cut, (B, N, T, Hf, Wf, C); pooled features have three."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a network says of B clips, in points (or probabilities of label 1).

    Attributes:
        points: (B,) float64.
        segments: (B, N) float64, of each segment by itself.
        features: (B, F) float32, see `Scorer.clip_features`.
        spread: (B,) float64, see `Scorer.spread`; None where nobody asked.
        steps: (B, N, K) float32, of each segment the shares of the kinds of steps; None where none are learnt.
    """

    points: NDArray[np.float64]
    segments: NDArray[np.float64]
    features: NDArray[np.float32]
    spread: NDArray[np.float64] | None = None
    steps: NDArray[np.float32] | None = None


class Scorer(nn.Module):
    """Compares a network's output with the labels of clips, and says it in points; a base of those that run networks.

    Attributes:
        network: the network; its weights are part of this module's state.
        classification: whether labels are classes.
        truth: (n,) float64, score points or class of each clip.
        step_head: from a segment's features to the kinds of steps; None where none are learnt.
    """

    network: TSANet | FeatureNetwork
    step_head: nn.Linear | None

    def set_labels(self, labels: PackLabels, head: str, scale: ScoreScale) -> None:
        """Take over what the clips are labelled with.

        Args:
            labels: of n clips.
            head: `model.head` of the configuration.
            scale: what a share of the range of scores means for each clip, in points.
        """
        self.register_module("step_head", None)
        self._judged = head == "musdl"
        self.classification = head == "classification"
        self._scale = scale
        targets = labels.label if self.classification else scale.shares(labels.score) * 100
        self.register_buffer("targets", torch.tensor(targets, dtype=torch.float32), persistent=False)
        self.truth = labels.label if self.classification else labels.score
        self._actions = labels.action

    def run(self, batch: Batch, mask: Tensor | None = None) -> Tensor:
        """The network's raw output (B, …) float, of the batch's features where it has them, else of its frames.

        Args:
            batch: the clips.
            mask: bool in the place of the batch's own, of its shape.
        """
        return cast(Tensor, self._run(batch, batch["mask"] if mask is None else mask, return_segments=False))

    def _run(
        self, batch: Batch, mask: Tensor, return_segments: bool, return_features: bool = False
    ) -> Tensor | TSANetOutput:
        raise NotImplementedError

    def learn_steps(self, kinds: int, seed: int) -> None:
        """Say of each segment which of `kinds` steps it lies in, too; nothing else depends on that layer's weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.step_head = nn.Linear(self.feature_length, kinds)

    @property
    def feature_length(self) -> int:
        """F."""
        raise NotImplementedError

    def step_logits(self, features: Tensor) -> Tensor:
        """Kinds of steps (B, N, K) float, before the softmax, of features (B, N, F) float of `run_with_features`."""
        assert self.step_head is not None
        return cast(Tensor, self.step_head(features))

    def run_with_features(self, batch: Batch, mask: Tensor) -> tuple[Tensor, Tensor]:
        """As `run`, and the features (B, N, F) float of each segment, from one pass."""
        found = cast(TSANetOutput, self._run(batch, mask, return_segments=False, return_features=True))
        return found.output, cast(Tensor, found.features)

    def state(self) -> dict[str, Tensor]:
        """The network's weights by name, of any shape and dtype, and those of the layer that names steps."""
        head = {} if self.step_head is None else self.step_head.state_dict(prefix=STEP_HEAD)
        return {**self.network.state_dict(), **head}

    def clip_features(self, batch: Batch) -> Tensor:
        """Pooled features (B, F) float of each clip of a batch, without its score: the mean over segments or steps."""
        raise NotImplementedError

    def _mean(self, features: Tensor, batch: Batch) -> Tensor:
        """From the features (B, N, F) float of segments or steps to those of clips, (B, F)."""
        raise NotImplementedError

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Scalar float32 loss of the network's raw output (B, …)."""
        target = batch["judges"] if self._judged else cast(Tensor, self.targets)[batch["index"]]
        return self.network.head.loss(output.float(), target, batch["difficulty"])

    def points(self, output: Tensor, batch: Batch, per_segment: bool = False) -> NDArray[np.float64]:
        """Score points, or probabilities, of the network's raw output.

        Args:
            output: (B, …), or of segments (B, N, …).
            batch: the clips.
            per_segment: whether `output` is of segments.

        Returns:
            (B,) or (B, N) float64.
        """
        action = self._action_numbers(batch["index"])
        shares = decoded(self.network.head, output, batch["difficulty"], per_segment, action)
        values = cast(NDArray[np.float64], shares.double().cpu().numpy())
        if self.classification or self._judged:
            return values
        return self._scale.points(values / 100, batch["index"].cpu().numpy())

    def spread(self, output: Tensor, batch: Batch) -> NDArray[np.float64]:
        """How far each clip's score may lie from `points`, in points and not calibrated yet: (B,) float64.

        Of a head that says nothing of it, the range of scores (of judges, a point): the same for all clips of a range,
        for a calibration to measure.

        Args:
            output: the network's raw output (B, …).
            batch: the clips.

        Raises:
            ValueError: of a probability.
        """
        if self.classification:
            raise ValueError("a probability has no interval of points; take a head that predicts a score")
        whole = 1.0 if self._judged else 100.0
        said = decoded_spread(self.network.head, output, batch["difficulty"], whole).double().cpu().numpy()
        return said if self._judged else self._scale.widths(said / 100, batch["index"].cpu().numpy())

    def _action_numbers(self, index: Tensor) -> Tensor | None:
        """(B,) int64, for a head that compares clips with others of the same action."""
        head = self.network.head
        if not isinstance(head, ComparingHead):
            return None
        return head.action_numbers([self._actions[one] for one in index.tolist()])

    def predict(self, batch: Batch, spread: bool = False) -> Predicted:
        """Score clips; score and features come from one pass.

        Args:
            batch: the clips.
            spread: whether it is said how uncertain the scores are.
        """
        result = cast(TSANetOutput, self._run(batch, batch["mask"], return_segments=True))
        segments = self.points(cast(Tensor, result.segments), batch, per_segment=True)
        said = self.spread(result.output, batch) if spread else None
        steps = cast(Tensor, result.features)
        named = None if self.step_head is None else self.step_logits(steps).softmax(dim=-1).float().cpu().numpy()
        features = self._mean(steps, batch).float().cpu().numpy()
        return Predicted(self.points(result.output, batch), segments, features, said, named)


class ClipScorer(ScoreNetwork, Scorer):
    """Scores clips of a pack, from their frames or from features that a part of the network made.

    Args:
        network: the network.
        reader: the pack.
        head: `model.head` of the configuration.
        scale: what a share of the range of scores means for each clip, in points.

    Raises:
        ValueError: the pack was made for another network.
    """

    network: TSANet

    def __init__(self, network: TSANet, reader: PackReader, head: str, scale: ScoreScale) -> None:
        _check_fit(network, reader)
        super().__init__(network, reader.geometry.starts)
        self.set_labels(reader.labels, head, scale)

    def _run(
        self, batch: Batch, mask: Tensor, return_segments: bool, return_features: bool = False
    ) -> Tensor | TSANetOutput:
        video, entrance = self._given(batch)
        options = {"return_segments": return_segments, "return_features": return_features}
        return cast("Tensor | TSANetOutput", self.network(video, mask, entrance=entrance, **options))

    @property
    def feature_length(self) -> int:
        """F, of the backbone."""
        return self.network.backbone.features

    def clip_features(self, batch: Batch) -> Tensor:
        """As of every scorer, (B, F) float: what stands behind the backbone, in front of the temporal module."""
        video, entrance = self._given(batch)
        return self._mean(self.network.segment_features(video, batch["mask"], entrance), batch)

    def _mean(self, features: Tensor, batch: Batch) -> Tensor:
        return features.mean(dim=1)

    def _given(self, batch: Batch) -> tuple[Tensor, Entrance]:
        """What the network is given of a batch, and where it comes in."""
        made = batch.get("features")
        if made is None:
            return self.video(batch["frames"]), "pixels"
        return made.float(), "cut" if made.dim() == CUT_DIMENSIONS else "pooled"


class FeatureScorer(Scorer):
    """Scores clips by features that were made elsewhere.

    Args:
        network: the network.
        clips: labels and features.
        head, scale: as of `ClipScorer`.
    """

    network: FeatureNetwork

    def __init__(self, network: FeatureNetwork, clips: FeatureClips, head: str, scale: ScoreScale) -> None:
        super().__init__()
        self.network = network
        self.set_labels(clips.labels, head, scale)

    def _run(
        self, batch: Batch, mask: Tensor, return_segments: bool, return_features: bool = False
    ) -> Tensor | TSANetOutput:
        # Where nothing is padded there is nothing to mask, and modules have a shorter way.
        there = None if mask.all() else mask
        options = {"return_segments": return_segments, "return_features": return_features}
        return cast("Tensor | TSANetOutput", self.network(batch["features"].float(), there, **options))

    @property
    def feature_length(self) -> int:
        """F, of what was made elsewhere."""
        return self.network.features

    def step_logits(self, features: Tensor) -> Tensor:
        """As of every scorer, (B, N, F) to (B, N, K) float; of features as the network centres them."""
        return super().step_logits(self.network.standard(features))

    def clip_features(self, batch: Batch) -> Tensor:
        """As of every scorer, (B, F) float: features as they are, where the network centres them by training clips."""
        return self._mean(batch["features"].float(), batch)

    def _mean(self, features: Tensor, batch: Batch) -> Tensor:
        return cast(Tensor, MeanPool(self.network.features)(features, batch["mask"]))

    def predict(self, batch: Batch, spread: bool = False) -> Predicted:
        """As of every scorer, a step being a segment; steps that a clip doesn't have are nan."""
        found = super().predict(batch, spread)
        return replace(found, segments=np.where(batch["mask"].cpu().numpy(), found.segments, np.nan))


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
