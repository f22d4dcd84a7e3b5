"""Stage `features` of clips whose features were made elsewhere: a file of any format → the file that training reads.

What `tubeflow ingest features` has looked at is read and checked again, for it may have changed since. There is no
stage before this one: neither videos nor tubes are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from data_catalog.datasets.feature_files.arrays import BadFeatures
from data_catalog.datasets.feature_files.clip_features import Place
from data_catalog.datasets.poses.pose_files import read_steps
from data_catalog.datasets.records import ClipRecord
from data_catalog.features.mapped_features import FeatureReader
from data_catalog.pack.feature_clips import FeatureClips
from data_catalog.pack.file import SPLIT_NAMES, ClipLabels
from data_catalog.store import Store
from tasks.engine.config import StageConfig
from tasks.engine.errors import BadClip
from tasks.engine.job import Context, Job, Member, Product
from tasks.engine.stage import Stage, each
from tasks.features import STAGE as COMPUTED
from tasks.features import FeaturesConfig, stored

STAGE_VERSION = 1
"""1: float32, one version, without the steps that a mask leaves out."""


class OwnFeaturesSettings(StageConfig):
    """What features that were made elsewhere are taken over with: nothing but that they are."""

    features: FeaturesConfig = Field(FeaturesConfig(), description="Where the features come from.")

    def key_view(self) -> dict[str, Any]:
        """The mode; the file's digest and the clip's place in it are in the inputs."""
        return {"features": {"mode": self.features.mode}}


def feature_clips(members: Sequence[Member], store: Store, dataset: str) -> FeatureClips:
    """The clips of a job on features that were made elsewhere."""
    labels = [clip_labels(member.clip) for member in members]
    files = [store.path(STAGE.name, member.keys[STAGE.name]) for member in members]
    return FeatureClips(f"the features of dataset '{dataset}'", labels, FeatureReader(files))


def clip_labels(clip: ClipRecord) -> ClipLabels:
    """What training sees of a clip's record."""
    split = SPLIT_NAMES.get(clip.split, clip.split)
    return ClipLabels(clip.clip_id, split, clip.action, clip.score, clip.difficulty, clip.judges, clip.label)


def _own_job(job: Job, config: OwnFeaturesSettings, context: Context) -> Product:
    assert job.clip is not None
    root = context.workspace.datasets.info(job.dataset).confined_root
    try:
        features = read_steps(Path(job.clip.video), Place.of(job.clip_id, job.clip.extra), root)
    except BadFeatures as exc:
        raise BadClip(f"Clip '{job.clip_id}': {exc.reason}.", f"{exc.remedy[0].upper()}{exc.remedy[1:]}.") from exc
    return stored(context, [(False, 0)], iter([features]))


def _inputs(clip: ClipRecord, config: OwnFeaturesSettings) -> Mapping[str, Any]:
    return Place.of(clip.clip_id, clip.extra).as_extra() | {"clip_id": clip.clip_id}


STAGE = Stage(
    COMPUTED.name,
    STAGE_VERSION,
    (),
    each(_own_job),
    inputs=_inputs,
    sees_source=True,
    composed=OwnFeaturesSettings,
)
