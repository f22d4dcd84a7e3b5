"""`tubeflow plugins` and `plugin new`: parts of other people's packages, and a package to begin one with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import JsonOption, plain_errors
from flows.console import out

app = typer.Typer()
plugin_app = typer.Typer(no_args_is_help=True, help="Begin a package with a part of your own.")
app.add_typer(plugin_app, name="plugin")


@app.command("plugins")
@plain_errors
def plugins_command(as_json: JsonOption = False) -> None:
    """List the trackers, detectors, backbones, heads and datasets that other packages bring.

    Example: `tubeflow plugins`
    """
    from flows.plugins.listing import list_plugins
    from flows.tables.plugins_table import print_plugins

    rows = list_plugins()
    if as_json:
        typer.echo(json.dumps([row.as_json() for row in rows]))
        return
    print_plugins(rows)


@plugin_app.command("new")
@plain_errors
def plugin_new(
    kind: Annotated[str, typer.Argument(help="tracker, detector, backbone, head or dataset.")],
    name: Annotated[str, typer.Argument(help="What it is called in configs; the package is tubeflow-NAME.")],
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where it goes; by default the folder tubeflow-NAME.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a small package with a part of your own and a test that passes.

    Example: `tubeflow plugin new tracker template`
    """
    from flows.plugins.new_package import new_package

    files = new_package(kind, name, folder)
    if as_json:
        typer.echo(json.dumps({"files": [str(file) for file in files]}))
        return
    home = files[0].parent
    out.print(f"{home}: {len(files)} files. Install it and run its test:", markup=False, soft_wrap=True)
    out.print(f"  pip install --no-build-isolation -e {home} && python -m pytest {home}", markup=False, soft_wrap=True)


__all__ = ["app"]
