"""The terminal: where output and errors go, progress bars, and the form of a sentence."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from data_catalog.foreign_text import visible
from tasks.engine import progress
from tasks.engine.progress import TimeLeft


class VisibleConsole(Console):
    """A console on which nothing that a stranger wrote can move the cursor, set the title or turn the writing round.

    Whatever is printed goes through here (texts, tables, errors), so no command has to think of it.
    """

    def render_str(self, text: str, **settings: Any) -> Text:
        """Rich's text of a string, measured as what will be seen."""
        return super().render_str(_visible_lines(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Rich's segments, texts that were no strings included; its own control codes are kept apart."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(_visible_lines(segment.text), segment.style)


def _visible_lines(text: str) -> str:
    return text if text.isprintable() else "\n".join(map(visible, text.split("\n")))



out = VisibleConsole(highlight=False)
err = VisibleConsole(stderr=True, highlight=False)
WIDEST = 1000  # characters of a table


PROGRESS, PROGRESS_LINES = "TUBEFLOW_PROGRESS", "lines"
"""An environment variable, and its value: progress as lines of JSON, for a program that started this one."""
LINE_SECONDS = 0.2
PATIENCE = 1.0
"""Seconds after which a command that is fast in most workspaces shows what it does."""
ALL = "all"
"""The bar of a whole run."""
TIMES = ((5400.0, 3600.0, "hour"), (90.0, 60.0, "minute"), (0.0, 1.0, "second"))
"""From how many seconds on a unit is used, its seconds, its name."""
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))


@contextlib.contextmanager
def progress_lines() -> Iterator[None]:
    """`{"progress": {"stage": …, "done": …, "total": …, "left": …}}` on the error stream, a few lines a second.

    `left` are the seconds that all stages of the run still take, or this one where that isn't known; null where
    neither is.
    """
    shown: dict[str, float] = {}
    time_left = TimeLeft()

    def listen(message: progress.Progress) -> None:
        time_left.told(message)
        now = time.monotonic()
        ended = message.total is not None and message.done >= message.total
        if message.stage in shown and not ended and message.done and now - shown[message.stage] < LINE_SECONDS:
            return
        shown[message.stage] = now
        left = time_left.overall()
        left = time_left.of(message.stage) if left is None else left
        line = {"stage": message.stage, "done": message.done, "total": message.total, "note": message.note}
        line["left"] = None if left is None else round(left, 1)
        sys.stderr.write(json.dumps({"progress": line}) + "\n")
        sys.stderr.flush()

    with progress.listening(listen, time_left.expect):
        yield


class _Left(ProgressColumn):
    """How long a stage still takes, `about 3 minutes left`, or what is noted of it; of `ALL` the run's rest."""

    max_refresh = 0.5

    def __init__(self, time_left: TimeLeft) -> None:
        super().__init__()
        self._time_left = time_left

    def render(self, task: Task) -> Text:
        left = self._time_left.overall() if task.description == ALL else self._time_left.of(task.description)
        words = [left_text(left), task.fields["note"]]
        return Text("  ".join(word for word in words if word))


class _StageBars:
    """One bar a stage on the terminal's error stream, plain lines where it isn't a terminal; nothing before `show`."""

    def __init__(self) -> None:
        self._time_left = TimeLeft()
        columns = (
            TextColumn("[bold]{task.description:>10}"),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            _Left(self._time_left),
        )
        self._bars = Progress(*columns, console=err, disable=not err.is_terminal)
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        self._shown = self._ended = False

    def show(self) -> None:
        """From now on; what was reported before is there at once."""
        with self._lock:
            if self._ended:
                return
            self._shown = True
            self._bars.start()
            for line in self._waiting:
                err.print(line, markup=False, soft_wrap=True)

    def end(self) -> None:
        """The bars stay as they are."""
        with self._lock:
            self._ended = True
            if self._shown:
                self._bars.stop()

    def expect(self, forecast: progress.Forecast) -> None:
        """A run begins, and says how long it takes."""
        self._time_left.expect(forecast)
        if not err.is_terminal:
            self._tasks.clear()  # each run of several says its stages
        if forecast.sentence:
            self._say(forecast.sentence)

    def listen(self, message: progress.Progress) -> None:
        """A stage got on."""
        self._time_left.told(message)
        if message.stage not in self._tasks:
            self._tasks[message.stage] = self._bars.add_task(message.stage, total=message.total, note="", count="")
            if not err.is_terminal:
                self._say(f"{message.stage} … {message.note}".rstrip())
        task = self._tasks[message.stage]
        if message.total is not None:
            self._bars.update(task, total=message.total)
        total = self._bars.tasks[self._bars.task_ids.index(task)].total
        self._bars.update(task, completed=message.done, note=message.note, count=_count_text(message, total))
        if self._time_left.overall() is not None:
            if ALL not in self._tasks:
                self._tasks[ALL] = self._bars.add_task(ALL, total=1.0, note="", count="")
            share = self._time_left.share()
            self._bars.update(self._tasks[ALL], completed=share, count=f"{share:.0%}")

    def _say(self, line: str) -> None:
        with self._lock:
            if self._shown:
                err.print(line, markup=False, soft_wrap=True)
            else:
                self._waiting.append(line)


