"""How far a stage is: stages report, whoever draws a bar listens.

The core of a stage knows nothing of terminals, Prefect or web pages. It calls `report`; a command line or a
flow registers a listener. Nobody listening costs nothing.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """One message: `done` of `total` units of a stage; total is None where nobody knows yet."""

    stage: str
    done: int
    total: int | None
    note: str = ""


Listener = Callable[[Progress], None]

_listeners: list[Listener] = []
_lock = threading.Lock()


def report(stage: str, done: int, total: int | None, note: str = "") -> None:
    """Tell every listener. A listener that fails is dropped: a broken progress bar must not stop a computation."""
    with _lock:
        listeners = tuple(_listeners)
    for listener in listeners:
        try:
            listener(Progress(stage, done, total, note))
        except Exception:
            logger.warning("a progress listener failed and is not called again", exc_info=True)
            _remove(listener)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` with every report of this process until the block ends."""
    with _lock:
        _listeners.append(listener)
    try:
        yield
    finally:
        _remove(listener)


def _remove(listener: Listener) -> None:
    with _lock:
        if listener in _listeners:
            _listeners.remove(listener)
