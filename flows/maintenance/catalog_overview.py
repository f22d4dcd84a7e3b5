"""What a workspace holds, counted: the record of `tubeflow catalog`, and of its queries and its schema."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import pyarrow as pa

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.query import TABLES
from data_catalog.suggest import nearest
from flows.datasets.clips import rejected_rows


@dataclass(frozen=True)
class DatasetCounts:
    """One dataset; `splits` counts clips by split, `rejected` rows that were left out, `edits` corrected labels."""

    name: str
    adapter: str
    root: str
    clips: int
    splits: dict[str, int]
    rejected: int
    edits: int
    bad: int


@dataclass(frozen=True)
class StageSize:
    """The artifacts of one stage: their size on the disk, and the seconds that computing them took."""

    stage: str
    artifacts: int = 0
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class CatalogOverview:
    """A workspace: `quarantined` counts clips that can't be worked on, `runs` those with a record."""

    workspace: str
    datasets: tuple[DatasetCounts, ...]
    stages: tuple[StageSize, ...]
    weights_bytes: int
    runs: int
    quarantined: int


@dataclass(frozen=True)
class ColumnRow:
    """One column of a catalog table: what it is, and its unit."""

    column: str
    type: str
    note: str


def catalog_overview(workspace: Workspace) -> CatalogOverview:
    """Datasets with their counts, stages with the size of their artifacts, weights, runs. Raises CatalogError."""
    stages: dict[str, StageSize] = {}
    for row in workspace.index.rows.values():
        one = stages.get(row.stage, StageSize(row.stage))
        stages[row.stage] = replace(
            one, artifacts=one.artifacts + 1, bytes=one.bytes + row.size, seconds=one.seconds + row.seconds
        )
    return CatalogOverview(
        workspace=str(workspace.root),
        datasets=tuple(_counts(workspace, name) for name in workspace.datasets.names()),
        stages=tuple(stages.values()),
        weights_bytes=sum(path.stat().st_size for path in workspace.weights.glob("*") if path.is_file()),
        runs=sum(1 for _ in workspace.runs.glob("*/run.json")),
        quarantined=sum(1 for _ in workspace.quarantine.root.glob("*/*.json")),
    )


def _counts(workspace: Workspace, name: str) -> DatasetCounts:
    info, table = workspace.datasets.info(name), workspace.datasets.table(name, ["clip_id", "split"])
    return DatasetCounts(
        name=name,
        adapter=info.adapter,
        root=info.root,
        clips=len(table),
        splits={row["values"]: row["counts"] for row in table.column("split").value_counts().to_pylist()},
        rejected=len(rejected_rows(workspace, name)),
        edits=len(workspace.datasets.edits(name).read()),
        bad=sum(table.column("bad").to_pylist()),
    )


def catalog_columns(table: str | None = None) -> dict[str, list[ColumnRow]]:
    """The columns of each table that a query can name, or of one. Raises CatalogError where there is no such table."""
    if table is not None and table not in TABLES:
        near = nearest(table, TABLES)
        hint = f"; did you mean '{near}'?" if near else ""
        raise CatalogError(f"The catalog has no table '{table}'{hint}; tables: {', '.join(TABLES)}.")
    return {
        name: [ColumnRow(one.name, str(one.type), one.metadata[b"note"].decode()) for one in schema]
        for name, schema in TABLES.items()
        if table in (None, name)
    }


def answer_rows(answer: pa.Table) -> list[dict[str, object]]:
    """The rows of a query's answer as JSON has them."""
    return [{name: plain(value) for name, value in row.items()} for row in answer.to_pylist()]


def plain(value: object) -> object:
    """A value for JSON, which knows no nan, infinity or decimal."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return value
