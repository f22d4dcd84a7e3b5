"""`tubeflow weights …`: list, pull, add and verify the networks' files of a workspace."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from data_catalog.catalog import Workspace
from data_catalog.weights.download import ByteProgress
from data_catalog.weights.resolve import add, list_weights, verify
from flows.cli.options import JsonOption, WorkspaceOption, plain_errors
from flows.console import PATIENCE, doing, err, out, stage_bars
from flows.maintenance.weights_status import WeightRow, pull_all, weight_rows
from flows.tables.weights_table import print_weights
from tasks.engine import progress

app = typer.Typer(no_args_is_help=True, help="Weights of detectors, trackers and backbones, by name.")


@app.command("list")
@plain_errors
def weights_list(workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False) -> None:
    """What weights there are, what for, and which are here.

    Example: `tubeflow weights list`
    """
    show(weight_rows(list_weights(Workspace(workspace).weights)), as_json)


@app.command("pull")
@plain_errors
def weights_pull(
    names: Annotated[
        list[str], typer.Argument(help="Names of `tubeflow weights list`, or of a hub's repositories, OWNER/NAME.")
    ],
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Download weights, checked before they are used; continues where it was interrupted.

    A repository of VideoMAE or ViT weights gets a folder of its own; the hub is Hugging Face's or that of HF_ENDPOINT.

    Example: `tubeflow weights pull nanotrack_v2 yolo11n`
    """
    with stage_bars():
        record = pull_all(names, Workspace.open(workspace).weights, download_progress)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(record)))
    else:
        for file in record.files:
            out.print(file, markup=False, soft_wrap=True)
        for failure in record.failed:
            err.print(failure, markup=False, soft_wrap=True)
    if record.failed:
        raise typer.Exit(2)


@app.command("add")
@plain_errors
def weights_add(
    file: Annotated[Path, typer.Argument(help="A file that you downloaded or trained.")],
    name: Annotated[str | None, typer.Option("--as", help="Name that it gets in the weights folder.")] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Copy a file into the weights folder, checked like a downloaded one.

    Example: `tubeflow weights add ~/Downloads/rgb_i3d_pretrained.pt`
    """
    with doing("add"):
        placed = add(file, Workspace.open(workspace).weights, file=name)
    if as_json:
        typer.echo(json.dumps({"file": str(placed)}))
        return
    out.print(f"{placed}; use it as: {placed.name}", markup=False, soft_wrap=True)


@app.command("verify")
@plain_errors
def weights_verify(workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False) -> None:
    """Read every file again and compare its digest; exit status 1 where one is not what it was.

    Example: `tubeflow weights verify`
    """
    with stage_bars(PATIENCE):
        rows = weight_rows(verify(Workspace(workspace).weights, advance=partial(progress.report, "verify")))
    show(rows, as_json)
    if any(row.state == "changed" for row in rows):
        raise typer.Exit(1)


def show(rows: Sequence[WeightRow], as_json: bool) -> None:
    """The files as a table, or as a JSON list."""
    if as_json:
        typer.echo(json.dumps(list(map(dataclasses.asdict, rows))))
        return
    print_weights(rows)


@contextlib.contextmanager
def download_progress(name: str) -> Iterator[ByteProgress]:
    """What reports the bytes of weights that are being fetched."""
    yield partial(progress.report, name, in_bytes=True)
