"""How much of the disk features take, said before they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.console import size_text
from flows.stages import planned_config
from tasks.engine.plan import StagePlan
from tasks.features import FeaturesSettings, clip_versions, feature_bytes


@dataclass(frozen=True)
class FeaturesSpace:
    """Bytes of a dataset's features.

    Attributes:
        clips: clips that have features, or are to have them.
        versions: of all of them: one for each augmentation that training may draw.
        each: bytes of one version.
        missing: bytes that are still to be written.
    """

    clips: int
    versions: int
    each: int
    missing: int

    @property
    def total(self) -> int:
        """Bytes of all features."""
        return self.versions * self.each

    def sentence(self) -> str:
        """How much of the disk they take."""
        return (
            f"Features of {self.clips} clips, {self.versions} versions (flips, shifts) of {size_text(self.each)} each: "
            f"{size_text(self.total)} on the disk, of which {size_text(self.missing)} are still to be written."
        )

    def as_json(self) -> dict[str, int]:
        """What `tubeflow plan --json` adds to the stage."""
        return {"versions": self.versions, "bytes": self.total, "bytes_to_write": self.missing}


def features_space(plans: Mapping[str, StagePlan], weights: Path) -> FeaturesSpace | None:
    """The space of the planned features; None where the config has none. `weights` is the weights folder."""
    plan = plans.get("features")
    if plan is None or not isinstance(plan.config, FeaturesSettings):  # those made elsewhere are there already
        return None
    config = planned_config(plans, "features", FeaturesSettings)
    clips = {name: job.clip for name, job in plan.jobs.items() if job.clip is not None}
    versions = {name: len(clip_versions(clip, config)) for name, clip in clips.items()}
    each = feature_bytes(config, weights)
    missing = sum(count for name, count in versions.items() if name not in plan.hits)
    return FeaturesSpace(len(clips), sum(versions.values()), each, missing * each)
