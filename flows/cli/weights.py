"""`tubeflow weights …`: list, pull, add and verify the networks' files of a workspace."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from data_catalog.catalog import Workspace
from data_catalog.weights.registry import WeightsError, find_entry, load_registry
from data_catalog.weights.resolve import WeightStatus, add, list_weights, pull, verify
from flows.cli.options import JsonOption, WorkspaceOption, plain_errors
from flows.console import err, out, sentence

app = typer.Typer(no_args_is_help=True, help="Weights of detectors, trackers and backbones, by name.")

MEGABYTE = 1e6


@app.command("list")
@plain_errors
def weights_list(workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False) -> None:
    """What weights there are, what for, and which are here.

    Example: `tubeflow weights list`
    """
    show(list_weights(Workspace(workspace).weights), as_json)


@app.command("pull")
@plain_errors
def weights_pull(
    names: Annotated[list[str], typer.Argument(help="Names of `tubeflow weights list`.")],
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Download weights, checked before they are used; resumes where it was interrupted.

    Example: `tubeflow weights pull nanotrack_v2 yolo11n`
    """
    folder, registry = Workspace.open(workspace).weights, load_registry()
    entries = [find_entry(name, registry).name for name in names]  # a wrong name is reported before the first download
    files: list[Path] = []
    failed: list[str] = []
    for name in entries:
        try:
            with download_bar(name) as progress:
                files += pull(name, folder, registry=registry, progress=progress)
        except WeightsError as exc:  # the others may be had
            failed.append(sentence(str(exc)))
    if as_json:
        typer.echo(json.dumps({"files": [str(file) for file in files], "failed": failed}))
    else:
        for file in files:
            out.print(f"{file}", markup=False, soft_wrap=True)
        for told in failed:
            err.print(told, markup=False, soft_wrap=True)
    if failed:
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
    found = verify(Workspace(workspace).weights)
    show(found, as_json)
    if any(status.state == "changed" for status in found):
        raise typer.Exit(1)


def show(found: Sequence[WeightStatus], as_json: bool) -> None:
    """The files as a table, or as a JSON list."""
    if as_json:
        typer.echo(json.dumps([as_row(status) for status in found]))
        return
    table = Table("name", "file", "state", "MB", "for", "licence")
    for column in table.columns[:3]:
        column.no_wrap = True  # what one types must be readable on a narrow terminal, too
    for status in found:
        row = as_row(status)
        size = f"{row['bytes'] / MEGABYTE:.1f}" if isinstance(row["bytes"], int) else ""
        texts = {name: str(value) for name, value in row.items()} | {"MB": size}
        table.add_row(*(texts[name] for name in ("name", "file", "state", "MB", "purpose", "licence")))
    out.print(table)
    for status in found:
        if status.state == "changed":
            out.print(f"{status.file}: {status.note}", markup=False, soft_wrap=True)


def as_row(status: WeightStatus) -> dict[str, str | int | None]:
    """One file as `--json` prints it; `bytes` is the size found, else the published one, else null."""
    entry = status.entry
    published = next((file for file in entry.files if file.file == status.file), None) if entry else None
    size = status.path.stat().st_size if status.path.is_file() else published.size if published else None
    return {
        "name": status.name,
        "file": status.file,
        "state": status.state,
        "bytes": size,
        "path": str(status.path),
        "purpose": entry.purpose if entry else "your own",
        "licence": entry.licence if entry else "",
        "page": entry.page if entry else "",
        "citation": entry.citation if entry else "",
        "url": published.url if published else None,
        "sha256": published.sha256 or published.sha256_prefix if published else None,
        "note": status.note,
    }


@contextlib.contextmanager
def download_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar of bytes on the terminal's error stream."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
