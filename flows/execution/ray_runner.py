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
from flows.execution.cluster import Cluster, until_there
from tasks.engine.errors import EngineError

OBJECTS_BYTES = 80 * 2**20  # about the least that Ray takes: nothing large travels


class RayRunner(RayTaskRunner[Any], Cluster):  # type: ignore[misc]  # Ray and what stands on it are untyped
    """Prefect's task runner for Ray, where stages that compute on a GPU go to the workers that have one.

    Attributes:
        asked: resources that such a stage asks of its worker.
    """

    asked: Mapping[str, float] = {}

    def __enter__(self) -> Self:
        try:
            super().__enter__()
        except (OSError, RuntimeError, ValueError) as exc:  # what ray.init raises of a head that isn't there or fits
            why = (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")
            if self.address is None:
                raise EngineError(f"Ray didn't start on this machine: {why}.") from exc
            raise EngineError(
                f"No Ray cluster answers at {self.address} ({why}); start one with: ray start --head"
            ) from exc
        return self

    def places(self) -> int:
        """One for each processor of the cluster."""
        asked = ", ".join(f"{name}={amount:g}" for name, amount in self.asked.items())
        until_there(self._fitting, f"a Ray node that has {asked}" if asked else "a Ray node")
        return max(1, int(sum(node.get("CPU", 0) for node in _nodes())))

    def _fitting(self) -> int:
        asked = self.asked.items()
        return sum(all(node.get(name, 0) >= amount for name, amount in asked) for node in _nodes())

    def submit(self, task: Task[..., Any], parameters: dict[str, Any], *rest: Any, **more: Any) -> Any:
        """As Prefect's, with what the shard's stage asks of its worker."""
        asks = parameters["assignment"].stage.uses_device and self.asked
        with remote_options(**_options(self.asked)) if asks else contextlib.nullcontext():
            return super().submit(task, parameters, *rest, **more)


def _nodes() -> list[dict[str, float]]:
    """What each living node has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


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
