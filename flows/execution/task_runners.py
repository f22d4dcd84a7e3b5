"""Which of Prefect's task runners runs the shards."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.futures import PrefectFuture
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from data_catalog.system import processors
from flows.config import ConfigError, EngineConfig
from flows.execution.by_name import travel_by_name
from flows.execution.cluster import Cluster
from tasks.engine.job import Context, Job
from tasks.engine.plan import StagePlan
from tasks.engine.reports import ShardReport
from tasks.engine.run import run_jobs


@dataclass(frozen=True)
class Done:
    """What has become of a shard: its report, or what ended it, as Prefect's futures say it."""

    outcome: ShardReport | Exception

    def wait(self) -> None:
        """Nothing to wait for."""

    def result(self, raise_on_failure: bool) -> ShardReport | Exception:
        """The outcome; it is never raised, as nobody wants it to be."""
        return self.outcome

    def add_done_callback(self, function: Callable[[Done], None]) -> None:
        """Call it, as the shard is done."""
        function(self)


class InThisProcess:
    """Runs each shard when it is handed over, with no worker and no server: of a run whose plan has only hits.

    What turns out damaged while its results are read is made again here, one after the other.
    """

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def run(self, plan: StagePlan, jobs: Sequence[Job], context: Context) -> Done:
        """What `tasks.engine.task_run.run_shard` does, less Prefect's part in it."""
        try:
            return Done(run_jobs(plan.stage, jobs, plan.config, context))
        except Exception as exc:  # for `scheduler.collect`, which says what it means
            return Done(exc)


ShardFuture = PrefectFuture[Any] | Done
ShardRunner = TaskRunner[Any] | InThisProcess
"""What shards are handed to. Prefect's futures don't say what they will hold; `scheduler.collect` finds out."""


def local_processors() -> int:
    """How many processors this process may use."""
    return processors()


def worker_count(engine: EngineConfig, runner: ShardRunner) -> int:
    """How many shards run at once: as asked, or as many as the cluster takes, or one for each processor."""
    return engine.workers or (runner.places() if isinstance(runner, Cluster) else local_processors())


def threads_a_worker(engine: EngineConfig) -> int | None:
    """On how many threads a worker process computes clips; None in this process, where all share the libraries' own."""
    if engine.runner == "local":
        return None
    shared = 1 if engine.address else local_processors() // (engine.workers or local_processors())
    return engine.threads or max(1, shared)


def task_runner(engine: EngineConfig) -> ShardRunner:
    """A task runner, not started. Raises ConfigError where its package isn't installed."""
    travel_by_name()
    workers = engine.workers or local_processors()
    if engine.runner == "local":
        # Threads do: decoding, OpenCV, HDF5 and torch release the interpreter's lock (only MIL takes one of its own).
        return ThreadPoolTaskRunner(max_workers=workers)
    if engine.runner == "processes":
        return ProcessPoolTaskRunner(max_workers=workers)
    if importlib.util.find_spec(f"prefect_{engine.runner}") is None:
        raise ConfigError(
            f"engine.runner is {engine.runner}, which isn't installed; install it with: "
            f"pip install 'tubeflow[{engine.runner}]'"
        )
    # Packages that a user may not have, and that take seconds to import.
    if engine.runner == "dask":
        from flows.execution.dask_runner import dask_runner

        return dask_runner(engine, workers)
    from flows.execution.ray_runner import ray_runner

    return ray_runner(engine, workers)
