"""`tubeflow catalog`: what the workspace holds, and SQL over it."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from data_catalog.catalog import Workspace
from data_catalog.query import query
from flows.cli.options import JsonOption, WorkspaceOption, plain_errors
from flows.console import doing
from flows.maintenance.catalog_overview import answer_rows, catalog_columns, catalog_overview
from flows.tables.catalog_tables import print_answer, print_columns, print_overview

app = typer.Typer(invoke_without_command=True, help="Datasets, clips, stages and sizes; or SQL over all of it.")



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
    """Print what `catalog_overview` returns."""
    found = catalog_overview(Workspace(workspace))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found)))
        return
    print_overview(found)


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
    with doing("query"):
        answer = query(Workspace(workspace), sql)
    if as_json:
        typer.echo(json.dumps(answer_rows(answer), default=str))
        return
    print_answer(answer)


@app.command("schema")
@plain_errors
def catalog_schema(
    table: Annotated[str | None, typer.Argument(help="Only this table.")] = None, as_json: JsonOption = False
) -> None:
    """The catalog's tables: columns, types, meanings and units.

    Example: `tubeflow catalog schema clips`
    """
    tables = catalog_columns(table)
    if as_json:
        found = {name: [dataclasses.asdict(one) for one in columns] for name, columns in tables.items()}
        typer.echo(json.dumps(found))
        return
    print_columns(tables)
