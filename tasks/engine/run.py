"""The stage engine: keys, hits, misses, retries, quarantine.

A stage is a function from parents' artifacts and a config to a new artifact. Its key is a digest of everything that
determines it (`tasks.engine.keys`), so asking whether a piece of work is done is asking whether a file is there: the
store is the only authority. Nothing here knows Prefect, whose import takes seconds; `tasks.engine.task_run` is where it
has the work done.

What can go wrong with a clip has two forms. `BadClip`, which no retry mends, is quarantined under its key and not
tried again until the key changes. Everything else (a full disk, a bug) is trouble: it is reported, nothing is
remembered, and the next run tries again; I/O trouble is retried with backoff within the run.
"""

from __future__ import annotations

import functools
import importlib.metadata
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from data_catalog.catalog import Workspace
from data_catalog.store import Lineage
from data_catalog.tables.index import Record, record_of
from tasks.engine.config import StageConfig
from tasks.engine.errors import BadClip
from tasks.engine.failures import quarantine_job, to_failure
from tasks.engine.job import UNKNOWN, Context, Job, Product
from tasks.engine.reports import IOFailure as IOFailure
from tasks.engine.reports import ShardReport as ShardReport
from tasks.engine.stage import Stage
from tasks.engine.turns import Claimed, claimed_in_turn


def run_jobs(
    stage: Stage[Any], jobs: Sequence[Job], config: StageConfig, context: Context, so_far: ShardReport | None = None
) -> ShardReport:
    """Have every artifact that `jobs` want: skip the ones that are there, make the others, one by one.

    Bad clips are quarantined and never stop the others. `so_far` is the report of an earlier attempt at the same
    jobs, which is continued: what it made and what it quarantined is settled, its troubles are tried again.
    """
    store, started = context.workspace.store, time.perf_counter()
    report = so_far if so_far is not None else ShardReport(stage.name)
    report.troubles.clear()
    settled = {made.clip_id for made in report.made} | {row.clip_id for row in report.quarantined}
    jobs = [job for job in jobs if job.clip_id not in settled]
    todo = [job for job in jobs if not store.exists(stage.name, job.key)]
    report.hits = len(jobs) - len(todo)
    given_up = context.workspace.quarantine.keys(stage.name) if todo else set()  # by earlier runs; tried again here
    settled_elsewhere = functools.partial(_settled_elsewhere, context.workspace, report, given_up)
    for claimed in claimed_in_turn(context.workspace, todo, settled_elsewhere):
        _make(stage, claimed, config, context, report)
    report.seconds += time.perf_counter() - started
    return report


def _settled_elsewhere(workspace: Workspace, report: ShardReport, given_up: set[str], job: Job) -> bool:
    """Whether another run has made the artifact, or found that it can't be made, since this run looked."""
    if workspace.store.exists(job.stage, job.key):
        report.hits += 1
        return True
    row = workspace.quarantine.get(job.stage, job.key) if job.key not in given_up else None
    if row is not None:  # of the same key, perhaps of another clip with the same content
        report.quarantined.append(replace(row, dataset=job.dataset, clip_id=job.clip_id))
        return True
    return False


def _make(stage: Stage[Any], claimed: Claimed, config: StageConfig, context: Context, report: ShardReport) -> None:
    """Compute jobs that are ours, keep what comes out, and release each claim as soon as its job is settled."""
    claims = {job.clip_id: claim for job, claim in claimed}
    clock = time.perf_counter()
    for job, outcome in _outcomes(stage, [job for job, _ in claimed], config, context):
        result: Record | Exception
        if isinstance(outcome, Product):
            result = _keep(stage, job, config, context, outcome, time.perf_counter() - clock)
        else:
            result = outcome
        if isinstance(result, Record):
            report.made.append(result)
            report.notes += outcome.notes if isinstance(outcome, Product) else ()
        elif isinstance(result, BadClip):
            report.quarantined.append(quarantine_job(context.workspace, job, result))
        else:
            report.troubles.append(to_failure(context.workspace, job, result))
        if (claim := claims[job.clip_id]) is not None:
            claim.release()
        clock = time.perf_counter()


def _outcomes(
    stage: Stage[Any], jobs: Sequence[Job], config: StageConfig, context: Context
) -> Iterator[tuple[Job, Product | Exception]]:
    """The stage's outcomes; where its function breaks off, the jobs that it still owed fail with its exception."""
    owed = {job.clip_id: job for job in jobs}
    for job in [job for job in jobs if job.key == UNKNOWN]:
        yield owed.pop(job.clip_id), OSError(f"{job.clip.video if job.clip else job.dataset} could not be read")
    if not owed:
        return
    try:
        for job, outcome in stage.compute(list(owed.values()), config, context):
            owed.pop(job.clip_id, None)
            yield job, outcome
    except Exception as exc:
        yield from ((job, exc) for job in owed.values())


def _keep(
    stage: Stage[Any], job: Job, config: StageConfig, context: Context, product: Product, seconds: float
) -> Record | Exception:
    lineage = Lineage(
        stage=stage.name,
        stage_version=stage.version,
        config=stage.config_of(config),
        inputs=job.inputs,
        weights=job.weights,
        parents=job.parents,
        key=job.key,
        dataset=job.dataset,
        clip_id=job.clip_id,
        libraries=library_versions() | dict(context.brought_by),
        seconds=round(seconds, 6),
        host=socket.gethostname(),
        created=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    try:
        store = context.workspace.store
        if product.file is not None:
            path = store.adopt(lineage, product.file)
        else:
            path = store.write(lineage, product.arrays, product.attrs)
        return record_of(lineage, path.stat())
    except Exception as exc:  # of this clip alone; `run_jobs` sorts out which kind
        return exc


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that can change an artifact's content."""
    names = ("tubeflow", "numpy", "av", "opencv-python", "h5py", "torch", "ultralytics")
    return {name: importlib.metadata.version(name) for name in names}
