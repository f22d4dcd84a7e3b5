"""`tubeflow catalog`: what the workspace holds, and SQL over it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.suggest import nearest
from flows.cli.options import JsonOption, WorkspaceOption, plain_errors
from flows.console import out

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(invoke_without_command=True, help="Datasets, clips, stages and sizes; or SQL over all of it.")

ROWS = 50  # of an answer on the terminal; --json prints all
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))


@app.callback(invoke_without_command=True)
def catalog_command(
    context: typer.Context, workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False
) -> None:
    """Datasets, clips, stages and sizes of the workspace.

    Example: `tubeflow catalog`
    """
    if context.invoked_subcommand is None:
        show_overview(workspace, as_json)
    else:  # `tubeflow catalog -w ws query …` means that workspace, too
        os.environ["TUBEFLOW_WORKSPACE"] = str(workspace)


@plain_errors
def show_overview(workspace: Path, as_json: bool) -> None:
    """Print what `overview` gives."""
    found = overview(Workspace(workspace))
    if as_json:
        typer.echo(json.dumps(found))
        return
    datasets = Table("dataset", "adapter", "clips", "train", "val", "test", "left out", "edits", "bad")
    for one in found["datasets"]:
        splits = [str(one["splits"].get(split, 0)) for split in ("train", "val", "test")]
        counts = [str(one[name]) for name in ("rejected", "edits", "bad")]
        datasets.add_row(one["name"], one["adapter"], str(one["clips"]), *splits, *counts)
    out.print(datasets)
    stages = Table("stage", "artifacts", "size", "computed in")
    for one in found["stages"]:
        stages.add_row(one["stage"], str(one["artifacts"]), size_text(one["bytes"]), f"{one['seconds']:.1f} s")
    out.print(stages)
    out.print(f"weights {size_text(found['weights_bytes'])}, {found['runs']} runs, {found['quarantined']} quarantined")


def overview(workspace: Workspace) -> dict[str, Any]:
    """Datasets with their counts, stages with the size of their artifacts, weights, runs. Raises CatalogError."""
    datasets = []
    for name in workspace.datasets.names():
        info, table = workspace.datasets.info(name), workspace.datasets.table(name, ["clip_id", "split"])
        splits = {row["values"]: row["counts"] for row in table.column("split").value_counts().to_pylist()}
        datasets.append(
            {
                "name": name,
                "adapter": info.adapter,
                "root": info.root,
                "clips": len(table),
                "splits": splits,
                "rejected": len(workspace.datasets.rejected(name)),
                "edits": len(workspace.datasets.edits(name).read()),
                "bad": sum(table.column("bad").to_pylist()),
            }
        )
    stages: dict[str, dict[str, Any]] = {}
    for row in workspace.index.rows.values():
        one = stages.setdefault(row.stage, {"stage": row.stage, "artifacts": 0, "bytes": 0, "seconds": 0.0})
        one["artifacts"] += 1
        one["bytes"] += row.size
        one["seconds"] += row.seconds
    return {
        "workspace": str(workspace.root),
        "datasets": datasets,
        "stages": list(stages.values()),
        "weights_bytes": sum(path.stat().st_size for path in workspace.weights.glob("*") if path.is_file()),
        "runs": sum(1 for _ in workspace.runs.glob("*/run.json")),
        "quarantined": sum(1 for _ in workspace.quarantine.root.glob("*/*.json")),
    }


@app.command("query")
@plain_errors
def catalog_query(
    sql: Annotated[str, typer.Argument(help="One SELECT; the tables are those of `tubeflow catalog schema`.")],
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Answer one SQL SELECT over the catalog's tables; nothing can be changed or read from outside.

    Example: `tubeflow catalog query "select action, avg(score) from clips group by action"`
    """
    from data_catalog.query import query  # DuckDB takes a moment to import

    answer = query(Workspace(workspace), sql)
    if as_json:
        rows = [{name: plain(value) for name, value in row.items()} for row in answer.to_pylist()]
        typer.echo(json.dumps(rows, default=str))
        return
    show_table(answer)


def show_table(answer: pa.Table) -> None:
    """An answer on the terminal, its first `ROWS` rows."""
    table = Table(*answer.column_names)
    for row in answer.slice(0, ROWS).to_pylist():
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    out.print(table)
    if len(answer) > ROWS:
        out.print(f"{ROWS} of {len(answer)} rows; --json prints all, or add: limit {ROWS}")


def plain(value: Any) -> Any:
    """A value for JSON, which knows no nan, infinity or decimal."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if type(value).__name__ == "Decimal":
        return int(value) if value == int(value) else float(value)
    return value


@app.command("schema")
@plain_errors
def catalog_schema(
    table: Annotated[str | None, typer.Argument(help="Only this table.")] = None, as_json: JsonOption = False
) -> None:
    """The catalog's tables: columns, types, meanings and units.

    Example: `tubeflow catalog schema clips`
    """
    from data_catalog.query import TABLES

    if table is not None and table not in TABLES:
        near = nearest(table, TABLES)
        hint = f"; did you mean '{near}'?" if near else ""
        raise CatalogError(f"The catalog has no table '{table}'{hint}; tables: {', '.join(TABLES)}.")
    wanted = {name: schema for name, schema in TABLES.items() if table in (None, name)}
    notes = {
        name: [{"column": one.name, "type": str(one.type), "note": one.metadata[b"note"].decode()} for one in schema]
        for name, schema in wanted.items()
    }
    if as_json:
        typer.echo(json.dumps(notes))
        return
    for name, columns in notes.items():
        shown = Table("column", "type", "what it is, and its unit", title=name, title_justify="left")
        for one in columns:
            shown.add_row(*one.values())
        out.print(shown)


def size_text(size: int) -> str:
    """`1.2 GB`."""
    for unit, name in UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}" if unit > 1 else f"{size} B"
    return "0 B"
