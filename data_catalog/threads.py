"""On how many threads OpenCV, BLAS and torch compute, and how those wait: the only module that says so.

Each of these libraries takes all processors for itself. Where several workers compute at once, each takes its share.
And OpenMP's threads (torch's) wait for each other by spinning, unless told otherwise before the library is loaded: on a
processor that somebody else uses too they spin for whole time slices, and tracking takes ten times the processor's
time. Those that sleep at once are woken too late where the machine is quiet, so they spin for some microseconds first
(`python -m benchmarks.worker_threads`).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Final

_lock = threading.Lock()
_undo: list[Callable[[], object]] = []
_torch_before: list[int] = []   # one number, or none as long as nothing was changed


# How OpenMP's threads wait: asleep, after so many turns of GNU's library, which is what torch's wheels for Linux bring.
ASLEEP: Final = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}


def wait_asleep() -> None:
    """OpenMP's threads sleep while they wait; for this process and those that it starts, unless the user has set it."""
    if not ASLEEP.keys() & os.environ.keys():
        os.environ.update(ASLEEP)


def most_threads(processors: int) -> int:
    """How many threads there may be on so many processors: fewer where the user has said so (``OMP_NUM_THREADS``)."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(processors, int(asked)) if asked.isdecimal() and int(asked) > 0 else processors


def pin_threads(count: int) -> None:
    """This process shares its machine: for good, OpenCV, BLAS, OpenMP and torch compute on `count` threads."""
    wait_asleep()
    os.environ["OMP_NUM_THREADS"] = str(count)  # torch reads it where it isn't loaded yet
    _set_threads(count)


def share_threads(count: int) -> None:
    """The calling thread is one of several that compute: from now on on `count` threads each.

    What isn't loaded yet is not told. `own_threads` puts back what was before.
    """
    from concurrent.futures import ThreadPoolExecutor

    import cv2  # as in the stages: not before something is computed

    with _lock:
        torch = _loaded_torch()
        if torch is not None and not _torch_before:
            # What another thread has set counts for it alone, so a new one is asked.
            with ThreadPoolExecutor(1) as fresh:
                _torch_before.append(fresh.submit(torch.get_num_threads).result())
        _undo.append(partial(cv2.setNumThreads, cv2.getNumThreads()))
        _undo.append(_set_threads(count))


def torch_threads() -> int:
    """On how many threads torch computes in this process where nothing is shared."""
    import torch  # seconds, which a run of clips alone doesn't need

    with _lock:
        return _torch_before[0] if _torch_before else torch.get_num_threads()


@contextlib.contextmanager
def own_threads() -> Iterator[None]:
    """Afterwards, each library computes on as many threads as before `share_threads`."""
    try:
        yield
    finally:
        with _lock:
            while _undo:
                _undo.pop()()
            if _torch_before:
                sys.modules["torch"].set_num_threads(_torch_before.pop())


def _loaded_torch() -> ModuleType | None:
    """torch, where somebody has loaded it; where another thread is about to, this one waits until it is whole."""
    return importlib.import_module("torch") if "torch" in sys.modules else None


def _set_threads(count: int) -> Callable[[], object]:
    """Returns what undoes it for BLAS and OpenMP."""
    import cv2
    from threadpoolctl import threadpool_limits

    cv2.setNumThreads(count)
    limits = threadpool_limits(count)
    torch = _loaded_torch()
    if torch is not None:
        torch.set_num_threads(count)
    restore: Callable[[], object] = limits.restore_original_limits
    return restore
