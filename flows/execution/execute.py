"""One run inside a flow run: plan, take the clips through their stages, then pack, train and evaluate."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from data_catalog.atomic import sweep
from data_catalog.catalog import Workspace
from data_catalog.errors import os_sentence
from data_catalog.locks import sentences as lock_sentences
from data_catalog.store import ArtifactDamaged, Store
from data_catalog.threads import own_threads
from flows.config import EngineConfig, PipelineConfig, config_text
from flows.datasets.clips import left_out, wanted_clips
from flows.execution.mending import Mending
from flows.execution.run_options import RunOptions
from flows.execution.scheduler import make_shards, run_clip_stages
from flows.execution.task_runners import ShardRunner, local_processors, task_runner, threads_a_worker, worker_count
from flows.plugins.used import load_plugins, taken_names, used_plugins
from flows.runs.against_truth import against_truth
from flows.runs.estimate import estimate
from flows.runs.quality import judge_tubes, worst_first
from flows.runs.record import new_run_id, write_record
from flows.runs.standing import results_digest, take_over
from flows.runs.summary import RunSummary, StageCount
from flows.stages import DATASET_STAGES, StageName, check_kind, clip_plans, make_plan, runnable_clips, stages_there
from flows.tracking.better_tracker import better_tracker
from tasks.assessment.truth_figures import TruthFigures, means
from tasks.assessment.tube_checks import QualityConfig
from tasks.detect import DetectConfig
from tasks.engine import progress
from tasks.engine.failures import lost_artifact
from tasks.engine.job import Context, Job
from tasks.engine.plan import Planner, StagePlan, resolve_sources
from tasks.engine.run import ShardReport
from tasks.engine.site import Site

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
    engine: EngineConfig
    selected: Sequence[str]
    summary: RunSummary
    mending: Mending

    def count(self, report: ShardReport) -> None:
        """Into the run's table, and its artifacts into the index."""
        self.summary.count(report)
        for record in report.made:
            self.context.workspace.index.add(record)


def execute(
    config: PipelineConfig,
    dataset: str,
    workspace: Workspace,
    selected: Sequence[StageName],
    options: RunOptions,
    runner: ShardRunner | None = None,
) -> RunSummary:
    """Run the selected stages inside a flow run: plan, clips stage by stage, then the dataset's stages.

    `runner` is what runs the shards; by default the one that `config.engine` names.

    Raises:
        CatalogError, ConfigError: nothing was begun; the message is for the user.
    """
    started, used = time.perf_counter(), _processor_seconds()
    check_kind(workspace, dataset, config)
    selected = stages_there(config, selected)
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
    config = _settled(config, plans, summary)
    load_plugins(config)
    summary.notes += taken_names(config)
    if "track" in selected and plans["track"].reasons and (better := better_tracker(config, workspace)):
        summary.notes.append(better)
    _report_damage(workspace.store, plans, selected, summary)
    context = _context(workspace, dataset, config)
    selected_tubes = {"track", "masks"} & set(selected)
    try:
        with own_threads(), runner or task_runner(config.engine) as started_runner:
            workers = worker_count(config.engine, started_runner)
            progress.expect(estimate(workspace.index.rows, plans, selected, workers).forecast())
            mending = Mending(plans, context, started_runner, summary)
            run = _Run(planner, plans, context, started_runner, workers, config.engine, selected, summary, mending)
            _make_again_what_is_not_selected(run, plans.values())
            failed = _run_clips(run)
            _judge_tubes(run, config.quality, min(workers, local_processors()) if selected_tubes else 0)
            _run_dataset_stages(run, failed)
            truth = _compare_with_truth(run)
            standing = _take_over(run, config, options)
            if not standing:
                _read_evaluation(run)
            _write_record(run, config, time.perf_counter() - started)
            if options.report and not standing and _write_report(run, truth, config_text(config)):
                _write_record(run, config, time.perf_counter() - started)
    finally:
        workspace.index.save()
        workspace.store.close()
        workspace.claims.sweep()
        workspace.store.sweep()  # the folders of worker processes, which have ended
    summary.busy = (_processor_seconds() - used) / summary.seconds / local_processors()
    return summary


