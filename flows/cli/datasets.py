"""`tubeflow ingest` and `tubeflow datasets …`: read a dataset into the workspace, list, check or draw one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import Check, Listing
from data_catalog.foreign_text import visible
from flows.cli.options import JsonOption, WorkspaceOption, plain_errors
from flows.config import ConfigError
from flows.console import out, stage_bars
from flows.datasets.ingest import check_dataset, ingest, make_procedural, procedural_spec
from flows.datasets.shared_content import MOST_AT_INGEST, compare_splits

app = typer.Typer()
datasets_app = typer.Typer(no_args_is_help=True, help="List datasets, or make a procedural one.")
app.add_typer(datasets_app, name="datasets")


@app.command("ingest")
@plain_errors
def ingest_command(
    adapter: Annotated[str, typer.Argument(help="folder, procedural, aqa7, mtl_aqa, fr_fs or finediving.")],
    name: Annotated[str, typer.Option("--name", help="What the dataset is called in the workspace.")],
    root: Annotated[Path, typer.Option("--videos", "--root", help="Folder that holds the videos.")],
    labels: Annotated[Path | None, typer.Option("--labels", help="Label file; by default inside the folder.")] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Read a dataset folder into the catalog.

    Example: `tubeflow ingest folder --name mine --videos clips/ --labels labels.csv`
    """
    opened = Workspace.open(workspace)
    listing = ingest(opened, name, adapter, root, labels)
    with stage_bars():
        splits = compare_splits(opened, name, MOST_AT_INGEST)
    if as_json:
        rows = [dataclasses.asdict(row) for row in listing.rejected]
        shared = [dataclasses.asdict(row) for row in splits.rows]
        answer = {"dataset": name, "clips": len(listing.records), "rejected": rows, "shared_content": shared}
        typer.echo(json.dumps(answer))
        return
    for sentence in [*listing.notes, *listing.warnings, *map(str, listing.rejected), *splits.sentences]:
        out.print(visible(sentence), markup=False, soft_wrap=True)
    out.print(f"Dataset '{name}': {len(listing.records)} clips, {len(listing.rejected)} rows left out.")


@datasets_app.command("list")
@plain_errors
def datasets_list(workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False) -> None:
    """List the workspace's datasets.

    Example: `tubeflow datasets list`
    """
    opened = Workspace(workspace)
    rows = []
    for name in opened.datasets.names():
        info = opened.datasets.info(name)
        clips = opened.datasets.count(name)
        rows.append({"name": name, "adapter": info.adapter, "clips": clips, "root": info.root})
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        out.print(f"{row['name']}: {row['clips']} clips, {row['adapter']}, {row['root']}", markup=False, soft_wrap=True)
    if not rows:
        out.print("No datasets yet; add one with: tubeflow ingest, or tubeflow datasets make procedural")


@datasets_app.command("check")
@plain_errors
def datasets_check(
    name: Annotated[str, typer.Argument(help="Name of the dataset in the workspace.")],
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Compare a dataset with its published counts, and its splits with each other; exit status 1 where a count differs.

    Example: `tubeflow datasets check mtl`
    """
    opened = Workspace(workspace)
    checks, listing = check_dataset(opened, name)
    with stage_bars():
        splits = compare_splits(opened, name)
    if as_json:
        answer = {
            "checks": [dataclasses.asdict(check) for check in checks],
            "without_video": len(listing.missing),
            "shared_content": [dataclasses.asdict(row) for row in splits.rows],
        }
        typer.echo(json.dumps(answer))
    else:
        print_checks(name, checks, listing)
        for sentence in splits.sentences:
            out.print(visible(sentence), markup=False, soft_wrap=True)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@datasets_app.command("make")
@plain_errors
def datasets_make(
    generator: Annotated[str, typer.Argument(help="procedural")],
    name: Annotated[str | None, typer.Option("--name", help="Name in the workspace; by default its kind.")] = None,
    kind: Annotated[str, typer.Option(help="diving, sync_diving or skating.")] = "diving",
    clips: Annotated[int, typer.Option(help="How many clips; every fourth is for testing.")] = 60,
    held_out: Annotated[int, typer.Option(help="So many more clips, all of them for testing.")] = 0,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    size: Annotated[str, typer.Option(help="640x360, 320x240 or mixed.")] = "mixed",
    distractors: Annotated[int, typer.Option(help="Other divers in every clip, 0 to 2, whom nobody judges.")] = 0,
    zoom: Annotated[float, typer.Option(help="How large athletes are, 0.25 to 1.")] = 1.0,
    camera: Annotated[str, typer.Option(help="Whom it follows: athlete, or group.")] = "athlete",
    out_folder: Annotated[Path | None, typer.Option("--out", help="Where the videos go; by default inside.")] = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Draw a procedural dataset with full ground truth and ingest it.

    Example: `tubeflow datasets make procedural --clips 60 --seed 0`
    """
    if generator != "procedural":
        raise ConfigError(f"There is no generator '{generator}'; there is: procedural.")
    shown = {"distractors": distractors, "zoom": zoom, "camera": camera}
    spec = procedural_spec(kind=kind, clips=clips, held_out=held_out, seed=seed, size=size, **shown)
    with stage_bars():
        listing = make_procedural(Workspace.open(workspace), name or kind, spec, out_folder)
    out.print(f"Dataset '{name or kind}': {len(listing.records)} clips.")


def print_checks(name: str, checks: Sequence[Check], listing: Listing) -> None:
    """Published figures beside the ones found, then what the adapter warns of."""
    table = Table(f"{name}", "published", "found", "")
    for check in checks:
        table.add_row(check.name, check.expected, check.found, "✓" if check.ok else "✗ differs")
    out.print(table)
    for sentence in listing.warnings:
        out.print(visible(sentence), markup=False, soft_wrap=True)
    differ = sum(not check.ok for check in checks)
    out.print(f"{len(checks) - differ} of {len(checks)} figures agree.")
