"""Progress in a notebook: one table that is kept up to date instead of a flood of lines."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from flows.api.html_tables import text_html
from flows.console import left_text, stage_bars
from tasks.engine import progress
from tasks.engine.progress import TimeLeft

REFRESH_SECONDS = 0.5
WAITING = "waiting"


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel; a terminal with IPython is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def notebook_bars() -> Iterator[None]:
    """In a notebook one table below the cell, elsewhere the bars of the terminal, or lines where there is none."""
    if not in_notebook():
        with stage_bars():
            yield
        return
    # Of tqdm, which other packages import for bars that nobody shows here.
    warnings.filterwarnings("ignore", message="IProgress not found")
    table = _ProgressTable()
    with progress.listening(table.told, table.expect):
        yield
    table.refresh()


def report_waiting(sentence: str) -> None:
    """Show what is waited for among the progress, until there is some."""
    progress.report(WAITING, 0, None, sentence)


class _ProgressTable:
    """A row a stage: how far it is, and how long it still takes."""

    def __init__(self) -> None:
        ipython = import_module("IPython.display")  # there, as this is a notebook
        self._html: Any = ipython.HTML
        self._time_left, self._sentence = TimeLeft(), ""
        self._stages: dict[str, progress.Progress] = {}
        self._shown = time.monotonic()
        self._display: Any = ipython.display(self._html(""), display_id=True)

    def expect(self, forecast: progress.Forecast) -> None:
        self._time_left.expect(forecast)
        self._sentence = forecast.sentence
        self.refresh()

    def told(self, message: progress.Progress) -> None:
        self._time_left.told(message)
        before = self._stages.get(message.stage)
        total = message.total if message.total is not None or before is None else before.total
        self._stages.pop(WAITING, None)
        self._stages[message.stage] = progress.Progress(message.stage, message.done, total, message.note)
        if time.monotonic() - self._shown >= REFRESH_SECONDS:
            self.refresh()

    def refresh(self) -> None:
        self._shown = time.monotonic()
        rows = "".join(_row(message, self._time_left.of(name)) for name, message in self._stages.items())
        said = [self._sentence, left_text(self._time_left.overall())]
        text = " ".join(text_html(one) for one in said if one)
        self._display.update(self._html(f"<p>{text}</p><table>{rows}</table>"))


def _row(message: progress.Progress, left: float | None) -> str:
    bounds = "" if message.total is None else f' max="{max(message.total, 1)}" value="{message.done}"'
    count = f"{message.done}" if message.total is None else f"{message.done} of {message.total}"
    name, note = text_html(message.stage), text_html("  ".join(filter(None, (left_text(left), message.note))))
    bar = f'<progress aria-label="{name}"{bounds}></progress>'
    return f"<tr><td>{name}</td><td>{bar}</td><td>{count}</td><td>{note}</td></tr>"
