"""`tubeflow ingest` and `tubeflow datasets …`: read a dataset into the workspace, list, check or draw one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from data_catalog.catalog import Workspace
from flows.cli.options import JsonOption, WorkspaceOption, plain_errors
from flows.config import ConfigError
from flows.console import out, stage_bars
from flows.datasets.dataset_records import check_and_compare, ingest_and_compare, list_datasets
from flows.datasets.ingest import make_procedural, procedural_spec
from flows.tables.dataset_tables import print_checks, print_datasets, print_ingested

app = typer.Typer()
datasets_app = typer.Typer(no_args_is_help=True, help="List datasets, or make a procedural one.")
app.add_typer(datasets_app, name="datasets")


@app.command("ingest")
@plain_errors
def ingest_command(
    adapter: Annotated[
        str, typer.Argument(help="folder, features, poses, procedural, aqa7, mtl_aqa, fr_fs, finediving, or a plug-in.")
    ],
    name: Annotated[str, typer.Option("--name", help="What the dataset is called in the workspace.")],
    root: Annotated[Path, typer.Option("--videos", "--root", help="Folder that holds the videos, or features.")],
    labels: Annotated[Path | None, typer.Option("--labels", help="Label file; by default inside the folder.")] = None,
    steps: Annotated[
        Path | None, typer.Option("--steps", help="Table of steps: clip, step, start, end; by default steps.csv.")
    ] = None,
    poses: Annotated[
        Path | None, typer.Option("--poses", help="Folder with CLIP.json (AlphaPose, COCO) or CLIP.npy of each clip.")
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Read a dataset folder into the catalog.

    Example: `tubeflow ingest folder --name mine --videos clips/ --labels labels.csv --steps steps.csv`, or with
    `--poses alphapose/`
    """
    opened = Workspace.open(workspace)
    with stage_bars():
        record = ingest_and_compare(opened, name, adapter, root, labels, steps, poses)
    if as_json:
        typer.echo(json.dumps(record.as_json()))
        return
    print_ingested(record)


@datasets_app.command("list")
@plain_errors
def datasets_list(workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False) -> None:
    """List the workspace's datasets.

    Example: `tubeflow datasets list`
    """
    rows = list_datasets(Workspace(workspace))
    if as_json:
        typer.echo(json.dumps(list(map(dataclasses.asdict, rows))))
        return
    print_datasets(rows)


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
    with stage_bars():
        record = check_and_compare(Workspace(workspace), name)
    if as_json:
        typer.echo(json.dumps(record.as_json()))
    else:
        print_checks(record)
    if not record.ok:
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
    judged: Annotated[str, typer.Option(help="What the mark follows: faults, agreement, or lines.")] = "faults",
    out_folder: Annotated[Path | None, typer.Option("--out", help="Where the videos go; by default inside.")] = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Draw a procedural dataset with full ground truth and ingest it.

    Example: `tubeflow datasets make procedural --clips 60 --seed 0`
    """
    if generator != "procedural":
        raise ConfigError(f"There is no generator '{generator}'; there is: procedural.")
    shown = {"distractors": distractors, "zoom": zoom, "camera": camera, "judged": judged}
    spec = procedural_spec(kind=kind, clips=clips, held_out=held_out, seed=seed, size=size, **shown)
    with stage_bars():
        listing = make_procedural(Workspace.open(workspace), name or kind, spec, out_folder)
    out.print(f"Dataset '{name or kind}': {len(listing.records)} clips.")
