"""What the task runners for Dask and Ray have in common: workers that may be on other machines, and come and go."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from tasks.engine import progress

LOOK_SECONDS = 0.2
SILENT_SECONDS = 3.0


class Cluster(ABC):
    """A task runner whose workers may be on other machines, and may come and go."""

    @abstractmethod
    def places(self) -> int:
        """How many shards its workers take at once; waits until there is a worker."""


def until_there(found: Callable[[], int], what: str) -> int:
    """What `found` returns as soon as that isn't 0; a longer wait is reported, with `what` is waited for."""
    started, silent = time.monotonic(), True
    while not (count := found()):
        if silent and time.monotonic() - started > SILENT_SECONDS:
            silent = False
            progress.report("waiting", 0, None, f"for {what}")
        time.sleep(LOOK_SECONDS)
    return count
