"""How `tubeflow flops` is shown on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from flows.console import out
from flows.report.attention_cost import GroupCost
from models.attention.cost import in_words, reduction


def print_flops(rows: Sequence[GroupCost]) -> None:
    """Tube and dense blocks side by side, and what the tube saves."""
    table = Table(title="multiply-accumulates of the network's attention, mean over clips")
    for column in ("", "clips", "positions", "counted"):
        table.add_column(column)
    for column in ("tube", "Non-local", "saved"):
        table.add_column(column, justify="right")
    for row in rows:
        counts = (
            ("g, W_z", row.tube.published, row.dense.published),
            ("Table 3", row.tube.printed, row.dense.printed),
            ("true", row.tube.true, row.dense.true),
            ("executed", row.tube.executed, row.dense.executed),
        )
        group = (row.group, str(row.clips), f"{row.tube.positions:,} of {row.dense.positions:,}")
        for place, (name, tube, dense) in enumerate(counts):
            first = ("", "", "") if place else group
            table.add_row(*first, name, in_words(tube), in_words(dense), f"{reduction(tube, dense):.1%}")
        table.add_section()
    out.print(table)
    out.print(
        "g, W_z: their products alone; Table 3: with biases and a BatchNorm, as the paper seems to count; true: all "
        "projections and the attention products; executed: what is computed for the same result. All attention blocks "
        "of the network together, tubes as they are after min_positions. A form that compares no positions stands "
        "beside one Non-local block.",
        soft_wrap=True,
    )
