"""Which of Prefect's task runners runs the shards."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Union

from data_catalog.system import processors
from data_catalog.threads import most_threads
from flows.config import ConfigError, EngineConfig
from flows.execution.cluster import Cluster
from flows.execution.in_process import Done, InThisProcess

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture
    from prefect.task_runners import TaskRunner

ShardFuture = Union["PrefectFuture[Any]", Done]
ShardRunner = Union["TaskRunner[Any]", InThisProcess]
"""What shards are handed to. Prefect's futures don't say what they will hold; `scheduler.collect` finds out."""


def local_processors() -> int:
    """How many processors this process may use."""
    return processors()


def worker_count(engine: EngineConfig, runner: ShardRunner) -> int:
    """How many shards run at once: as asked, or as many as the cluster takes, or one for each processor."""
    return engine.workers or (runner.places() if isinstance(runner, Cluster) else local_processors())


def threads_a_worker(engine: EngineConfig, shards: int | None = None) -> int:
    """On how many threads a worker computes clips: its share, and a larger one where there are fewer shards."""
    busy = min(engine.workers or local_processors(), shards or local_processors())
    return engine.threads or (1 if engine.address else max(1, most_threads(local_processors() // busy)))


def task_runner(engine: EngineConfig) -> ShardRunner:
    """A task runner, not started. Raises ConfigError where its package isn't installed."""
    # Prefect takes seconds to import, which a run that has nothing to do doesn't need.
    from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

    from flows.execution.by_name import travel_by_name

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
