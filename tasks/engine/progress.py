"""How far a stage is: stages report, whoever draws a bar listens.

The core of a stage knows nothing of terminals, Prefect or web pages. It calls `report`; a command line or a
flow registers a listener. Nobody listening costs nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """One message: `done` of `total` units of a stage; total is None where nobody knows yet.

    `in_bytes` says that they are bytes, which nobody reads as plain numbers.
    """

    stage: str
    done: int
    total: int | None
    note: str = ""
    in_bytes: bool = False


@dataclass(frozen=True)
class Forecast:
    """What a run is going to do.

    Attributes:
        seconds: of wall time for each stage that has something to do, by its name; None where nobody knows.
        sentence: the same in words.
    """

    seconds: Mapping[str, float | None]
    sentence: str


Listener = Callable[[Progress], None]
Expecting = Callable[[Forecast], None]

_listeners: list[Listener] = []
_expecting: list[Expecting] = []
_lock = threading.Lock()


def expect(forecast: Forecast) -> None:
    """Tell every listener that wants to know what a run is going to do, before its first report."""
    with _lock:
        expecting = tuple(_expecting)
    for one in expecting:
        try:
            one(forecast)
        except Exception:
            logger.warning("a progress listener failed at a forecast", exc_info=True)


def report(stage: str, done: int, total: int | None, note: str = "", *, in_bytes: bool = False) -> None:
    """Tell every listener. A listener that fails is dropped: a broken progress bar must not stop a computation."""
    with _lock:
        listeners = tuple(_listeners)
    for listener in listeners:
        try:
            listener(Progress(stage, done, total, note, in_bytes))
        except Exception:
            logger.warning("a progress listener failed and is not called again", exc_info=True)
            _remove(listener)


def each(stage: str, items: Collection[T], note: Callable[[T], str] = lambda item: "") -> Iterator[T]:
    """The items one after the other, reporting how many of them are done, and what is noted of the next."""
    for done, item in enumerate(items):
        report(stage, done, len(items), note(item))
        yield item
    report(stage, len(items), len(items))


@contextmanager
def uncounted(stage: str) -> Iterator[None]:
    """Report that something begins whose parts nobody counts, and that it is done."""
    report(stage, 0, None)
    yield
    report(stage, 1, 1)


@contextmanager
def listening(listener: Listener, expecting: Expecting | None = None) -> Iterator[None]:
    """Call `listener` with every report of this process until the block ends, and `expecting` with each forecast."""
    with _lock:
        _listeners.append(listener)
        if expecting is not None:
            _expecting.append(expecting)
    try:
        yield
    finally:
        _remove(listener)
        with _lock:
            if expecting in _expecting:
                _expecting.remove(expecting)


def _remove(listener: Listener) -> None:
    with _lock:
        if listener in _listeners:
            _listeners.remove(listener)


class TimeLeft:
    """Hears forecast and progress, and answers how long each stage, and all of them together, still take.

    At first as the store's artifacts say, then more and more as it goes this time. Where neither was anything measured
    before nor is a first unit done, the answer is None: nobody knows.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: dict[str, float] = {}
        self._latest: dict[str, tuple[int, int | None]] = {}
        self._expected: dict[str, float | None] = {}
        self._start = clock()

    def expect(self, forecast: Forecast) -> None:
        """A run begins whose stages take so long."""
        self._expected, self._start = dict(forecast.seconds), self._clock()
        self._began.clear()
        self._latest.clear()

    def told(self, message: Progress) -> None:
        """A stage got on."""
        self._began.setdefault(message.stage, self._clock())
        total = message.total if message.total is not None else self._latest.get(message.stage, (0, None))[1]
        self._latest[message.stage] = (message.done, total)

    def done(self, stage: str) -> float:
        """The part of a stage that is done, from 0 to 1; 0 where nobody knows of how much."""
        done, total = self._latest.get(stage, (0, None))
        return min(done / total, 1.0) if total else 0.0

    def of(self, stage: str) -> float | None:
        """Seconds that a stage still takes, from the time that it has taken so far."""
        if stage not in self._began:
            return None
        return _left(self._expected.get(stage), self.done(stage), self._clock() - self._began[stage])

    def overall(self) -> float | None:
        """Seconds that all forecast stages still take; None where one of them was never measured."""
        known = [seconds for seconds in self._expected.values() if seconds is not None]
        if not known or len(known) < len(self._expected):
            return None
        return _left(sum(known), self.share(), self._clock() - self._start)

    def share(self) -> float:
        """The part of all forecast stages that is done, from 0 to 1: of their time, or of their number."""
        if not self._expected:
            return 0.0
        known = all(seconds is not None for seconds in self._expected.values())
        weights = {name: seconds if known and seconds else 0.0 for name, seconds in self._expected.items()}
        if not any(weights.values()):
            weights = dict.fromkeys(weights, 1.0)
        return sum(weight * self.done(name) for name, weight in weights.items()) / sum(weights.values())


def _left(expected: float | None, share: float, elapsed: float) -> float | None:
    """Seconds for the rest: what was expected and what this pace says, the latter the more the more is done."""
    if share >= 1:
        return 0.0
    pace = elapsed * (1 - share) / share if share > 0 else None
    if expected is None or pace is None:
        return pace if expected is None else expected * (1 - share)
    return (1 - share) * expected * (1 - share) + share * pace
