"""Clips through stages without a barrier: a shard moves to its next stage as soon as it is ready.

The flow's own thread hands the next stage of a shard to Prefect's task runner when the one before has ended, so no
worker ever waits for another, and a clip is tracked while the next one is still being decoded. Only a few more shards
than workers are under way, so that the first clips are through before the last ones begin.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from data_catalog.threads import torch_threads
from flows.execution.in_process import InThisProcess
from flows.execution.task_runners import ShardFuture, ShardRunner
from flows.execution.worker_errors import engine_error, outcome_of, took_its_worker
from tasks.engine.assignment import Assignment
from tasks.engine.failures import Failure
from tasks.engine.job import Context, Job
from tasks.engine.plan import StagePlan
from tasks.engine.run import IOFailure, ShardReport

SHARDS_A_WORKER = 8
LARGEST_SHARD = 16
CACHED_SHARD_CLIPS = 500  # hits cost a file lookup each, a task run costs milliseconds: put many into one


@dataclass(frozen=True)
class Shard:
    """A few clips that go through the stages together."""

    number: int
    clips: Sequence[str]


Finished = queue.Queue[tuple[Shard, int, list[Job], ShardFuture]]


def make_shards(
    plans: Sequence[StagePlan], runnable: Iterable[str], workers: int, shard_clips: int | None = None
) -> list[Shard]:
    """Group clips: those with work in small shards, those that are hits all the way in large ones.

    Clips with work come first, so that the processors are busy from the start. A shard is small enough that every
    worker gets several, and large enough that a task run's cost (some milliseconds) is spread over its clips.
    """
    clips = list(runnable)
    cached = [clip for clip in clips if all(clip in plan.hits for plan in plans)]
    done = set(cached)
    work = [clip for clip in clips if clip not in done]
    size = shard_clips or min(max(len(work) // (SHARDS_A_WORKER * workers), 1), LARGEST_SHARD)
    groups = [work[i : i + size] for i in range(0, len(work), size)]
    groups += [cached[i : i + CACHED_SHARD_CLIPS] for i in range(0, len(cached), CACHED_SHARD_CLIPS)]
    return [Shard(number, group) for number, group in enumerate(groups)]


def run_clip_stages(
    plans: Sequence[StagePlan],
    shards: Sequence[Shard],
    context: Context,
    runner: ShardRunner,
    in_flight: int,
    advance: Callable[[str, int], None],
) -> list[ShardReport]:
    """Take every shard through every stage; a clip that fails leaves its shard, the others go on.

    Args:
        plans: the stages in order, with their jobs.
        shards: from `make_shards`.
        context: workspace and device.
        runner: Prefect's task runner, started.
        in_flight: how many shards are under way at once.
        advance: called with the stage's name and a number of clips that are through with it.
    """
    finished: Finished = queue.Queue()
    reports: list[ShardReport] = []
    waiting = list(reversed(shards))
    under_way = 0

    def submit(shard: Shard, level: int, clips: Sequence[str]) -> bool:
        """Hand the next stage with work for these clips to the task runner; False where they are through."""
        while level < len(plans):
            jobs = [plans[level].jobs[clip] for clip in clips if clip in plans[level].jobs]
            jobs = [job for job in jobs if job.clip_id not in plans[level].quarantined]
            if jobs:
                future = submit_shard(plans[level], jobs, f"shard {shard.number}", context, runner)
                future.add_done_callback(partial(_put, finished, shard, level, jobs))
                return True
            level += 1
        return False

    while waiting or under_way:
        while waiting and under_way < in_flight:
            shard = waiting.pop()
            under_way += submit(shard, 0, shard.clips)
        if not under_way:
            break
        shard, level, jobs, future = finished.get()
        report = collect(plans[level].stage.name, jobs, future)
        reports.append(report)
        advance(report.stage, len(jobs))
        left = [job.clip_id for job in jobs if job.clip_id not in report.failed]
        under_way -= not submit(shard, level + 1, left)
    return reports


def _put(finished: Finished, shard: Shard, level: int, jobs: list[Job], future: ShardFuture) -> None:
    finished.put((shard, level, jobs, future))


def submit_shard(
    plan: StagePlan, jobs: Sequence[Job], label: str, context: Context, runner: ShardRunner
) -> ShardFuture:
    """Hand one shard of one stage to a task runner."""
    if isinstance(runner, InThisProcess):
        return runner.run(plan, jobs, context)
    from tasks.engine.task_run import run_shard  # loads Prefect, which was no use before this line

    name = plan.stage.name
    shell = run_shard.with_options(name=name, task_run_name=f"{name} {label}")
    assignment = Assignment(plan.stage, jobs, plan.config, context, _threads(plan, jobs[0], context))
    future: ShardFuture = runner.submit(shell, {"label": label, "assignment": assignment})
    return future


def _threads(plan: StagePlan, job: Job, context: Context) -> int | None:
    """On how many threads a worker computes: its share for clips, and as many as in this process for a whole dataset.

    Training is the same to the bit for one number of threads only.
    """
    if context.threads is None or job.clip_id or context.workspace.store.exists(plan.stage.name, job.key):
        return context.threads
    return torch_threads()


def collect(stage: str, jobs: Sequence[Job], future: ShardFuture) -> ShardReport:
    """The report of a shard that has ended, also of one that took its worker with it again and again.

    Raises:
        EngineError: what ended it is no fault of its clips, so that all that are left would fail in the same way.
    """
    result = outcome_of(future)
    if isinstance(result, ShardReport):
        return result
    if isinstance(result, IOFailure):
        return result.report
    if not took_its_worker(result):
        raise engine_error(stage, result)
    remedy = "Run again with engine.shard_clips=1 to see which clip it is; what is done is kept."
    reason = f"its worker process ended each time that it was at {stage}, as where memory runs out"
    troubles = [Failure(job.clip_id, stage, f"{job.name}: {reason}.", remedy, retry=False) for job in jobs]
    return ShardReport(stage, troubles=troubles)
