"""How `tubeflow flops` is shown on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from flows.console import out
from flows.report.attention_cost import GroupCost
from models.attention.cost import in_words, reduction


def print_flops(rows: Sequence[GroupCost]) -> None:
    """Tube and dense block side by side, and what the tube saves."""
    table = Table(title="multiply-accumulates of one attention block, mean over clips")
    table.add_column("")
    for column in ("clips", "positions", "tube (published)", "Non-local", "saved", "tube (true)", "Non-local", "saved",
                   "executed"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.group,
            str(row.clips),
            f"{row.tube.positions:,} of {row.dense.positions:,}",
            in_words(row.tube.published),
            in_words(row.dense.published),
            f"{reduction(row.tube.published, row.dense.published):.1%}",
            in_words(row.tube.true),
            in_words(row.dense.true),
            f"{reduction(row.tube.true, row.dense.true):.1%}",
            in_words(row.tube.executed),
        )
    out.print(table)
    out.print("published: g and W_z only, as the paper counts; true: all projections and the attention products;")
    out.print("executed: what this program computes for the same result.")
