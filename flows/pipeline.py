"""The pipeline: normalize → detect → track → masks → pack → train → evaluate.

The first four work on one clip at a time, the last three on the whole dataset. Every flow here is the same run over
another selection of stages, so `pipeline`, `preprocess`, `experiment` and `stage` share all artifacts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import deployment
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner

from data_catalog.atomic import sweep
from data_catalog.catalog import CatalogError, Workspace
from data_catalog.errors import os_sentence
from data_catalog.quarantine import QuarantineRow
from data_catalog.store import ArtifactDamaged, Store
from flows.clips import dataset_clips, left_out
from flows.config import ConfigError, PipelineConfig, apply_overrides
from flows.datasets import ProceduralSpec, make_procedural
from flows.engines import task_runner, worker_count
from flows.runs import finish_run, new_run_id
from flows.scheduler import collect, make_shards, run_clip_stages, submit_shard
from flows.setup import make_own_gpu_slot
from tasks import detect, evaluate, masks, normalize, pack, progress, track, train
from tasks.config import StageConfig
from tasks.plan import Planner, StagePlan, resolve_sources
from tasks.stage import Context, ShardReport, Stage, Trouble

logger = logging.getLogger(__name__)

StageName = Literal["normalize", "detect", "track", "masks", "pack", "train", "evaluate"]  # a choice in the form
CLIP_STAGES: tuple[Stage, ...] = (normalize.STAGE, detect.STAGE, track.STAGE, masks.STAGE)
DATASET_STAGES: tuple[Stage, ...] = (pack.STAGE, train.STAGE, evaluate.STAGE)
STAGE_NAMES = tuple(stage.name for stage in CLIP_STAGES + DATASET_STAGES)
PREPROCESS = STAGE_NAMES[:5]
EXPERIMENT = STAGE_NAMES[5:]


class RunOptions(StageConfig):
    """How a run behaves; nothing here changes an artifact.

    Attributes:
        strict: end Failed when any clip is quarantined.
        where: work on a part of the dataset: an SQL condition on the columns of its clip table.
        retry_quarantined: try quarantined clips again.
        verify: read every source and artifact instead of trusting size, time and inode.
        make_procedural: make this procedural dataset first where the workspace has none of the dataset's name.
    """

    strict: bool = False
    where: str | None = None
    retry_quarantined: bool = False
    verify: bool = False
    make_procedural: ProceduralSpec | None = None


DEFAULT_CONFIG = PipelineConfig()
DEFAULT_OPTIONS = RunOptions()
NO_OVERRIDES: list[str] = []


@dataclass
class StageCount:
    """One row of the run's table. `clips` = hits + computed + quarantined; a dataset stage counts as one."""

    clips: int = 0
    hits: int = 0
    computed: int = 0
    quarantined: int = 0
    seconds: float = 0.0


@dataclass
class RunSummary:
    """What a run did; `tubeflow run --json` prints it."""

    run_id: str
    dataset: str
    stages: dict[str, StageCount] = field(default_factory=dict)
    quarantined: list[QuarantineRow] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    report: str | None = None
    contact_sheet: str | None = None
    seconds: float = 0.0
    where: str | None = None

    @property
    def failures(self) -> list[QuarantineRow | Trouble]:
        """Why clips have no result: quarantined, or in trouble that the next run may not meet."""
        return [*self.quarantined, *self.troubles]

    @property
    def failed(self) -> int:
        """Clips without a result."""
        return len({row.clip_id for row in self.failures})

    def as_json(self) -> dict[str, Any]:
        """What `tubeflow run --json` prints."""
        return {
            "run_id": self.run_id,
            "stages": {name: asdict(count) for name, count in self.stages.items()},
            "metrics": self.metrics,
            "report": self.report,
            "contact_sheet": self.contact_sheet,
            "quarantined": [
                {"clip_id": row.clip_id, "stage": row.stage, "reason": row.reason, "remedy": row.remedy}
                for row in self.failures
            ],
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
        }


