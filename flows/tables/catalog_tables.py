"""How `tubeflow catalog …` is shown on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from rich.table import Table

from flows.console import out, size_text
from flows.maintenance.catalog_overview import CatalogOverview, ColumnRow

ROWS = 50  # of an answer; --json prints all


def print_overview(found: CatalogOverview) -> None:
    """Datasets, stages, and one line of the rest."""
    datasets = Table("dataset", "adapter", "clips", "train", "val", "test", "left out", "edits", "bad")
    for one in found.datasets:
        splits = [str(one.splits.get(split, 0)) for split in ("train", "val", "test")]
        counts = [str(count) for count in (one.rejected, one.edits, one.bad)]
        datasets.add_row(one.name, one.adapter, str(one.clips), *splits, *counts)
    out.print(datasets)
    stages = Table("stage", "artifacts", "size", "computed in")
    for stage in found.stages:
        stages.add_row(stage.stage, str(stage.artifacts), size_text(stage.bytes), f"{stage.seconds:.1f} s")
    out.print(stages)
    out.print(f"weights {size_text(found.weights_bytes)}, {found.runs} runs, {found.quarantined} quarantined")


def print_answer(answer: pa.Table) -> None:
    """A query's answer, its first `ROWS` rows."""
    table = Table(*answer.column_names)
    for row in answer.slice(0, ROWS).to_pylist():
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    out.print(table)
    if len(answer) > ROWS:
        out.print(f"{ROWS} of {len(answer)} rows; --json prints all, or add: limit {ROWS}")


def print_columns(tables: Mapping[str, Sequence[ColumnRow]]) -> None:
    """The columns of each table, with what they mean."""
    for name, columns in tables.items():
        shown = Table("column", "type", "what it is, and its unit", title=name, title_justify="left")
        for one in columns:
            shown.add_row(one.column, one.type, one.note)
        out.print(shown)
