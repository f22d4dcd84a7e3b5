"""What the task runners for Dask and Ray have in common: workers that may be on other machines, and come and go."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasks.engine import progress

LOOK_SECONDS = 0.2
SILENT_SECONDS = 3.0


class Cluster(ABC):
    """A task runner whose workers may be on other machines, and may come and go.

    Attributes:
        asked: resources that a stage which computes on a GPU asks of its worker.
    """

    asked: Mapping[str, float] = {}
    WORKER = "a worker"

    @abstractmethod
    def announced(self) -> Sequence[Mapping[str, float]]:
        """The resources that each worker which is there announces."""

    @abstractmethod
    def count(self) -> int:
        """How many shards the workers that are there take at once."""

    def places(self) -> int:
        """How many shards its workers take at once; waits until there is a worker that has what stages ask for."""
        asked = ", ".join(f"{name}={amount:g}" for name, amount in self.asked.items())
        until_there(self._fitting, f"{self.WORKER} that announces {asked}" if asked else self.WORKER)
        return self.count()

    def asks_of(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a shard, by the parameters of its task, asks for what `asked` says."""
        return bool(parameters["assignment"].stage.uses_device and self.asked)

    def _fitting(self) -> int:
        asked = self.asked.items()
        return sum(all(has.get(name, 0) >= amount for name, amount in asked) for has in self.announced())


def until_there(found: Callable[[], int], what: str) -> int:
    """What `found` returns as soon as that isn't 0; a longer wait is reported, with `what` is waited for."""
    started, silent = time.monotonic(), True
    while not (count := found()):
        if silent and time.monotonic() - started > SILENT_SECONDS:
            silent = False
            progress.report("waiting", 0, None, f"for {what}")
        time.sleep(LOOK_SECONDS)
    return count


def first_line(exc: BaseException) -> str:
    """What an engine's error says before its details."""
    return (str(exc).splitlines() or [type(exc).__name__])[0]
