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
from flows.config import PipelineConfig, config_text
from flows.datasets.clips import left_out, wanted_clips
from flows.execution.run_options import RunOptions
from flows.execution.scheduler import collect, make_shards, run_clip_stages, submit_shard
from flows.execution.task_runners import ShardRunner, task_runner, worker_count
from flows.runs.against_truth import against_truth
from flows.runs.quality import Judgement, judge_tubes, worst_first
from flows.runs.record import new_run_id, write_record
from flows.runs.summary import RunSummary, StageCount
from flows.stages import CLIP_STAGES, DATASET_STAGES, make_plan, runnable_clips
from tasks.assessment.truth_figures import TruthFigures, means
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
    context: Context
    runner: ShardRunner
    workers: int
    shard_clips: int | None
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
    selected_tubes = {"track", "masks"} & set(selected)
    try:
        with runner or task_runner(config.engine) as started_runner:
            workers, shard_clips = worker_count(config.engine), config.engine.shard_clips
            run = _Run(planner, plans, context, started_runner, workers, shard_clips, selected, summary)
            failed = _run_clips(run)
            judged = judge_tubes(workspace, plans, config.quality, workers if selected_tubes else 0, _measured_so_far)
            _enter(judged, summary)
            _run_dataset_stages(run, failed)
    finally:
        workspace.index.save()
        workspace.store.close()
        workspace.claims.sweep()
        workspace.store.sweep()  # the folders of worker processes, which have ended
    summary.notes += [*workspace.notices, *lock_notices()]
    summary.seconds = time.perf_counter() - started
    summary.busy = (_processor_seconds() - used) / summary.seconds / len(os.sched_getaffinity(0))
    truth = _compare_tubes(workspace, summary, plans)
    if "evaluate" in selected and "evaluate" in summary.stages:
        _report(workspace, summary, plans, truth, config_text(config))
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
    """Run the selected clip stages; returns the clips that failed."""
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
    shards = make_shards(chosen, clips, run.workers, run.shard_clips)
    done: dict[str, int] = {}

    def advance(stage: str, clips: int) -> None:
        done[stage] = done.get(stage, 0) + clips
        progress.report(stage, done[stage], None)

    reports = run_clip_stages(chosen, shards, run.context, run.runner, run.workers + 1, advance)
    for report in reports:
        run.count(report)
    return {clip for report in reports for clip in report.failed}


def _measured_so_far(done: int, total: int) -> None:
    progress.report("quality", done, total)


def _enter(judged: Judgement, summary: RunSummary) -> None:
    """Which tubes are to be looked at, into the run's summary."""
    summary.notes += judged.notes
    summary.judged = len(judged.rows)
    summary.suspicious = judged.suspicious
    summary.worst = worst_first(judged.rows.values())[:SHOWN_TUBES]


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
        plan = planner.dataset_stage(stage, plans[stage.name].config, plans, frozenset(failed))
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


def _compare_tubes(
    workspace: Workspace, summary: RunSummary, plans: dict[str, StagePlan]
) -> dict[str, TruthFigures]:
    """Compare the tubes with the ground truth, where there is one, and enter the means in the summary."""
    noticed = len(workspace.notices)
    truth = against_truth(workspace, summary.dataset, plans)
    summary.notes += workspace.notices[noticed:]
    summary.truth = means(list(truth.values())) if truth else None
    return truth


def _report(
    workspace: Workspace,
    summary: RunSummary,
    plans: dict[str, StagePlan],
    truth: dict[str, TruthFigures],
    settings: str,
) -> None:
    """Write the report of a run that evaluated a network."""
    # Loads torch, seconds that a run without an evaluation doesn't need.
    from flows.report.build import write_report

    folder = workspace.runs / summary.run_id
    folder.mkdir(parents=True, exist_ok=True)
    write_report(folder, workspace, summary, plans, truth, settings)