def select_stages(only: str | None = None, start: str | None = None, until: str | None = None) -> tuple[str, ...]:
    """The stages between `start` and `until`, or `only` one. Raises ConfigError for an unknown name."""
    for name in (only, start, until):
        if name is not None and name not in STAGE_NAMES:
            raise ConfigError(f"There is no stage '{name}'; stages: {', '.join(STAGE_NAMES)}.")
    if only is not None:
        return (only,)
    first = STAGE_NAMES.index(start) if start else 0
    last = STAGE_NAMES.index(until) if until else len(STAGE_NAMES) - 1
    if first > last:
        raise ConfigError(f"Stage '{start}' comes after '{until}'; nothing would run.")
    return STAGE_NAMES[first : last + 1]


def make_plan(
    planner: Planner, config: PipelineConfig, selected: Sequence[str] = STAGE_NAMES
) -> dict[str, StagePlan]:
    """The plan of all stages up to the last selected one; what comes later needs no weights yet."""
    needed = STAGE_NAMES[: 1 + max(STAGE_NAMES.index(name) for name in selected)]
    return planner.plan(
        [(stage, section(stage, config)) for stage in CLIP_STAGES if stage.name in needed],
        [(stage, section(stage, config)) for stage in DATASET_STAGES if stage.name in needed],
    )


def section(stage: Stage, config: PipelineConfig) -> Any:
    """What a stage is configured with: its own section, or everything where it composes its own view."""
    return config if stage.config_view is not None else getattr(config, stage.name)


def runnable_clips(plans: dict[str, StagePlan], selected: Sequence[str]) -> list[str]:
    """Clips for which every stage that comes first and isn't selected is done; the others wait."""
    clips = list(plans[CLIP_STAGES[0].name].jobs)
    chosen = [stage.name for stage in CLIP_STAGES if stage.name in selected]
    if not chosen:
        return []
    for stage in CLIP_STAGES[: STAGE_NAMES.index(chosen[0])]:
        ready = plans[stage.name].hits
        waiting = [clip for clip in clips if clip not in ready and clip not in plans[stage.name].quarantined]
        plans[chosen[0]].waiting.update(waiting)
        clips = [clip for clip in clips if clip in ready]
    return clips


def execute(
    config: PipelineConfig,
    dataset: str,
    workspace: Workspace,
    selected: Sequence[str],
    options: RunOptions,
    runner: TaskRunner[Any] | None = None,
) -> RunSummary:
    """Run the selected stages inside a flow run: plan, clips stage by stage, then the dataset's stages.

    `runner` is what runs the shards; by default the one that `config.engine` names.

    Raises:
        CatalogError, ConfigError: nothing was begun; the message is for the user.
    """
    started = time.perf_counter()
    summary = RunSummary(new_run_id(), dataset)
    planner = Planner(
        workspace,
        dataset,
        dataset_clips(workspace, dataset, options.where),
        retry_quarantined=options.retry_quarantined,
        verify=options.verify,
    )
    if not planner.clips:
        which = f" for which {options.where}" if options.where else ""
        raise CatalogError(f"Dataset '{dataset}' has no clips{which}; look at: tubeflow catalog")
    summary.where = options.where
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
            failed = run_clips(plans, config, context, started_runner, selected, summary)
            run_dataset_stages(planner, plans, config, context, started_runner, selected, failed, summary)
    finally:
        workspace.index.save()
        workspace.store.close()
        workspace.store.sweep()  # the folders of worker processes, which have ended
    summary.notes += workspace.notices
    summary.seconds = time.perf_counter() - started
    finish_run(workspace, summary, config, plans, selected)
    return summary


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