def _context(workspace: Workspace, dataset: str, config: PipelineConfig) -> Context:
    """What the stages of this run use; workers in other processes check that they find the same."""
    engine, info = config.engine, workspace.datasets.info(dataset)
    if engine.runner == "local":
        return Context(workspace, engine.device, None, threads_a_worker(engine), info.brought_by)
    from prefect.settings import get_current_settings  # takes seconds, which a run in this process doesn't have

    videos = info.root
    server = get_current_settings().api.url
    brought = {plugin.distribution: plugin.version for plugin in used_plugins(config)}
    site = Site.make(workspace, (videos,) if Path(videos).is_dir() else (), server, brought)
    return Context(workspace, engine.device, site, threads_a_worker(engine), info.brought_by)


def _write_record(run: _Run, config: PipelineConfig, seconds: float) -> None:
    """Keep what the run did, with what it found damaged and mended in the catalog."""
    workspace, summary = run.context.workspace, run.summary
    run.mending.count()
    summary.seconds = seconds
    summary.notes += [notice for notice in (*workspace.notices, *lock_sentences()) if notice not in summary.notes]
    write_record(workspace, summary, config, run.plans, run.selected)


def _processor_seconds() -> float:
    """Seconds that this process and its ended children have kept processors busy."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _settled(config: PipelineConfig, plans: Mapping[str, StagePlan], summary: RunSummary) -> PipelineConfig:
    """The config with the detector that its plan settled on, so that the run's record says which; a note says why."""
    found = plans["detect"].config if "detect" in plans else config.detect
    if not isinstance(found, DetectConfig) or found == config.detect:
        return config
    summary.notes.append(
        f"First frames: {found.detector}, the first of '{config.detect.detector}' whose weights are here "
        "(get others with: tubeflow weights pull NAME)."
    )
    return config.model_copy(update={"detect": found})


def _report_damage(
    store: Store, plans: dict[str, StagePlan], selected: Sequence[str], summary: RunSummary
) -> None:
    """Say which artifacts are damaged, and remove those that this run makes again."""
    for name, plan in plans.items():
        for problem in plan.damaged if name in selected else ():
            if str(problem) not in summary.notes:
                summary.notes.append(str(problem))
                logger.warning("%s", problem)
                store.remove_damaged(name, problem.path.stem)


def _make_again_what_is_not_selected(run: _Run, plans: Iterable[StagePlan]) -> None:
    """Damaged artifacts of stages that this run wasn't asked for, so that those that it was asked for find them."""
    for plan in plans:
        for problem in plan.damaged if plan.stage.name not in run.selected else ():
            lost = lost_artifact(run.context.workspace, problem)
            if lost is not None:
                run.mending.restore(lost)


def _run_clips(run: _Run) -> set[str]:
    """Run the selected clip stages; returns the clips that failed."""
    chosen = clip_plans(run.plans, run.selected)
    clips = runnable_clips(run.plans, run.selected)
    for plan in chosen:
        _count_waiting(plan, run.summary)
        mine = [clip for clip in clips if clip in plan.jobs]
        rows = [plan.quarantined[clip] for clip in mine if clip in plan.quarantined]
        run.summary.stages[plan.stage.name] = StageCount(clips=len(rows), quarantined=len(rows))
        run.summary.quarantined += rows
        progress.report(plan.stage.name, 0, len(mine))
    if not chosen:
        run.mending.count()
        return set()
    shards = make_shards(chosen, clips, run.workers, run.engine.shard_clips)
    context = replace(run.context, threads=threads_a_worker(run.engine, len(shards)))
    done: dict[str, int] = {}

    def advance(stage: str, clips: int) -> None:
        done[stage] = done.get(stage, 0) + clips
        progress.report(stage, done[stage], None)

    reports = run_clip_stages(chosen, shards, context, run.runner, run.workers + 1, advance)
    while again := run.mending.take_restored(reports):
        for level, plan in enumerate(chosen):
            shards = make_shards(chosen[level:], again.get(plan.stage.name, []), run.workers, run.engine.shard_clips)
            reports += run_clip_stages(chosen[level:], shards, context, run.runner, run.workers + 1, advance)
    for report in reports:
        run.count(report)
    run.mending.count()
    return {clip for report in reports for clip in report.failed}


def _measured_so_far(done: int, total: int) -> None:
    progress.report("quality", done, total)


