"""What is kept of a run: `runs/<run_id>/` with run.json, the artifacts it used, metrics, predictions and the report."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.quarantine import QuarantineRow
from data_catalog.tables.runs import RECORD, REFERENCES_FILE, read_history, unreadable_run, write_run
from data_catalog.tables.schemas import REFERENCES, write_table
from flows.config import PipelineConfig, apply_overrides
from flows.runs.command_line import command_line
from flows.runs.summary import Metrics, RunSummary, StageCount
from tasks.assessment.truth_figures import TruthMeans
from tasks.engine.failures import Failure
from tasks.engine.job import UNKNOWN
from tasks.engine.plan import StagePlan


class RunRecord(BaseModel):
    """A run as `runs/<run_id>/run.json` remembers it.

    Records of earlier versions lack fields, which are empty then, and may have others, which are ignored.

    Attributes:
        where: the SQL condition that chose its clips; None where it worked on the whole dataset.
        clips: the ids of the single clips that it worked on; empty where it wasn't about single clips.
        command: as one would type it.
        finished: when, in UTC, as ISO 8601.
        seconds: that the run took.
        selected: the stages that it was asked for.
        config: as it was written; `pipeline_config` checks it.
        report: path of its report, and `contact_sheet` of the picture of its tubes, where it made them.
        number: its place among the runs of the workspace; 0 in records of the version before.
        files: SHA-256 of the other files of its folder, by their paths in it.
        results_digest: of all that its results show; results of another run with the same are the same.
        results_of: the run whose results it took over, where it had nothing to compute.
        result_notes: those of its notes that come with the results.
        result_files: the files of its results, by their paths in its folder, as many as it wrote.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    run_id: str
    dataset: str
    where: str | None = None
    clips: tuple[str, ...] = ()
    command: str = ""
    finished: str = ""
    seconds: float = 0.0
    selected: tuple[str, ...] = ()
    config: dict[str, JsonValue] = {}
    stages: dict[str, StageCount] = {}
    quarantined: tuple[QuarantineRow, ...] = ()
    troubles: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    metrics: Metrics = {}
    tubes_against_truth: TruthMeans | None = None
    report: str | None = None
    contact_sheet: str | None = None
    number: int = 0
    files: Mapping[str, str] = {}
    results_digest: str = ""
    results_of: str | None = None
    result_notes: tuple[str, ...] = ()
    result_files: tuple[str, ...] = ()

    def pipeline_config(self, overrides: Sequence[str] = ()) -> PipelineConfig:
        """The run's config with `section.field=value` laid over it. Raises ConfigError."""
        return apply_overrides(self.config, overrides)

    @property
    def evaluated(self) -> bool:
        """Whether the run was to evaluate a network, and got that far."""
        return "evaluate" in self.stages

    @property
    def last_stage(self) -> str | None:
        """The last stage that the run was asked for."""
        return self.selected[-1] if self.selected else None


def new_run_id() -> str:
    """Sortable by time and unique: `20260131-154502-3f9a`."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def write_record(
    workspace: Workspace,
    summary: RunSummary,
    config: PipelineConfig,
    plans: Mapping[str, StagePlan],
    selected: Sequence[str],
) -> None:
    """Write `run.json` and the list of the artifacts that the run stands on into the run's folder.

    Written once what the run found is there, and again when its report is, with which it then names it.
    """
    folder = workspace.runs / summary.run_id
    folder.mkdir(parents=True, exist_ok=True)
    write_references(folder / REFERENCES_FILE, plans)
    record = {
        "run_id": summary.run_id,
        "dataset": summary.dataset,
        "where": summary.where,
        "clips": list(summary.clips),
        "command": command_line(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(summary.seconds, 3),
        "selected": list(selected),
        "config": config.model_dump(mode="json"),
        "stages": {name: asdict(count) for name, count in summary.stages.items()},
        "quarantined": [asdict(row) for row in summary.quarantined],
        "troubles": [asdict(row) for row in summary.troubles],
        "notes": summary.notes,
        "metrics": summary.metrics,
        "tubes_against_truth": None if summary.truth is None else asdict(summary.truth),
        "report": summary.report,
        "contact_sheet": summary.contact_sheet,
        "results_digest": summary.results_digest,
        "results_of": summary.results_of,
        "result_notes": summary.result_notes,
        "result_files": _result_files(folder) if summary.report else [],
    }
    write_run(workspace.runs, workspace.runs_lock, record)


def _result_files(folder: Path) -> list[str]:
    own = (RECORD, REFERENCES_FILE)
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [name for name in (path.relative_to(folder).as_posix() for path in files) if name not in own]


def write_references(path: Path, plans: Mapping[str, StagePlan]) -> None:
    """Which artifacts the run stands on, so that `tubeflow gc` knows what is still needed."""
    rows = [
        (name, job.key, job.clip_id) for name, plan in plans.items() for job in plan.jobs.values() if job.key != UNKNOWN
    ]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, REFERENCES, strict=True)]
    write_table(path, pa.Table.from_arrays(arrays, schema=REFERENCES), REFERENCES)


def read_runs(workspace: Workspace) -> list[RunRecord]:
    """All runs of a workspace, oldest first; a notice names each record that can't be read."""
    runs, damaged = _read_runs(workspace)
    for problem in damaged:
        workspace.notice(unreadable_run(problem))
    return runs


def read_all_runs(workspace: Workspace) -> list[RunRecord]:
    """As `read_runs`, where none may be missing. Raises CatalogError where a record can't be read."""
    runs, damaged = _read_runs(workspace)
    if damaged:
        raise CatalogError(unreadable_run(damaged[0]))
    return runs


def unreadable_record(workspace: Workspace, run_id: str) -> str | None:
    """The sentence about a run whose record is there and can't be read; None for every other."""
    problems = _read_runs(workspace)[1]
    return next((unreadable_run(one) for one in problems if one.path.parent.name == run_id), None)


def _read_runs(workspace: Workspace) -> tuple[list[RunRecord], list[ArtifactDamaged]]:
    history = read_history(workspace.runs)
    runs, damaged = [], list(history.damaged)
    for record in history.records:
        try:
            runs.append(RunRecord.model_validate(record))
        except ValidationError:
            path = workspace.runs / str(record.get("run_id", "")) / RECORD
            damaged.append(ArtifactDamaged(path, "isn't the record of a run"))
    return runs, damaged
