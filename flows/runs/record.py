"""What is kept of a run: `runs/<run_id>/` with run.json, the artifacts it used, metrics, predictions and the report."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_catalog.catalog import Workspace
from data_catalog.json_file import write_json
from data_catalog.tables.schemas import REFERENCES, write_table
from flows.config import PipelineConfig
from flows.runs.command_line import command_line
from flows.runs.summary import RunSummary
from tasks.engine.job import UNKNOWN
from tasks.engine.plan import StagePlan


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
    """Write `run.json` and the list of the artifacts that the run stands on into the run's folder."""
    folder = workspace.runs / summary.run_id
    folder.mkdir(parents=True, exist_ok=True)
    write_references(folder / "references.parquet", plans)
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


def write_references(path: Path, plans: Mapping[str, StagePlan]) -> None:
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
