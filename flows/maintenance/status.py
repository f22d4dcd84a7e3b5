"""`tubeflow status`: what the workspace holds, read from the catalog and the runs, nothing computed."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.store import ArtifactDamaged
from flows.config import ConfigError
from flows.datasets.clips import clip_count, dataset_clips, left_out, rejected_rows
from flows.runs.finished import finished_run
from flows.runs.last import last_config, last_where
from flows.runs.quality import judge_tubes
from flows.runs.record import RunRecord, read_runs
from flows.runs.results import check_pages
from flows.stages import make_plan
from tasks.engine import progress
from tasks.engine.plan import Planner, StagePlan

LAST_RUNS = 5


class StageShare(TypedDict):
    """Of one stage: artifacts that its clips want, and those that are there."""

    wanted: int
    done: int


class SetAside(TypedDict):
    """A quarantined clip: at which stage, why, and what to do."""

    clip_id: str
    stage: str
    reason: str
    remedy: str


class TubeWarning(TypedDict):
    """A tube to be looked at: from 0, nothing odd, to 1, and what is odd, worst first."""

    clip_id: str
    suspicion: float
    reasons: list[str]


class DatasetStatus(TypedDict):
    """One dataset under the config of its last run.

    `sources` counts clips by attribute of `SOURCE_WORDS`; `note` says why nothing is known of its stages.
    """

    clips: int
    stages: dict[str, StageShare]
    quarantined: list[SetAside]
    suspicious: list[TubeWarning]
    left_out: list[str]
    rejected: list[str]
    judged: NotRequired[int]
    sources: NotRequired[dict[str, int]]
    note: NotRequired[str]


class RunStatus(TypedDict):
    """One of the last runs, as its record has it."""

    run_id: str
    dataset: str
    finished: str
    seconds: float
    command: str
    report: str | None


class WorkspaceStatus(TypedDict):
    """What `tubeflow status --json` prints."""

    workspace: str
    datasets: dict[str, DatasetStatus]
    runs: list[RunStatus]


def read_status(workspace: Workspace) -> WorkspaceStatus:
    """Per dataset its clips, its stages under the config of its last run, and its quarantined clips; the last runs."""
    runs = read_runs(workspace)[-LAST_RUNS:]
    for run in runs:
        _check_files(workspace, run)
    names = progress.each("datasets", workspace.datasets.names(), str)
    return {
        "workspace": str(workspace.root),
        "datasets": {name: _dataset_status(workspace, name) for name in names},
        "runs": [
            {
                "run_id": run.run_id,
                "dataset": run.dataset,
                "finished": run.finished,
                "seconds": run.seconds,
                "command": run.command,
                "report": run.report,
            }
            for run in runs
        ],
    }


def _check_files(workspace: Workspace, run: RunRecord) -> None:
    """Mend what can be mended of a run's files, and notice what can't."""
    try:
        finished_run(workspace, run)
    except (CatalogError, ConfigError, ArtifactDamaged) as exc:
        workspace.notice(workspace.discard(exc) if isinstance(exc, ArtifactDamaged) else str(exc))
    check_pages(workspace, run)


def _dataset_status(workspace: Workspace, name: str) -> DatasetStatus:
    status: DatasetStatus = {
        "clips": 0,
        "stages": {},
        "quarantined": [],
        "suspicious": [],
        "left_out": [],
        "rejected": [],
    }
    try:
        status["clips"] = clip_count(workspace, name)
        status["rejected"] = [str(row) for row in rejected_rows(workspace, name)]
        status["left_out"] = left_out(workspace, name)
        config = last_config(workspace, name)
        clips = dataset_clips(workspace, name, last_where(workspace, name))
        plans = make_plan(Planner(workspace, name, clips), config)
    except (CatalogError, ConfigError) as exc:
        status["note"] = str(exc)
        return status
    judged = judge_tubes(workspace, plans, config.quality)
    status["judged"] = len(judged.rows)
    status["suspicious"] = [
        {"clip_id": row.clip_id, "suspicion": round(row.suspicion, 3), "reasons": row.reasons}
        for row in judged.suspicious
    ]
    if "normalize" in plans:
        status["sources"] = count_sources(workspace, plans["normalize"])
    for stage, plan in plans.items():
        status["stages"][stage] = {"wanted": len(plan.jobs), "done": len(plan.hits)}
        for row in plan.quarantined.values():
            status["quarantined"].append(
                {"clip_id": row.clip_id, "stage": row.stage, "reason": row.reason, "remedy": row.remedy}
            )
    return status


# What a normalize artifact says of its source, by attribute, and how status calls the clips that it is true of.
SOURCE_WORDS = {
    "tone_mapped": "HDR, tone-mapped",
    "deinterlaced": "interlaced, made whole",
    "rotation_deg": "turned upright",
    "missing_frames": "with frames missing",
    "damaged_packets": "with damaged packets skipped",
}


def count_sources(workspace: Workspace, plan: StagePlan) -> dict[str, int]:
    """How many normalised clips each attribute of `SOURCE_WORDS` is true of; attributes of no clip are left out."""
    keys = [plan.jobs[clip_id].key for clip_id in plan.hits]
    counts = workspace.source_marks.count(keys, lambda unknown: progress.each("sources", unknown))
    return {name: counts[name] for name in SOURCE_WORDS if name in counts}
