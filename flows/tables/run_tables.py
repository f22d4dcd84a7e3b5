"""A run and a plan as tables: what `tubeflow run`, `demo` and `plan` print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from data_catalog.tables.tube_quality import TubeQuality
from flows.console import out
from flows.maintenance.run_plan import RunPlan
from flows.runs.summary import Metrics, RunSummary
from tasks.assessment.truth_figures import TruthMeans

SUSPICIOUS = 5  # tubes named after a run


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
    if summary.results_of is not None:
        out.print(f"Nothing has changed since run {summary.results_of}, which made these results.", markup=False)
    for label, path in (("report", summary.report), ("tubes", summary.contact_sheet)):
        if path is not None:
            out.print(f"{label:>7}  {path}", markup=False, soft_wrap=True)


def truth_sentence(truth: TruthMeans) -> str:
    """One line: `Tubes against the truth: grid IoU .83, rotated IoU .79 (60 clips).`."""
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


def print_metrics(metrics: Metrics) -> None:
    """Overall metrics of the held-out split, last and best epoch beside each other."""
    last, best = metrics.get("last", {}), metrics.get("best", {})
    for split, tables in last.items():
        table = Table(f"{split} split", "last epoch", "best epoch")
        for name, value in tables["all"].items():
            table.add_row(name, _figure(value), _figure(best.get(split, {}).get("all", {}).get(name, "")))
        out.print(table)


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4f}"


def print_plan(planned: RunPlan) -> None:
    """Per stage: hits, misses, and why; then what is to be said of it."""
    table = Table("stage", "clips", "hits", "to do", "quarantined", "why")
    for name, plan in planned.stages.items():
        why = "\n".join(plan.summary())
        numbers = (len(plan.jobs), len(plan.hits), len(plan.reasons), len(plan.quarantined))
        table.add_row(name, *map(str, numbers), why)
    out.print(table)
    for sentence in planned.remarks():
        out.print(sentence, markup=False, soft_wrap=True)
