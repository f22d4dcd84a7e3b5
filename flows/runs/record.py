"""What is kept of a run: `runs/<run_id>/` with run.json, the artifacts it used, metrics, predictions and the report."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from data_catalog.catalog import Workspace
from data_catalog.json_file import write_json
from data_catalog.tables.schemas import REFERENCES, write_table
from flows.runs.against_truth import against_truth
from tasks.assessment.tube_truth import means
from tasks.engine.job import UNKNOWN
from tasks.engine.plan import StagePlan

if TYPE_CHECKING:
    from flows.config import PipelineConfig
    from flows.runs.summary import RunSummary


def new_run_id() -> str:
    """Sortable by time and unique: `20260131-154502-3f9a`."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def command_line() -> str:
    """The command of this process, as one would type it."""
    program = Path(sys.argv[0])
    if program.name == "tubeflow" or program.parts[-2:] == ("cli", "__main__.py"):
        return shlex.join(["tubeflow", *sys.argv[1:]])
    if "PREFECT__FLOW_RUN_ID" in os.environ:  # a worker started this process for a run that somebody asked for
        return "prefect deployment run"
    return shlex.join(["python", *sys.orig_argv[1:]])


def finish_run(
    workspace: Workspace,
    summary: RunSummary,
    config: PipelineConfig,
    plans: Mapping[str, StagePlan],
    selected: Sequence[str],
) -> None:
    """Write the run's folder; the report and its pictures only where an evaluation is there."""
    folder = workspace.runs / summary.run_id
    folder.mkdir(parents=True, exist_ok=True)
    write_references(folder / "references.parquet", workspace, plans)
    noticed = len(workspace.notices)
    truth = against_truth(workspace, summary.dataset, plans, config)
    summary.notes += workspace.notices[noticed:]
    summary.truth = means(list(truth.values())) if truth else None
    if "evaluate" in selected and "evaluate" in summary.stages:
        from flows.report.build import write_report  # draws with matplotlib, which takes a second to import

        write_report(folder, workspace, summary, config, plans, truth)
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
    }
    write_json(folder / "run.json", record)


def write_references(path: Path, workspace: Workspace, plans: Mapping[str, StagePlan]) -> None:
    """Which artifacts the run stands on, so that `tubeflow gc` knows what is still needed."""
    rows = [
        (name, job.key, job.clip_id) for name, plan in plans.items() for job in plan.jobs.values() if job.key != UNKNOWN
    ]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, REFERENCES, strict=True)]
    write_table(path, pa.Table.from_arrays(arrays, schema=REFERENCES), REFERENCES)


def read_runs(workspace: Workspace) -> list[dict[str, Any]]:
    """All runs of a workspace, oldest first; one whose record is unreadable is left out."""
    runs = []
    for path in sorted(workspace.runs.glob("*/run.json")):
        try:
            runs.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue
    return runs
