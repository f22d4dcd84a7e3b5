"""The results of an earlier run that say all that those of this run would: taken over instead of being made again.

A report takes seconds of pandas, Matplotlib, SciPy and PyTorch, and where nothing was computed since the last one, it
would say the same. What it says follows from a digest of what it shows; the page goes on to name the run that drew it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

import flows
from data_catalog.catalog import Workspace
from data_catalog.plain_file import file_digest
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.runs import check_file, read_history
from flows.config import PipelineConfig
from flows.runs.clip_poses import pose_stamps
from flows.runs.record import RunRecord
from flows.runs.summary import RunSummary
from tasks.engine.plan import StagePlan

DRAWN_BY = ("report", "draw")
"""Rooms whose code decides what a page looks like; another version of them draws a new one."""


def results_digest(
    workspace: Workspace,
    summary: RunSummary,
    config: PipelineConfig,
    plans: Mapping[str, StagePlan],
    selected: Sequence[str],
) -> str:
    """SHA-256 over everything that a run's predictions, metrics and report show, but the run's own name and times."""
    dataset = workspace.catalog / "datasets" / summary.dataset
    failed = {row.clip_id for row in summary.failures}
    jobs = [(name, job) for name, plan in plans.items() for job in plan.jobs.values() if job.clip_id not in failed]
    shown = {
        "dataset": {path.name: file_digest(path) for path in sorted(dataset.glob("*")) if path.suffix != ".lock"},
        "clips": [summary.dataset, summary.where, summary.clips],
        "config": config.model_dump(mode="json"),
        "selected": list(selected),
        "artifacts": [[name, job.clip_id, job.key] for name, job in jobs],
        "failures": [asdict(row) for row in summary.failures],
        "suspicious": [tuple(row) for row in summary.suspicious],
        "judged": summary.judged,
        "poses": pose_stamps(workspace, summary.dataset, sorted({job.clip_id for _, job in jobs if job.clip_id})),
        "truth": None if summary.truth is None else asdict(summary.truth),
        "code": [version("tubeflow"), *_stamps()],
    }
    return hashlib.sha256(json.dumps(shown, sort_keys=True, default=str).encode()).hexdigest()


def _stamps() -> list[object]:
    root = Path(flows.__file__).parent
    files = sorted(path for room in DRAWN_BY for path in (root / room).rglob("*") if path.suffix != ".pyc")
    return [[path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def take_over(workspace: Workspace, summary: RunSummary) -> bool:
    """Copy the results of the newest run with the same digest into this run's folder, and enter them in the summary.

    Args:
        workspace: the workspace.
        summary: of the run, with its `results_digest`.

    Returns:
        Whether there were any. Those without a report (it wasn't asked for, or something ended it), those that lack a
        file, and those with one that isn't what was written don't count.
    """
    for record in reversed(read_history(workspace.runs).records):
        if record.get("results_digest") != summary.results_digest or record.get("report") is None:
            continue
        try:
            earlier = RunRecord.model_validate(record)
            _copy(workspace.runs, earlier, summary.run_id)
        except (ValidationError, ArtifactDamaged, OSError):
            continue
        folder = workspace.runs / summary.run_id
        summary.metrics, summary.results_of = earlier.metrics, earlier.results_of or earlier.run_id
        for note in earlier.result_notes:
            summary.say_of_results(note)
        summary.report = str(folder / Path(str(earlier.report)).name)
        summary.contact_sheet = earlier.contact_sheet and str(folder / Path(earlier.contact_sheet).name)
        return True
    return False


def _copy(runs: Path, earlier: RunRecord, run_id: str) -> None:
    """Raises ArtifactDamaged, OSError: a file that was written then isn't there, or isn't what it was."""
    for name in earlier.result_files:
        copy = runs / run_id / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(runs / earlier.run_id / name, copy)
        check_file(runs / run_id, name, earlier.files.get(name, "no longer known"))
