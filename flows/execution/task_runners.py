"""Which of Prefect's task runners runs the shards."""

from __future__ import annotations

import os
from typing import Any

from prefect.futures import PrefectFuture
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from flows.config import ConfigError, EngineConfig

ShardFuture = PrefectFuture[Any]
ShardRunner = TaskRunner[Any]
"""What shards are handed to. Prefect's futures don't say what they will hold; `scheduler.collect` finds out."""


def worker_count(engine: EngineConfig) -> int:
    """As asked, or as many as there are processors that this process may use."""
    return engine.workers or len(os.sched_getaffinity(0))


def task_runner(engine: EngineConfig) -> ShardRunner:
    """A task runner, not started. Raises ConfigError where its package isn't installed."""
    workers = worker_count(engine)
    if engine.runner == "local":
        # Threads do: decoding, OpenCV, HDF5 and torch release the interpreter's lock (only MIL takes one of its own).
        return ThreadPoolTaskRunner(max_workers=workers)
    if engine.runner == "processes":
        return ProcessPoolTaskRunner(max_workers=workers)
    try:  # packages that a user may not have
        if engine.runner == "dask":
            from prefect_dask import DaskTaskRunner

            runner: ShardRunner = DaskTaskRunner(cluster_kwargs={"n_workers": workers, "threads_per_worker": 1})
            return runner
        from prefect_ray import RayTaskRunner

        runner = RayTaskRunner(init_kwargs={"num_cpus": workers})
        return runner
    except ImportError as exc:
        name = engine.runner
        raise ConfigError(f"engine.runner is '{name}' but prefect-{name} isn't installed: pip install prefect-{name}") \
            from exc
