"""Shards on Ray: worker processes of this machine, or those of a cluster that runs already."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Mapping
from typing import Any, Self

import ray
from prefect import Task
from prefect_ray import RayTaskRunner
from prefect_ray.context import remote_options

from flows.config import ConfigError, EngineConfig
from flows.execution.cluster import Cluster, first_line
from tasks.engine.errors import EngineError

REACH_SECONDS = 5.0
OBJECTS_BYTES = 80 * 2**20  # about the least that Ray takes: nothing large travels


class RayRunner(RayTaskRunner[Any], Cluster):  # type: ignore[misc]  # Ray and what stands on it are untyped
    """Prefect's task runner for Ray, where stages that compute on a GPU go to the workers that have one."""

    WORKER = "a Ray node"

    def __enter__(self) -> Self:
        if self.address is not None:
            _find(self.address)
        try:
            self._connect()
        except (OSError, RuntimeError, ValueError) as exc:  # what ray.init raises of a head that refuses or doesn't fit
            if self.address is None:
                raise EngineError(f"Ray didn't start on this machine: {_reason(exc)}.") from exc
            raise EngineError(
                f"What answers at {self.address} doesn't let this run in ({_reason(exc)}); it has to be a Ray head of "
                "the same version, and its RAY_AUTH_MODE and RAY_AUTH_TOKEN have to be set here as well"
            ) from exc
        return self

    def _connect(self) -> None:
        try:
            super().__enter__()
        except ConnectionAbortedError:  # the process that a head starts for each client sometimes ends at once
            self._started = False
            super().__enter__()

    def announced(self) -> list[Mapping[str, float]]:
        """What each living node has."""
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    def count(self) -> int:
        """One for each processor of the cluster."""
        return max(1, int(sum(node.get("CPU", 0) for node in self.announced())))

    def submit(self, task: Task[..., Any], parameters: dict[str, Any], *rest: Any, **more: Any) -> Any:
        """As Prefect's, with what the shard's stage asks of its worker."""
        with remote_options(**_options(self.asked)) if self.asks_of(parameters) else contextlib.nullcontext():
            return super().submit(task, parameters, *rest, **more)


def _find(address: str) -> None:
    """See that something listens there: Ray itself looks for minutes. Raises ConfigError, EngineError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise ConfigError(
            f"engine.address {address} is no address of a Ray head, such as ray://head:10001 or head:6379."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as exc:
        raise EngineError(f"No Ray cluster answers at {address} ({exc}); start one with: ray start --head") from exc


def _reason(exc: BaseException) -> str:
    """What went wrong; where a server's traceback was sent along, its last line."""
    lines = [line for line in str(exc).splitlines() if line.strip()]
    said = lines[-1] if lines and lines[0].endswith(":") else first_line(exc)
    return said.rstrip(".")


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
