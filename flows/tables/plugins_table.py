"""How `tubeflow plugins` is shown on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from flows.console import out
from flows.plugins.listing import PluginRow


def print_plugins(rows: Sequence[PluginRow]) -> None:
    """A row a plug-in, then why those that can't be used can't."""
    if not rows:
        out.print("No plug-ins are installed; begin one with: tubeflow plugin new tracker NAME")
        return
    table = Table("kind", "name", "package", "version", "loads")
    for row in rows:
        table.add_row(row.kind, row.name, row.distribution, row.version, "yes" if row.loads else "no")
    out.print(table)
    for row in rows:
        if row.problem:
            out.print(row.problem, markup=False, soft_wrap=True)