def _judge_tubes(run: _Run, config: QualityConfig, workers: int) -> None:
    """Which tubes are to be looked at, into the run's summary; with `workers`, those not measured yet are measured."""
    workspace, summary = run.context.workspace, run.summary
    try:
        judged = run.mending.reading(
            lambda: judge_tubes(workspace, run.plans, config, workers, _measured_so_far)
        )
    except (ArtifactDamaged, FileNotFoundError) as exc:
        judged = judge_tubes(workspace, run.plans, config)
        summary.notes.append(f"Some tubes could not be judged: {_what_failed(exc)}.")
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
            _make_again_what_is_not_selected(run, [plan])
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
        report = run.mending.run(plan, job)
        run.count(report)
        progress.report(stage.name, 1, 1)
        if report.failed:
            break


def _parents_there(workspace: Workspace, parent: StagePlan, job: Job, name: str) -> bool:
    keys = [job.parents[name]] if name in job.parents else [member.keys[name] for member in job.members]
    return all(workspace.store.exists(parent.stage.name, key) for key in keys)


def _compare_with_truth(run: _Run) -> Mapping[str, TruthFigures]:
    """Compare the tubes with the ground truth, where there is one, and enter the means in the summary."""
    summary = run.summary
    try:
        truth = run.mending.reading(partial(against_truth, run.context.workspace, summary.dataset, run.plans))
    except (ArtifactDamaged, FileNotFoundError) as exc:
        summary.notes.append(f"The tubes could not be compared with the truth: {_what_failed(exc)}.")
        return {}
    summary.truth = means(list(truth.values())) if truth else None
    return truth


def _evaluated(run: _Run) -> bool:
    """Whether the run was to evaluate, and the evaluation is there."""
    job = run.plans["evaluate"].jobs.get("") if "evaluate" in run.plans else None
    done = "evaluate" in run.selected and "evaluate" in run.summary.stages
    return done and job is not None and run.context.workspace.store.exists("evaluate", job.key)


def _take_over(run: _Run, config: PipelineConfig, options: RunOptions) -> bool:
    """Whether an earlier run's results are this one's too, which are then copied: only where nothing was computed."""
    workspace, summary = run.context.workspace, run.summary
    summary.results_digest = results_digest(workspace, summary, config, run.plans, run.selected)
    nothing_new = not options.verify and not any(count.computed for count in summary.stages.values())
    return options.report and nothing_new and _evaluated(run) and take_over(workspace, summary)


def _read_evaluation(run: _Run) -> None:
    """Write predictions and metrics into the run's folder, and enter the metrics in the summary."""
    if not _evaluated(run):
        return
    # Loads pandas and Matplotlib, seconds that a run without an evaluation doesn't need.
    from flows.report.build import write_results

    workspace, summary = run.context.workspace, run.summary
    folder = workspace.runs / summary.run_id
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run.mending.reading(partial(write_results, folder, workspace, summary, run.plans))
    except (ArtifactDamaged, FileNotFoundError) as exc:
        summary.notes.append(f"The evaluation could not be read: {_what_failed(exc)}. Run again.")


def _write_report(run: _Run, truth: Mapping[str, TruthFigures], settings: str) -> bool:
    """Write the report of an evaluation; one that can't be written is said and takes nothing else with it.

    Returns:
        Whether the summary says anything new.
    """
    summary = run.summary
    if not summary.metrics:
        return False
    from flows.report.build import write_report  # as above

    folder = run.context.workspace.runs / summary.run_id
    report = partial(write_report, folder, run.context.workspace, summary, run.plans, truth, settings)
    try:
        run.mending.reading(report)
    except Exception as exc:  # whatever a drawing library raises: the run and its figures stand
        logger.debug("The report of %s", summary.run_id, exc_info=exc)
        summary.notes.append(
            f"The report could not be written: {_what_failed(exc)}. The run's figures are kept in {folder}; "
            "run the same again for a report."
        )
    return True


def _what_failed(exc: Exception) -> str:
    """Without a full stop."""
    if isinstance(exc, ArtifactDamaged):
        return f"{exc.path} {exc.what}"
    if isinstance(exc, OSError):
        return os_sentence(exc).rstrip(".")
    return f"{type(exc).__name__}: {exc}".rstrip(".")
