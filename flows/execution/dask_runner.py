"""Shards on Dask: worker processes of this machine, or those of a scheduler that runs already."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from dask.base import annotate
from distributed import LocalCluster
from prefect import Task
from prefect.settings import get_current_settings
from prefect_dask.task_runners import DaskTaskRunner

from flows.config import ConfigError, EngineConfig
from flows.execution.cluster import Cluster, first_line
from flows.execution.stopping import farewell
from tasks.engine.errors import EngineError

LOGGERS = ("distributed", "distributed.client", "distributed.nanny", "distributed.scheduler", "distributed.http.proxy")


class DaskRunner(DaskTaskRunner, Cluster):
    """Prefect's task runner for Dask, where stages that compute on a GPU go to the workers that announce one."""

    WORKER = "a Dask worker"

    def __enter__(self) -> Self:
        _hush()
        super().__enter__()  # type: ignore[no-untyped-call]
        try:
            self._exit_stack.callback(self.client.close)  # its first use connects, or starts the workers
        except (OSError, ValueError) as exc:
            super().__exit__(None, None, None)
            if self.address is None:
                raise EngineError(f"Dask didn't start on this machine: {first_line(exc)}.") from exc
            raise EngineError(
                f"No Dask scheduler answers at {self.address} ({first_line(exc)}); start one with: dask scheduler"
            ) from exc
        if isinstance(self._cluster, LocalCluster):
            self._exit_stack.enter_context(farewell(partial(_let_workers_end, self._cluster)))
        return self

    def announced(self) -> list[Mapping[str, float]]:
        """Of each worker, as Dask's scheduler knows them."""
        return [worker["resources"] for worker in self._workers()]

    def count(self) -> int:
        """One for each thread of each worker."""
        return sum(worker["nthreads"] for worker in self._workers())

    def _workers(self) -> list[Any]:
        return list(self.client.scheduler_info(n_workers=-1)["workers"].values())

    def submit(self, task: Task[..., Any], parameters: dict[str, Any], *rest: Any, **more: Any) -> Any:
        """As Prefect's, with what the shard's stage asks of its worker, and under the stage's name on Dask's pages."""
        vars(task)["__name__"] = task.name
        with annotate(resources=dict(self.asked)) if self.asks_of(parameters) else contextlib.nullcontext():
            return super().submit(task, parameters, *rest, **more)


def _let_workers_end(cluster: LocalCluster) -> None:
    """Nobody starts workers anew that end with a stopped run."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False


def dask_runner(engine: EngineConfig, workers: int) -> DaskRunner:
    """Dask's workers at `engine.address`, or as many of our own. Raises ConfigError for an address that isn't one."""
    if engine.address:
        runner = DaskRunner(address=_scheduler(engine.address))
    else:
        runner = DaskRunner(cluster_class=LocalCluster, cluster_kwargs=_own_workers(workers, engine.resources))
    runner.asked = engine.resources
    return runner


def _own_workers(workers: int, resources: Mapping[str, float]) -> dict[str, Any]:
    """Worker processes that end with us. With TLS and keys of the moment, so that no one else hands them anything."""
    return {
        "n_workers": workers,
        "threads_per_worker": 1,
        "resources": dict(resources),
        "memory_limit": None,  # as for threads: a stage takes what it needs
        "dashboard_address": "127.0.0.1:0",  # by default open to the network
        "worker_dashboard_address": "127.0.0.1:0",
        "security": True,
        "silence_logs": logging.CRITICAL,
    }


def _scheduler(address: str) -> str:
    """The address itself, or the one in a scheduler file, as `dask scheduler --scheduler-file` writes it."""
    if "://" in address:
        return address
    try:
        found = json.loads(Path(address).read_bytes())["address"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(
            f"engine.address {address} is neither an address such as tcp://scheduler:8786 nor a file that "
            f"'dask scheduler --scheduler-file' wrote ({type(exc).__name__})."
        ) from exc
    return str(found)


def _hush() -> None:
    """Dask says in this process as much as Prefect does: nothing on the command line, whose tables say it all."""
    level = get_current_settings().logging.level
    for name in LOGGERS:
        logging.getLogger(name).setLevel(level)
