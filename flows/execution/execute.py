"""One run inside a flow run: plan, take the clips through their stages, then pack, train and evaluate."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from data_catalog.atomic import sweep
from data_catalog.catalog import Workspace
from data_catalog.locks import notices as lock_notices
from data_catalog.store import ArtifactDamaged, Store
from flows.config import PipelineConfig
from flows.datasets.clips import left_out, wanted_clips
from flows.execution.run_options import RunOptions
from flows.execution.scheduler import collect, make_shards, run_clip_stages, submit_shard
from flows.execution.task_runners import ShardRunner, task_runner, worker_count
from flows.runs.against_truth import against_truth
from flows.runs.quality import known_quality, measure_tubes, suspicious, worst_first
from flows.runs.record import new_run_id, write_record
from flows.runs.summary import RunSummary, StageCount
from flows.stages import CLIP_STAGES, DATASET_STAGES, make_plan, runnable_clips, section
from tasks.assessment.truth_figures import means
from tasks.engine import progress
from tasks.engine.job import Context, Job
from tasks.engine.plan import Planner, StagePlan, resolve_sources
from tasks.engine.run import ShardReport

logger = logging.getLogger(__name__)

SHOWN_TUBES = 6  # that a run's page draws


@dataclass
class _Run:
    """What the steps of one run share."""

    planner: Planner
    plans: dict[str, StagePlan]
    config: PipelineConfig
    context: Context
    runner: ShardRunner
    selected: Sequence[str]
    summary: RunSummary

    def count(self, report: ShardReport) -> None:
        """Into the run's table, and its artifacts into the index."""
        self.summary.count(report)
        for record in report.made:
            self.context.workspace.index.add(record)


def execute(
    config: PipelineConfig,
    dataset: str,
    workspace: Workspace,
    selected: Sequence[str],
    options: RunOptions,
    runner: ShardRunner | None = None,
) -> RunSummary:
    """Run the selected stages inside a flow run: plan, clips stage by stage, then the dataset's stages.

    `runner` is what runs the shards; by default the one that `config.engine` names.

    Raises:
        CatalogError, ConfigError: nothing was begun; the message is for the user.
    """
    started, used = time.perf_counter(), _processor_seconds()
    summary = RunSummary(new_run_id(), dataset)
    planner = Planner(
        workspace,
        dataset,
        wanted_clips(workspace, dataset, options.where, options.clips),
        retry_quarantined=options.retry_quarantined,
        verify=options.verify,
    )
    summary.where, summary.clips = options.where, options.clips
    summary.notes += left_out(workspace, dataset)
    leftovers = workspace.store.sweep() + sweep(workspace.catalog) + sweep(workspace.runs)
    if leftovers:
        summary.notes.append(f"Removed {len(leftovers)} unfinished files of a run that was killed.")
    resolve_sources(planner, lambda done, total: progress.report("digest", done, total), options.verify)
    plans = make_plan(planner, config, selected)
    _report_damage(workspace.store, plans, selected, summary)
    context = Context(workspace, config.engine.device)
    try:
        with runner or task_runner(config.engine) as started_runner:
            run = _Run(planner, plans, config, context, started_runner, selected, summary)
            failed = _run_clips(run)
            _judge_tubes(run)
            _run_dataset_stages(run, failed)
    finally:
        workspace.index.save()
        workspace.store.close()
        workspace.claims.sweep()
        workspace.store.sweep()  # the folders of worker processes, which have ended
    summary.notes += [*workspace.notices, *lock_notices()]
    summary.seconds = time.perf_counter() - started
    summary.busy = (_processor_seconds() - used) / summary.seconds / len(os.sched_getaffinity(0))
    _report(run)
    write_record(workspace, summary, config, plans, selected)
    return summary


