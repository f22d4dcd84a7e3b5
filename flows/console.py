"""The terminal: where output and errors go, progress bars, and the form of a sentence."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from data_catalog.foreign_text import visible
from tasks.engine import progress


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
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))


@contextlib.contextmanager
def progress_lines() -> Iterator[None]:
    """`{"progress": {"stage": …, "done": …, "total": …}}` on the error stream, a few lines a second."""
    shown: dict[str, float] = {}

    def listen(message: progress.Progress) -> None:
        now = time.monotonic()
        ended = message.total is not None and message.done >= message.total
        if message.stage in shown and not ended and message.done and now - shown[message.stage] < LINE_SECONDS:
            return
        shown[message.stage] = now
        line = {"stage": message.stage, "done": message.done, "total": message.total, "note": message.note}
        sys.stderr.write(json.dumps({"progress": line}) + "\n")
        sys.stderr.flush()

    with progress.listening(listen):
        yield


@contextlib.contextmanager
def stage_bars() -> Iterator[None]:
    """One progress bar a stage, on the terminal's error stream; plain lines where it isn't a terminal."""
    if os.environ.get(PROGRESS) == PROGRESS_LINES:
        with progress_lines():
            yield
        return
    columns = (
        TextColumn("[bold]{task.description:>10}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:

        def listen(message: progress.Progress) -> None:
            if message.stage not in tasks:
                tasks[message.stage] = bars.add_task(message.stage, total=message.total, note="")
                if not err.is_terminal:
                    err.print(f"{message.stage} … {message.note}".rstrip(), markup=False, soft_wrap=True)
            task = tasks[message.stage]
            if message.total is not None:
                bars.update(task, total=message.total)
            bars.update(task, completed=message.done, note=message.note)

        with progress.listening(listen):
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
