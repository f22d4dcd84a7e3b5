"""Prefect's side of the engine: one task run for a few clips of one stage.

Prefect runs the work and shows what the store said: a shard of nothing but hits is Cached, one with work is Completed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.states import Completed
from prefect.tasks import Task, exponential_backoff

from data_catalog.threads import pin_threads, share_threads
from tasks.engine.assignment import Assignment
from tasks.engine.errors import EngineError
from tasks.engine.job import Context, Job
from tasks.engine.run import IOFailure, ShardReport, run_jobs
from tasks.engine.site import check_in
from tasks.engine.stage import Stage

logger = logging.getLogger(__name__)

GPU_LIMIT = "gpu"


class NoGpuSlot(EngineError):
    """The Prefect server knows no limit for GPUs, so that any number of shards would share one."""


@contextlib.contextmanager
def gpu_slot(stage: Stage[Any], jobs: Sequence[Job], context: Context) -> Iterator[None]:
    """Hold one of the GPU's slots while a stage computes there; nothing to compute, nothing to hold.

    Raises:
        NoGpuSlot: nobody created the limit.
    """
    if not _computes_on_device(stage, jobs, context) or not context.resolved_device.startswith("cuda"):
        yield
        return
    with contextlib.ExitStack() as held:
        try:
            # A server that is away for minutes must not abort a training that is under way.
            slot = concurrency(GPU_LIMIT, occupy=1, strict=True, raise_on_lease_renewal_failure=False)
            held.enter_context(slot)
        except ConcurrencySlotAcquisitionError as exc:
            raise NoGpuSlot(
                f"The Prefect server has no concurrency limit '{GPU_LIMIT}'; create it with: tubeflow setup"
            ) from exc
        yield


def _computes_on_device(stage: Stage[Any], jobs: Sequence[Job], context: Context) -> bool:
    store = context.workspace.store
    return stage.uses_device and any(not store.exists(stage.name, job.key) for job in jobs)


def _worth_retrying(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), OSError)


@task(
    cache_policy=NO_CACHE,  # the store decides, and reports to Prefect
    persist_result=False,
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=1),
    retry_jitter_factor=0.5,
    retry_condition_fn=_worth_retrying,
)
def run_shard(label: str, assignment: Assignment) -> State[ShardReport] | ShardReport:
    """One Prefect task run: the jobs of one stage for a few clips.

    Raises:
        IOFailure: some files could not be read or written; Prefect tries the shard again, finished clips are hits.
        EngineError: the run can't go on.
    """
    stage, jobs, context = assignment.stage, assignment.jobs, assignment.context
    if context.site is not None:
        check_in(context.site, context.workspace.root)
    _take_threads(assignment)
    with gpu_slot(stage, jobs, context):
        report = run_jobs(stage, jobs, assignment.config, context, assignment.so_far)
    if any(trouble.retry for trouble in report.troubles):
        raise IOFailure(report)
    done = f"{label}: {report.hits} hits, {len(report.made)} computed, {len(report.failed)} quarantined"
    logger.info("%s %s", stage.name, done)
    if report.hits == len(jobs):
        return Completed(name="Cached", message=done, data=report)
    return Completed(message=done, data=report)


def _take_threads(assignment: Assignment) -> None:
    """The share of the processors that this worker, a process or a thread, computes on."""
    if assignment.threads is None:
        return
    if assignment.context.site is not None:
        pin_threads(assignment.threads)
        return
    if _computes_on_device(assignment.stage, assignment.jobs, assignment.context):
        import torch  # noqa: F401  # its stage would load it, with all processors for itself
    share_threads(assignment.threads)