def _count_text(message: progress.Progress, total: float | None) -> str:
    """`3/8`, or `1.2 MB/3.4 MB`; empty where nothing is counted."""
    if total is None and not message.done:
        return ""
    shown = size_text if message.in_bytes else str
    return f"{shown(message.done)}/{'?' if total is None else shown(int(total))}"


@contextlib.contextmanager
def stage_bars(patience: float = 0.0) -> Iterator[None]:
    """One progress bar a stage, on the terminal's error stream; plain lines where it isn't a terminal.

    Where a run says beforehand how long it takes, that is printed, and the last bar is of the whole run.

    Args:
        patience: seconds in which nothing is shown; what takes no longer leaves no trace.
    """
    if os.environ.get(PROGRESS) == PROGRESS_LINES:
        with progress_lines():
            yield
        return
    bars = _StageBars()
    timer = threading.Timer(patience, bars.show)
    timer.daemon = True
    if patience:
        timer.start()
    else:
        bars.show()
    try:
        with progress.listening(bars.listen, bars.expect):
            yield
    finally:
        timer.cancel()
        bars.end()


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """As `stage_bars`, for one thing that isn't counted, such as a query, once it has taken `PATIENCE` seconds."""
    with stage_bars(PATIENCE), progress.uncounted(what):
        yield


def print_whole(table: Table) -> None:
    """A table of figures in its own width, also on a narrower terminal: a line that goes over is better than `.5…`."""
    table.width = Measurement.get(out, out.options.update(max_width=WIDEST), table).maximum
    out.print(table, crop=False, no_wrap=True)


def sentence(text: str) -> str:
    """With a capital, unless it begins with a file's name, and a full stop."""
    capital = text[:1].upper() if re.match(r"[a-z]+ ", text) else text[:1]
    return capital + text[1:] + ("" if text.endswith((".", "?")) else ".")


def size_text(size: int) -> str:
    """`1.2 GB`."""
    for unit, name in UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}" if unit > 1 else f"{size} B"
    return "0 B"


def duration_text(parts: Mapping[str, float]) -> str:
    """`14 minutes: track 11, train 3` of the seconds of each part; parts that round to nothing are left out."""
    total = sum(parts.values())
    size, unit = _unit(total)
    digits = 1 if unit == "hour" else 0
    amounts = {name: round(seconds / size, digits) for name, seconds in parts.items()}
    shown = ", ".join(f"{name} {amount:g}" for name, amount in amounts.items() if amount)
    return _amount_text(total) + (f": {shown}" if shown else "")


def left_text(seconds: float | None) -> str:
    """`about 3 minutes left`; empty where nobody knows, or nothing is left."""
    return f"about {_amount_text(seconds)} left" if seconds else ""


def _amount_text(seconds: float) -> str:
    size, unit = _unit(seconds)
    amount = max(round(seconds / size, 1 if unit == "hour" else 0), 1)
    return f"{amount:g} {unit}{'' if amount == 1 else 's'}"


def _unit(seconds: float) -> tuple[float, str]:
    return next((size, unit) for least, size, unit in TIMES if seconds >= least)
