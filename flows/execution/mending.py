"""Artifacts that turn out damaged while a run reads them are made again within the same run, each once.

A run trusts an artifact whose stat is the one that was seen when it was last verified. A disk can lose a bit without
changing that, and then only reading finds it: in a stage, in the report, or where tubes are measured. The key of what
is made again is the same, so nothing has to be planned anew.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from data_catalog.store import ArtifactDamaged
from flows.execution.scheduler import collect, submit_shard
from flows.execution.task_runners import ShardRunner
from flows.runs.summary import RunSummary
from tasks.engine.failures import LostArtifact, lost_artifact
from tasks.engine.job import Context, Job
from tasks.engine.plan import StagePlan
from tasks.engine.run import ShardReport

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class Mending:
    """What a run makes again.

    Attributes:
        plans: the run's plans by stage, as they are at the moment.
        done: stage and key of what this run has tried to make again.
        reports: of what was made again, not counted yet (`count`).
        tried: stage and clip of the jobs that are done once more for it.
    """

    plans: Mapping[str, StagePlan]
    context: Context
    runner: ShardRunner
    summary: RunSummary
    done: set[tuple[str, str]] = field(default_factory=set)
    reports: list[ShardReport] = field(default_factory=list)
    tried: set[tuple[str, str]] = field(default_factory=set)

    def reading(self, read: Callable[[], T]) -> T:
        """What `read` returns; an artifact that it finds damaged or gone is made again, and it is called again.

        Raises:
            ArtifactDamaged, FileNotFoundError: it can't be made again by this run.
        """
        while True:
            try:
                return read()
            except (ArtifactDamaged, FileNotFoundError) as problem:
                lost = lost_artifact(self.context.workspace, problem)
                if lost is None or not self.restore(lost):
                    raise

    def run(self, plan: StagePlan, job: Job) -> ShardReport:
        """Have one job done; parents that turn out damaged or gone are made again first."""
        while True:
            label = job.clip_id or job.dataset
            report = collect(plan.stage.name, [job], submit_shard(plan, [job], label, self.context, self.runner))
            lost = [trouble.lost for trouble in report.troubles]
            if not lost or not all(one is not None and self.restore(one) for one in lost):
                return report

    def restore(self, lost: LostArtifact) -> bool:
        """Make an artifact that was removed again; False where this run can't, or has tried before."""
        name = lost.stage, lost.key
        plan = self.plans.get(lost.stage)
        job = next((job for job in plan.jobs.values() if job.key == lost.key), None) if plan is not None else None
        if plan is None or job is None or name in self.done:
            return False
        self.done.add(name)
        report = self.run(plan, job)
        self.reports.append(report)
        for record in report.made:
            self.context.workspace.index.add(record)
        if report.failed:
            return False
        plan.hits.add(job.clip_id)
        if report.made:
            path = self.context.workspace.store.path(*name)
            self.summary.notes.append(f"{path} {lost.what}; it was made again.")
            logger.warning("%s", self.summary.notes[-1])
        return True

    def count(self) -> None:
        """Count what was made again, once the reports that took it for a hit are counted."""
        for report in self.reports:
            self.summary.count_again(report)
        self.reports.clear()

    def take_restored(self, reports: Sequence[ShardReport]) -> dict[str, list[str]]:
        """Stage → clips that failed in it for an artifact that is there again; their failures leave the reports."""
        again: dict[str, list[str]] = defaultdict(list)
        for report in reports:
            for trouble in list(report.troubles):
                lost, name = trouble.lost, (trouble.stage, trouble.clip_id)
                if lost is None or name in self.tried:
                    continue
                self.tried.add(name)
                there = self.context.workspace.store.exists(lost.stage, lost.key)  # for another clip of this content
                if there or self.restore(lost):
                    report.troubles.remove(trouble)
                    again[report.stage].append(trouble.clip_id)
        return again
