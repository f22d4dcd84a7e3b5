"""Shards on Ray: worker processes of this machine, or those of a cluster that runs already."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Self

import ray
from prefect import Task
from prefect_ray import RayTaskRunner
from prefect_ray.context import remote_options

from flows.config import EngineConfig
from flows.execution.cluster import Cluster, first_line
from tasks.engine.errors import EngineError

OBJECTS_BYTES = 80 * 2**20  # about the least that Ray takes: nothing large travels


class RayRunner(RayTaskRunner[Any], Cluster):  # type: ignore[misc]  # Ray and what stands on it are untyped
    """Prefect's task runner for Ray, where stages that compute on a GPU go to the workers that have one."""

    WORKER = "a Ray node"

    def __enter__(self) -> Self:
        try:
            super().__enter__()
        except (OSError, RuntimeError, ValueError) as exc:  # what ray.init raises of a head that isn't there or fits
            why = first_line(exc).rstrip(".")
            if self.address is None:
                raise EngineError(f"Ray didn't start on this machine: {why}.") from exc
            raise EngineError(
                f"No Ray cluster answers at {self.address} ({why}); start one with: ray start --head"
            ) from exc
        return self

    def announced(self) -> list[Mapping[str, float]]:
        """What each living node has."""
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]

    def count(self) -> int:
        """One for each processor of the cluster."""
        return max(1, int(sum(node.get("CPU", 0) for node in self.announced())))

    def submit(self, task: Task[..., Any], parameters: dict[str, Any], *rest: Any, **more: Any) -> Any:
        """As Prefect's, with what the shard's stage asks of its worker."""
        with remote_options(**_options(self.asked)) if self.asks_of(parameters) else contextlib.nullcontext():
            return super().submit(task, parameters, *rest, **more)


def _options(resources: Mapping[str, float]) -> dict[str, Any]:
    """Ray has words of its own for processors and GPUs."""
    known = {"CPU": "num_cpus", "GPU": "num_gpus"}
    options: dict[str, Any] = {known[name]: amount for name, amount in resources.items() if name in known}
    return options | {"resources": {name: amount for name, amount in resources.items() if name not in known}}


def ray_runner(engine: EngineConfig, workers: int) -> RayRunner:
    """Ray's workers at `engine.address`, or as many of our own."""
    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    if engine.address:
        runner = RayRunner(engine.address, quiet)
    else:
        own: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": OBJECTS_BYTES}
        own["resources"] = {name: amount for name, amount in engine.resources.items() if name not in ("CPU", "GPU")}
        if "GPU" in engine.resources:
            own["num_gpus"] = engine.resources["GPU"]
        runner = RayRunner(None, quiet | own)
    runner.asked = engine.resources
    return runner