def run_clips(
    plans: dict[str, StagePlan],
    config: PipelineConfig,
    context: Context,
    runner: TaskRunner[Any],
    selected: Sequence[str],
    summary: RunSummary,
) -> set[str]:
    """Run the selected clip stages; gives the clips that failed."""
    chosen = [plans[stage.name] for stage in CLIP_STAGES if stage.name in selected]
    clips = runnable_clips(plans, selected)
    for plan in chosen:
        _count_waiting(plan, summary)
        mine = [clip for clip in clips if clip in plan.jobs]
        rows = [plan.quarantined[clip] for clip in mine if clip in plan.quarantined]
        summary.stages[plan.stage.name] = StageCount(clips=len(rows), quarantined=len(rows))
        summary.quarantined += rows
        progress.report(plan.stage.name, 0, len(mine))
    if not chosen:
        return set()
    workers = worker_count(config.engine)
    shards = make_shards(chosen, clips, workers, config.engine.shard_clips)
    done: dict[str, int] = {}

    def advance(stage: str, clips: int) -> None:
        done[stage] = done.get(stage, 0) + clips
        progress.report(stage, done[stage], None)

    reports = run_clip_stages(chosen, shards, context, runner, workers + 1, advance)
    for report in reports:
        tally(report, context.workspace, summary)
    return {clip for report in reports for clip in report.failed}


def _count_waiting(plan: StagePlan, summary: RunSummary) -> None:
    if plan.waiting:
        count = len(plan.waiting)
        summary.notes.append(
            f"{count} clip{'s' if count > 1 else ''} can't be run from '{plan.stage.name}' on: an earlier stage "
            "isn't done for them; run without --only and --from."
        )


def tally(report: ShardReport, workspace: Workspace, summary: RunSummary) -> None:
    """Add a shard's report to the run's table and its artifacts to the index."""
    count = summary.stages.setdefault(report.stage, StageCount())
    failed = len(report.failed)
    count.clips += report.hits + len(report.made) + failed
    count.hits += report.hits
    count.computed += len(report.made)
    count.quarantined += failed
    count.seconds += report.seconds
    summary.quarantined += report.quarantined
    summary.troubles += report.troubles
    summary.notes += report.notes
    for record in report.made:
        workspace.index.add(record)


def run_dataset_stages(
    planner: Planner,
    plans: dict[str, StagePlan],
    config: PipelineConfig,
    context: Context,
    runner: TaskRunner[Any],
    selected: Sequence[str],
    failed: set[str],
    summary: RunSummary,
) -> None:
    """Run pack, train and evaluate where selected, each only if the one before is there."""
    for stage in DATASET_STAGES:
        if stage.name not in plans:
            break
        plan = planner.dataset_stage(stage, section(stage, config), plans, frozenset(failed))
        plans[stage.name] = plan
        if stage.name not in selected:
            continue
        # Its key may be another one than planned before, without the clips that failed meanwhile.
        _report_damage(planner.workspace.store, {stage.name: plan}, selected, summary)
        job = plan.jobs.get("")
        missing = job is not None and [
            parent for parent in stage.parents if not _parents_there(planner.workspace, plans[parent], job, parent)
        ]
        if job is None or missing:
            reason = f"needs {' and '.join(missing)}" if missing else "no clip got this far"
            summary.notes.append(f"{stage.name} was not run: {reason}.")
            break
        progress.report(stage.name, 0, 1)
        future = submit_shard(plan, [job], planner.dataset, context, runner)
        report = collect(stage.name, [job], future)
        tally(report, planner.workspace, summary)
        progress.report(stage.name, 1, 1)
        if report.failed:
            break


def _parents_there(workspace: Workspace, parent: StagePlan, job: Any, name: str) -> bool:
    keys = [job.parents[name]] if name in job.parents else [member.keys[name] for member in job.members]
    return all(workspace.store.exists(parent.stage.name, key) for key in keys)


