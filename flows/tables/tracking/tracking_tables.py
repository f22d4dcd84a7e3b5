"""How `tubeflow tracks evaluate` is shown on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.table import Table

from flows.console import out, print_whole
from flows.tracking.evaluation import COLUMNS, LEGEND, Difference, Spread, TrackerEvaluation, TrackerFigures


def print_evaluation(found: TrackerEvaluation, difference: bool) -> None:
    """A table a candidate, and how it moves with the first box; with `difference` the first minus the second."""
    for label, one in found.trackers.items():
        print_whole(clip_table(label, one))
        if one.spread:
            print_whole(spread_table(label, one.spread))
    out.print(LEGEND, markup=False)
    if difference and found.difference is not None:
        first, second = found.trackers
        out.print(difference_table(first, second, found.difference))


def clip_table(label: str, found: TrackerFigures) -> Table:
    """One row a clip, one for each attribute, and the mean; columns that nobody has a figure for are left out."""
    shown = [name for name in COLUMNS if found.mean[name] is not None]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=label, title_justify="left")
    table.add_column("clip", no_wrap=True)
    for name in shown:
        table.add_column(COLUMNS[name], justify="right", no_wrap=True)
    for one in found.clips:
        table.add_row(one.clip, *(_cell(name, getattr(one, name)) for name in shown))
    table.add_section()
    for attribute, means in found.attributes.items():
        members = sum(attribute in one.attributes for one in found.clips)
        table.add_row(f"{attribute} ({members})", *(_cell(name, means[name]) for name in shown))
    table.add_section()
    table.add_row("mean", *(_cell(name, found.mean[name]) for name in shown))
    return table


def difference_table(first: str, second: str, rows: Mapping[str, Difference]) -> Table:
    """Paired differences."""
    columns = ("", "mean", "95 % interval", "better on")
    table = Table(*columns, box=SIMPLE_HEAD, title=f"{first} minus {second}", title_justify="left")
    for name, row in rows.items():
        interval = f"{row['low']:+.3f} … {row['high']:+.3f}"
        table.add_row(COLUMNS[name], f"{row['mean']:+.3f}", interval, f"{row['wins']} of {row['clips']} clips")
    return table


def spread_table(label: str, rows: Mapping[str, Spread]) -> Table:
    """`spread` for reading."""
    count = int(next(iter(rows.values()))["runs"])
    columns = ("", "true boxes", f"{count} moved ones", "", "least", "most")
    table = Table(*columns, box=SIMPLE_HEAD, title=f"{label}, first boxes moved", title_justify="left")
    for name, row in rows.items():
        exact, mean, least, most = (_cell(name, v) for v in (row["exact"], row["mean"], row["least"], row["most"]))
        table.add_row(COLUMNS[name], exact, mean, f"± {_cell(name, row['deviation'])}", least, most)
    return table


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if name == "fps" else f"{value:.3f}".replace("0.", ".", 1)
