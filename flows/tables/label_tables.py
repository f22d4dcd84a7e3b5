"""How `tubeflow labels …` is shown on a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Table

from data_catalog.tables.edits import Edit
from flows.console import out
from flows.datasets.labels import HistoryRow


def print_edits(dataset: str, clip_id: str, edits: Sequence[Edit]) -> None:
    """What was corrected, and how to see what follows from it."""
    for edit in edits:
        out.print(f"{clip_id}: {edit.field} {shown(edit.old)} → {shown(edit.new)}", markup=False, soft_wrap=True)
    out.print(f"What follows from it: tubeflow plan … --dataset {dataset}" if edits else "Nothing changed: it is so.")


def print_history(rows: Sequence[HistoryRow]) -> None:
    """A row a correction."""
    table = Table("when", "who", "dataset", "clip", "field", "old", "new")
    table.columns[0].no_wrap = table.columns[3].no_wrap = True
    for row in rows:
        table.add_row(row.when, row.who, row.dataset, row.clip_id, row.field, shown(row.old), shown(row.new))
    out.print(table if rows else "No label was edited.")


def shown(value: object) -> str:
    """A label's value as a person reads it."""
    return "none" if value in (None, []) else value if isinstance(value, str) else json.dumps(value)
