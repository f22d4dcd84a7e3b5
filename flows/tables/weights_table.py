"""How `tubeflow weights list` and `verify` are shown on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from flows.console import out
from flows.maintenance.weights_status import WeightRow

MEGABYTE = 1e6


def print_weights(rows: Sequence[WeightRow]) -> None:
    """A row a file, then what is wrong with those that changed."""
    table = Table("name", "file", "state", "MB", "for", "licence")
    for column in table.columns[:3]:
        column.no_wrap = True  # what one types must be readable on a narrow terminal, too
    for row in rows:
        size = "" if row.bytes is None else f"{row.bytes / MEGABYTE:.1f}"
        table.add_row(row.name, row.file, row.state, size, row.purpose, row.licence)
    out.print(table)
    for row in rows:
        if row.state == "changed":
            out.print(f"{row.file}: {row.note}", markup=False, soft_wrap=True)
