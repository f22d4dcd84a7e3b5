"""What a run's artifacts were made with, as far as its report shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.runs.clip_tube import scored_starts
from flows.stages import planned_config
from tasks.engine.plan import StagePlan
from tasks.masks import MasksConfig
from tasks.normalize import NormalizeConfig
from tasks.track import TrackConfig
from tasks.train import TrainOnFeaturesSettings, TrainSettings
from tasks.training.config import ModelConfig


@dataclass(frozen=True)
class ReportFacts:
    """Taken out of the plans once, before anything is drawn.

    Attributes:
        model: the network, whose attention is counted.
        tracker: its name; None where there are no videos.
        actions: those that the network was trained on; None for all of the dataset's.
        multiplied: whether predictions are multiplied with the difficulty.
        freeze: what of the backbone was not trained, as `train.freeze` says.
        features: what the clips were read from, as `features.mode` says.
        chosen_by: the split whose metric chooses the best epoch, where it has clips.
        starts: the first frame of each segment as held-out clips are scored.
        segment_length: frames of a segment.
        truth: what tubes are compared with.
    """

    model: ModelConfig
    tracker: str | None
    actions: tuple[str, ...] | None
    multiplied: bool
    freeze: str
    features: str
    chosen_by: str
    starts: tuple[int, ...]
    segment_length: int
    truth: str

    @classmethod
    def of(cls, plans: Mapping[str, StagePlan]) -> ReportFacts:
        """The facts of one run's plans, which reach evaluate."""
        training = planned_config(plans, "train", TrainSettings)
        if "masks" not in plans:
            return cls.of_own_features(training)
        masks = planned_config(plans, "masks", MasksConfig)
        normalize = planned_config(plans, "normalize", NormalizeConfig)
        return cls(
            model=training.model,
            tracker=planned_config(plans, "track", TrackConfig).tracker,
            actions=training.train.actions,
            multiplied=training.train.difficulty,
            freeze=training.train.freeze,
            features=training.features.mode if isinstance(training, TrainOnFeaturesSettings) else "none",
            chosen_by=training.train.selecting,
            starts=scored_starts(masks, normalize.length, training.train.eval_shift),
            segment_length=masks.segment_length,
            truth="pixel masks" if masks.source == "mask" else "rotated boxes",
        )

    @classmethod
    def of_own_features(cls, training: TrainSettings) -> ReportFacts:
        """The facts of a run on features that were made elsewhere: no tracker, no frames, no tubes."""
        return cls(
            model=training.model,
            tracker=None,
            actions=training.train.actions,
            multiplied=training.train.difficulty,
            freeze="none",
            features="own",
            chosen_by=training.train.selecting,
            starts=(),
            segment_length=0,
            truth="",
        )

    @property
    def network(self) -> str:
        """The network in a few words."""
        model = self.model
        if self.features == "own":
            return f"{model.temporal}, {model.head}"
        pool = "" if model.temporal == "mean" else f", {model.temporal}"
        return f"{model.backbone}, {model.attention_words}{pool}, {model.head}"

    @property
    def frozen(self) -> str:
        """What of the backbone was not trained, and where it comes from, in words; empty where all of it was."""
        if self.freeze == "none":
            return ""
        part = "stage 1 of the backbone" if self.freeze == "stage1" else "the backbone"
        weights = self.model.weights
        random = weights is None or Path(weights).suffix == ".json"  # which says how large an encoder is
        return f"{part}, with random weights" if random else f"{part}, from {Path(str(weights)).name}"

    @property
    def classifies(self) -> bool:
        """Whether the network predicts a label, not a score."""
        return self.model.head == "classification"

    def title(self, dataset: str) -> str:
        """The network, the dataset, and which of its actions, where not all."""
        data = dataset if self.actions is None else f"{dataset}: {', '.join(self.actions)}"
        parts = [self.model.backbone, self.model.attention_words]
        if self.features == "own":
            parts = [self.model.temporal, self.model.head]
        return f"{' + '.join(parts)} on {data}"