def run_stages(
    config: PipelineConfig,
    overrides: Sequence[str],
    dataset: str,
    workspace: Path,
    selected: Sequence[str],
    options: RunOptions,
) -> State[Any]:
    """Execute inside a flow run, show what happened on its page, and end it in the state that says so."""
    try:
        if overrides:
            config = apply_overrides(config.model_dump(mode="json"), overrides)
        opened = Workspace.open(_lasting(workspace))
        make_own_gpu_slot()
        if options.make_procedural is not None and dataset not in opened.datasets.names():
            make_procedural(opened, dataset, options.make_procedural)
        summary = execute(config, dataset, opened, selected, options)
    except (CatalogError, ConfigError) as exc:
        return Failed(message=str(exc), data=exc)
    except OSError as exc:
        trouble = CatalogError(os_sentence(exc))
        return Failed(message=str(trouble), data=trouble)
    show_failures(summary)
    if summary.failed and (options.strict or nothing_left(summary)):
        return Failed(message=f"{summary.failed} clips failed", data=summary)
    done = f"completed with {summary.failed} quarantined" if summary.failed else "completed"
    return Completed(message=f"{done}: {summary.report or summary.run_id}", data=summary)


def _lasting(workspace: Path) -> Path:
    """A worker starts each run in a folder that is removed afterwards: there, a relative path would lose everything."""
    if deployment.id and not workspace.is_absolute():
        raise CatalogError(f"A worker needs the whole path of the workspace, got '{workspace}'; set it and run again.")
    return workspace


def nothing_left(summary: RunSummary) -> bool:
    """Whether some stage was asked for and not one clip came through it."""
    return any(count.clips and count.clips == count.quarantined for count in summary.stages.values())


def show_failures(summary: RunSummary) -> None:
    """A table on the run's page: which clips failed, where, why, and what to do."""
    rows = summary.failures
    if rows:
        create_table_artifact(
            key="quarantined",
            description=f"Clips of dataset {summary.dataset} without a result",
            table=[
                {"clip": row.clip_id, "stage": row.stage, "reason": row.reason, "remedy": row.remedy} for row in rows
            ],
        )


@flow(flow_run_name="{dataset}", persist_result=False)
def pipeline(
    dataset: str,
    config: PipelineConfig = DEFAULT_CONFIG,
    overrides: list[str] = NO_OVERRIDES,
    workspace: Path = Path("workspace"),
    options: RunOptions = DEFAULT_OPTIONS,
    start: StageName | None = None,
    until: StageName | None = None,
) -> State[Any]:
    """Raw clips to a scored report: all seven stages, or those from `start` until `until`."""
    return run_stages(config, overrides, dataset, workspace, select_stages(start=start, until=until), options)


@flow(flow_run_name="{dataset}", persist_result=False)
def preprocess(
    dataset: str,
    config: PipelineConfig = DEFAULT_CONFIG,
    overrides: list[str] = NO_OVERRIDES,
    workspace: Path = Path("workspace"),
    options: RunOptions = DEFAULT_OPTIONS,
) -> State[Any]:
    """normalize … pack: everything that needs no training."""
    return run_stages(config, overrides, dataset, workspace, PREPROCESS, options)


@flow(flow_run_name="{dataset}", persist_result=False)
def experiment(
    dataset: str,
    config: PipelineConfig = DEFAULT_CONFIG,
    overrides: list[str] = NO_OVERRIDES,
    workspace: Path = Path("workspace"),
    options: RunOptions = DEFAULT_OPTIONS,
) -> State[Any]:
    """train and evaluate, on a pack that is there."""
    return run_stages(config, overrides, dataset, workspace, EXPERIMENT, options)


@flow(flow_run_name="{stage} {dataset}", persist_result=False)
def stage(
    stage: StageName,
    dataset: str,
    config: PipelineConfig = DEFAULT_CONFIG,
    overrides: list[str] = NO_OVERRIDES,
    workspace: Path = Path("workspace"),
    options: RunOptions = DEFAULT_OPTIONS,
) -> State[Any]:
    """One stage alone, for the clips that are ready for it."""
    return run_stages(config, overrides, dataset, workspace, select_stages(only=stage), options)
