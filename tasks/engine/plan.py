"""What a run would do: every job's key, whether it is a hit, and if not, why, in words.

Nothing is computed and no video is read here: a source whose digest is not known makes its clip's keys unknown, and
unknown keys are misses.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.index import Record
from data_catalog.tables.quarantine import QuarantineRow
from tasks.engine import progress
from tasks.engine.config import StageConfig
from tasks.engine.job import UNKNOWN, Job, Member
from tasks.engine.keys import KeyMaker, make_key
from tasks.engine.reasons import clips_text, why_changed
from tasks.engine.stage import Stage


@dataclass
class StagePlan:
    """One stage of a plan.

    Attributes:
        stage: the stage.
        config: its config.
        jobs: the job of each clip that can get this far, by clip id ("" for a whole dataset).
        hits: clips whose artifact is there and whole.
        reasons: why each of the others is to be made.
        quarantined: clips that are known not to work with exactly this key.
        waiting: clips that a stage outside the selection would have to make ready first.
        damaged: artifacts that are there but not what was written.
    """

    stage: Stage[Any]
    config: StageConfig
    jobs: dict[str, Job] = field(default_factory=dict)
    hits: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)
    quarantined: dict[str, QuarantineRow] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    damaged: list[ArtifactDamaged] = field(default_factory=list)

    def summary(self) -> list[str]:
        """The reasons with the number of clips, most frequent first; a dataset stage has one reason for all."""
        counts = Counter(self.reasons.values()).most_common()
        if not any(self.jobs):
            return [reason for reason, _ in counts]
        return [f"{reason}: {clips_text(count)}" for reason, count in counts]

    def as_json(self) -> dict[str, Any]:
        """What `tubeflow plan --json` prints."""
        return {
            "clips": len(self.jobs),
            "hits": len(self.hits),
            "misses": len(self.reasons),
            "quarantined": len(self.quarantined),
            "reasons": self.summary(),
            "damaged": [str(problem) for problem in self.damaged],
        }


Pipeline = Sequence[tuple[Stage[Any], StageConfig]]


class Planner:
    """Plans stages of one dataset in one workspace, clip stages first, each on the keys of the one before.

    Args:
        workspace: the workspace.
        dataset: name of the dataset.
        clips: its clips, with `video` made absolute.
        retry_quarantined: forget what is quarantined.
        verify: read every artifact even where its stat says that nothing changed.
    """

    def __init__(
        self,
        workspace: Workspace,
        dataset: str,
        clips: Sequence[ClipRecord],
        *,
        retry_quarantined: bool = False,
        verify: bool = False,
    ) -> None:
        self.workspace, self.dataset, self.clips = workspace, dataset, clips
        self._retry, self._verify = retry_quarantined, verify
        self._latest: dict[tuple[str, str], Record] | None = None

    def plan(self, clip_stages: Pipeline, dataset_stages: Pipeline) -> dict[str, StagePlan]:
        """Plan every stage, in order."""
        plans: dict[str, StagePlan] = {}
        for stage, config in clip_stages:
            plans[stage.name] = self.clip_stage(stage, config, plans)
        for stage, config in dataset_stages:
            plans[stage.name] = self.dataset_stage(stage, config, plans)
        return plans

    def clip_stage(self, stage: Stage[Any], config: StageConfig, plans: Mapping[str, StagePlan]) -> StagePlan:
        """Plan a stage that works on one clip at a time."""
        config = stage.settle(config, self.workspace.weights)
        weights = self.weights(stage, config)
        plan = StagePlan(stage, config)
        keys = KeyMaker(stage, config, weights)
        before = [plans[parent] for parent in stage.parents]
        for clip in self.clips:
            if all(clip.clip_id in one.jobs and clip.clip_id not in one.quarantined for one in before):
                parents = {one.stage.name: one.jobs[clip.clip_id].key for one in before}
                plan.jobs[clip.clip_id] = self._clip_job(plan, keys, clip, weights, parents)
        self._settle(plan, plans)
        return plan

    def dataset_stage(
        self,
        stage: Stage[Any],
        config: StageConfig,
        plans: Mapping[str, StagePlan],
        without: frozenset[str] = frozenset(),
    ) -> StagePlan:
        """Plan a stage that works on all clips together, `without` those that failed just now."""
        plan = StagePlan(stage, config)
        before = [plans[parent] for parent in stage.parents]
        if all(one.jobs for one in before):
            per_clip = [one for one in before if "" not in one.jobs]
            every_clip_stage = [one for one in plans.values() if "" not in one.jobs and one.jobs]
            parents = {one.stage.name: one.jobs[""].key for one in before if "" in one.jobs}
            members = [
                Member(clip, {one.stage.name: one.jobs[clip.clip_id].key for one in per_clip})
                for clip in (self.clips if per_clip else ())
                if clip.clip_id not in without
                and all(clip.clip_id in one.jobs and clip.clip_id not in one.quarantined for one in every_clip_stage)
            ]
            if members or not per_clip:
                inputs = describe_members(members) | _told(stage, config, members) if per_clip else {}
                weights = self.weights(stage, config)
                key = make_key(stage, config, inputs, weights, parents)
                if any(UNKNOWN in member.keys.values() for member in members) or UNKNOWN in parents.values():
                    key = UNKNOWN
                plan.jobs[""] = Job(
                    stage.name, key, self.dataset, "", inputs, weights, parents, members=tuple(members)
                )
        self._settle(plan, plans)
        return plan

    def weights(self, stage: Stage[Any], config: StageConfig) -> dict[str, str]:
        """Digest of each weights file of a stage. Raises CatalogError where one is missing."""
        try:
            files = stage.weights(config, self.workspace.weights)
        except ValueError as exc:
            raise CatalogError(str(exc)) from exc
        digests = self.workspace.sources.digest(files.values(), verify=self._verify)
        return {name: digests[path] for name, path in files.items()}

    def _clip_job(
        self, plan: StagePlan, keys: KeyMaker, clip: ClipRecord, weights: dict[str, str], parents: dict[str, str]
    ) -> Job:
        stage = plan.stage
        inputs = dict(stage.inputs(clip, plan.config))
        known = UNKNOWN not in parents.values()
        if stage.sees_source:
            source = Path(clip.video)
            digest = self.workspace.sources.known(source)
            if digest is None and not os.access(source, os.R_OK):
                digest = f"missing {source}"  # a key of its own, so that the file's return is another one
            known = known and digest is not None
            inputs["source"] = digest or UNKNOWN
        key = keys.key(inputs, parents) if known else UNKNOWN
        return Job(stage.name, key, self.dataset, clip.clip_id, inputs, weights, parents, clip)

    def _settle(self, plan: StagePlan, plans: Mapping[str, StagePlan]) -> None:
        """Ask the store which jobs are done, and find the reason for each of the others."""
        name = plan.stage.name
        keys = {job.key: clip_id for clip_id, job in plan.jobs.items()}
        advance = partial(progress.report, f"verify {name}")
        whole, damaged = self.workspace.index.check(name, keys, self._verify, advance)
        bad = set() if self._retry else self.workspace.quarantine.keys(name)
        plan.damaged = list(damaged.values())
        for clip_id, job in plan.jobs.items():
            if job.key in whole:
                plan.hits.add(clip_id)
            elif job.key in bad and (row := self.workspace.quarantine.get(name, job.key)) is not None:
                plan.quarantined[clip_id] = row
            else:
                plan.reasons[clip_id] = self._reason(plan.stage, plan.config, job, job.key in damaged, plans)

    def _reason(
        self, stage: Stage[Any], config: StageConfig, job: Job, damaged: bool, plans: Mapping[str, StagePlan]
    ) -> str:
        if damaged:
            return "artifact damaged"
        if (stage.name, job.key) in self.workspace.index.rows:
            return "artifact deleted"
        previous = self.latest.get((stage.name, job.clip_id))
        if previous is None:
            return "new"
        return why_changed(stage, config, job, previous, self.workspace.store)

    @property
    def latest(self) -> dict[tuple[str, str], Record]:
        """The newest artifact of each clip and stage of this dataset."""
        if self._latest is None:
            self._latest = {}
            for row in sorted(self.workspace.index.rows.values(), key=lambda row: row.created):
                if row.dataset == self.dataset:
                    self._latest[row.stage, row.clip_id] = row
        return self._latest


def describe_members(members: Sequence[Member]) -> dict[str, Any]:
    """What of many clips enters a dataset stage's key: how many, a digest of their labels, one per parent stage."""
    described: dict[str, Any] = {"clips": len(members), "labels": _digest([label_of(m.clip) for m in members])}
    for stage in members[0].keys if members else ():
        described[stage] = _digest([member.keys[stage] for member in members])
    return described


def _told(stage: Stage[Any], config: StageConfig, members: Sequence[Member]) -> dict[str, str]:
    """What more of the clips' records enters a dataset stage's key: digests of what `stage.inputs` tells of them."""
    told = [stage.inputs(member.clip, config) for member in members]
    return {name: _digest([one.get(name) for one in told]) for name in sorted({name for one in told for name in one})}


def label_of(clip: ClipRecord) -> list[Any]:
    """What training and evaluation see of a clip's record."""
    return [clip.clip_id, clip.split, clip.action, clip.score, clip.difficulty, list(clip.judges), clip.label]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def resolve_sources(planner: Planner, advance: Any = None, verify: bool = False) -> None:
    """Compute the digests of new or changed source files, so that every key is known."""
    paths = [Path(clip.video) for clip in planner.clips]
    planner.workspace.sources.digest(paths, advance, verify)