def _processor_seconds() -> float:
    """Seconds that this process and its ended children have kept processors busy."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _report_damage(
    store: Store, plans: dict[str, StagePlan], selected: Sequence[str], summary: RunSummary
) -> None:
    """Say which artifacts are damaged, and remove those that this run makes again."""
    for name, plan in plans.items():
        for problem in plan.damaged:
            summary.notes.append(str(problem))
            logger.warning("%s", problem)
            if name in selected:
                _remove_if_damaged(store, name, problem.path.stem)


def _remove_if_damaged(store: Store, stage: str, key: str) -> None:
    """Look once more: another run may have put a whole one there since."""
    try:
        store.verify(stage, key)
    except ArtifactDamaged:
        store.remove(stage, key)
    except FileNotFoundError:
        pass


def _run_clips(run: _Run) -> set[str]:
    """Run the selected clip stages; gives the clips that failed."""
    chosen = [run.plans[stage.name] for stage in CLIP_STAGES if stage.name in run.selected]
    clips = runnable_clips(run.plans, run.selected)
    for plan in chosen:
        _count_waiting(plan, run.summary)
        mine = [clip for clip in clips if clip in plan.jobs]
        rows = [plan.quarantined[clip] for clip in mine if clip in plan.quarantined]
        run.summary.stages[plan.stage.name] = StageCount(clips=len(rows), quarantined=len(rows))
        run.summary.quarantined += rows
        progress.report(plan.stage.name, 0, len(mine))
    if not chosen:
        return set()
    workers = worker_count(run.config.engine)
    shards = make_shards(chosen, clips, workers, run.config.engine.shard_clips)
    done: dict[str, int] = {}

    def advance(stage: str, clips: int) -> None:
        done[stage] = done.get(stage, 0) + clips
        progress.report(stage, done[stage], None)

    reports = run_clip_stages(chosen, shards, run.context, run.runner, workers + 1, advance)
    for report in reports:
        run.count(report)
    return {clip for report in reports for clip in report.failed}


def _judge_tubes(run: _Run) -> None:
    """Which tubes are to be looked at; those that a run was asked for are measured, of others what is known is told."""
    workspace = run.context.workspace
    if {"track", "masks"} & set(run.selected):
        workers = worker_count(run.config.engine)
        rows, notes = measure_tubes(
            workspace,
            run.plans,
            run.config.masks.crop,
            run.config.quality,
            workers,
            lambda done, total: progress.report("quality", done, total),
        )
        run.summary.notes += notes
    else:
        rows = known_quality(workspace, run.plans, run.config.masks.crop, run.config.quality)
    run.summary.judged = len(rows)
    run.summary.suspicious = suspicious(rows.values(), run.config.quality)
    run.summary.worst = worst_first(rows.values())[:SHOWN_TUBES]


def _count_waiting(plan: StagePlan, summary: RunSummary) -> None:
    if plan.waiting:
        count = len(plan.waiting)
        summary.notes.append(
            f"{count} clip{'s' if count > 1 else ''} can't be run from '{plan.stage.name}' on: an earlier stage "
            "isn't done for them; run without --only and --from."
        )


def _run_dataset_stages(run: _Run, failed: set[str]) -> None:
    """Run pack, train and evaluate where selected, each only if the one before is there."""
    planner, plans, summary = run.planner, run.plans, run.summary
    for stage in [plans[one.name].stage for one in DATASET_STAGES if one.name in plans]:
        plan = planner.dataset_stage(stage, section(stage, run.config), plans, frozenset(failed))
        plans[stage.name] = plan
        if stage.name not in run.selected:
            continue
        # Its key may be another one than planned before, without the clips that failed meanwhile.
        _report_damage(planner.workspace.store, {stage.name: plan}, run.selected, summary)
        job = plan.jobs.get("")
        missing = job is not None and [
            parent for parent in stage.parents if not _parents_there(planner.workspace, plans[parent], job, parent)
        ]
        if job is None or missing:
            reason = f"needs {' and '.join(missing)}" if missing else "no clip got this far"
            summary.notes.append(f"{stage.name} was not run: {reason}.")
            break
        progress.report(stage.name, 0, 1)
        future = submit_shard(plan, [job], planner.dataset, run.context, run.runner)
        report = collect(stage.name, [job], future)
        run.count(report)
        progress.report(stage.name, 1, 1)
        if report.failed:
            break


def _parents_there(workspace: Workspace, parent: StagePlan, job: Job, name: str) -> bool:
    keys = [job.parents[name]] if name in job.parents else [member.keys[name] for member in job.members]
    return all(workspace.store.exists(parent.stage.name, key) for key in keys)


def _report(run: _Run) -> None:
    """Compare the tubes with the ground truth, where there is one; write the report where an evaluation is there."""
    workspace, summary = run.context.workspace, run.summary
    noticed = len(workspace.notices)
    truth = against_truth(workspace, summary.dataset, run.plans, run.config.masks)
    summary.notes += workspace.notices[noticed:]
    summary.truth = means(list(truth.values())) if truth else None
    if "evaluate" in run.selected and "evaluate" in summary.stages:
        # Loads torch, seconds that a run without an evaluation doesn't need.
        from flows.report.build import write_report

        folder = workspace.runs / summary.run_id
        folder.mkdir(parents=True, exist_ok=True)
        write_report(folder, workspace, summary, run.config, run.plans, truth)
