"""What the command line shows: progress bars, tables, sentences."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from tasks.engine import progress

if TYPE_CHECKING:
    from data_catalog.datasets.records import Check, Listing
    from data_catalog.tables.tube_quality import TubeQuality
    from flows.runs.summary import RunSummary
    from tasks.assessment.truth_figures import TruthMeans
    from tasks.engine.plan import StagePlan

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
WIDEST = 1000  # characters of a table
SUSPICIOUS = 5  # tubes named after a run


PROGRESS, PROGRESS_LINES = "TUBEFLOW_PROGRESS", "lines"
"""An environment variable, and its value that has progress told in lines of JSON to a program that started this one."""
LINE_SECONDS = 0.2


@contextlib.contextmanager
def progress_lines() -> Iterator[None]:
    """`{"progress": {"stage": …, "done": …, "total": …}}` on the error stream, a few lines a second."""
    told: dict[str, float] = {}

    def listen(message: progress.Progress) -> None:
        now = time.monotonic()
        ended = message.total is not None and message.done >= message.total
        if message.stage in told and not ended and message.done and now - told[message.stage] < LINE_SECONDS:
            return
        told[message.stage] = now
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
                    err.print(f"{message.stage} …")
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


def print_summary(summary: RunSummary) -> None:
    """The table of stages, the metrics, what went wrong, and where the report is."""
    table = Table("stage", *(name for name in ("clips", "computed", "cached", "quarantined", "seconds")))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, count in summary.stages.items():
        numbers = (count.clips, count.computed, count.hits, count.quarantined)
        table.add_row(name, *map(str, numbers), f"{count.seconds:.1f}")
    out.print(table)
    print_metrics(summary.metrics)
    for note in summary.notes:
        out.print(note, markup=False)
    for row in summary.failures:
        out.print(f"  ✗ {row.stage}: {row.reason} {row.remedy}", markup=False)
    if summary.truth is not None:
        out.print(truth_sentence(summary.truth), markup=False)
    print_suspicious(summary.suspicious, summary.judged)
    took = f"{summary.seconds:.1f} s, processors {summary.busy:.0%} busy"
    if summary.failed:
        out.print(f"Completed with {summary.failed} quarantined in {took}.")
    else:
        out.print(f"Completed in {took}.")
    for label, path in (("report", summary.report), ("tubes", summary.contact_sheet)):
        if path is not None:
            out.print(f"{label:>7}  {path}", markup=False, soft_wrap=True)


def truth_sentence(truth: TruthMeans) -> str:
    """`Tubes against the truth: grid IoU .83, rotated IoU .79 (60 clips).`"""
    shown = {"grid IoU": truth.grid, "rotated IoU": truth.rotated}
    known = [f"{name} {value:.2f}".replace(" 0.", " .") for name, value in shown.items() if value is not None]
    clips = f"{truth.clips} clip{'' if truth.clips == 1 else 's'}"
    return f"Tubes against the truth: {', '.join(known) or 'no athlete is ever in sight'} ({clips})."


def print_suspicious(rows: Sequence[TubeQuality], judged: int) -> None:
    """The tubes to look at first, and where the others are found."""
    if not rows:
        return
    out.print(f"{len(rows)} of {judged} tubes are to be looked at:")
    for row in rows[:SUSPICIOUS]:
        out.print(f"  ! {row.clip_id} {row.suspicion:.2f}: {' '.join(row.reasons)}", markup=False, soft_wrap=True)
    if len(rows) > SUSPICIOUS:
        sql = "select clip_id, suspicion, reasons from tube_quality order by suspicion desc"
        out.print(f'  … all of them: tubeflow catalog query "{sql}"', markup=False, soft_wrap=True)


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """Overall metrics of the held-out split, last and best epoch beside each other."""
    last, best = metrics.get("last", {}), metrics.get("best", {})
    for split, tables in last.items():
        table = Table(f"{split} split", "last epoch", "best epoch")
        for name, value in tables["all"].items():
            table.add_row(name, _figure(value), _figure(best.get(split, {}).get("all", {}).get(name, "")))
        out.print(table)


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4f}"


def print_checks(name: str, checks: Sequence[Check], listing: Listing) -> None:
    """Published figures beside the ones found, then what the adapter warns of."""
    table = Table(f"{name}", "published", "found", "")
    for check in checks:
        table.add_row(check.name, check.expected, check.found, "✓" if check.ok else "✗ differs")
    out.print(table)
    for sentence in listing.warnings:
        out.print(sentence, markup=False, soft_wrap=True)
    differ = sum(not check.ok for check in checks)
    out.print(f"{len(checks) - differ} of {len(checks)} figures agree.")


def print_plan(plans: Mapping[str, StagePlan], notices: Sequence[str]) -> None:
    """Per stage: hits, misses, and why; then what was found damaged."""
    table = Table("stage", "clips", "hits", "to do", "quarantined", "why")
    for name, plan in plans.items():
        why = "\n".join(plan.summary())
        numbers = (len(plan.jobs), len(plan.hits), len(plan.reasons), len(plan.quarantined))
        table.add_row(name, *map(str, numbers), why)
    out.print(table)
    damaged = [str(problem) for plan in plans.values() for problem in plan.damaged]
    for sentence in [*notices, *damaged]:
        out.print(sentence, markup=False, soft_wrap=True)


def sentence(text: str) -> str:
    """With a capital, unless it begins with a file's name, and a full stop."""
    capital = text[:1].upper() if re.match(r"[a-z]+ ", text) else text[:1]
    return capital + text[1:] + ("" if text.endswith((".", "?")) else ".")
