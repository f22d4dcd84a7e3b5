"""`tubeflow labels …`: correct a label, and see who corrected what."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from data_catalog.catalog import Workspace
from flows.cli.options import DatasetOption, JsonOption, WorkspaceOption, plain_errors
from flows.console import doing, out
from flows.datasets.labels import label_history, set_labels
from flows.runs.last import dataset_of
from flows.tables.label_tables import print_edits, print_history

app = typer.Typer(no_args_is_help=True, help="Correct the labels of clips; everything is kept with its history.")

MaybeDataset = Annotated[str | None, typer.Option("--dataset", "-d", help="Needed if two datasets have the clip.")]


@app.command("set")
@plain_errors
def labels_set(
    clip: Annotated[str, typer.Argument(help="clip_id")],
    assignments: Annotated[
        list[str],
        typer.Argument(
            metavar="FIELD=VALUE…",
            help="score, difficulty, judges, label, split, action, start_frame, end_frame, bad=true, bad_reason, and "
            "box=x,y,w,h in pixels of the video, once an athlete. Nothing after = means none.",
        ),
    ],
    dataset: MaybeDataset = None,
    who: Annotated[str | None, typer.Option("--who", help="Who says so; by default you.")] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Correct labels of a clip. What they change is made again by the next run; `plan` shows it first.

    Example: `tubeflow labels set dive_0003 --dataset mine score=81.5 box=120,40,60,150`
    """
    opened = Workspace(workspace)
    name = dataset or dataset_of(opened, clip)
    edits = set_labels(opened, name, clip, assignments, who)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(edit) for edit in edits]))
        return
    print_edits(name, clip, edits)


@app.command("export")
@plain_errors
def labels_export(
    file: Annotated[Path, typer.Argument(help="FILE.csv, .parquet or .xlsx.")],
    dataset: DatasetOption,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Write a dataset's labels, corrections included, as a table that `tubeflow ingest folder --labels FILE` reads.

    Example: `tubeflow labels export labels.xlsx --dataset mine`
    """
    # Loads what reads label tables, pandas among it, which --help and the other commands of this file don't need.
    from flows.datasets.label_export import export_labels

    with doing("export"):
        count = export_labels(Workspace(workspace), dataset, file)
    if as_json:
        typer.echo(json.dumps({"clips": count, "file": str(file)}))
        return
    out.print(f"Labels of {count} clips in {file}.", markup=False, soft_wrap=True)


@app.command("history")
@plain_errors
def labels_history(
    clip: Annotated[str | None, typer.Argument(help="clip_id; by default every clip.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="By default every dataset.")] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Who corrected what, when, from what to what; oldest first.

    Example: `tubeflow labels history dive_0003`
    """
    opened = Workspace(workspace)
    rows = label_history(opened, dataset, clip)
    if clip is not None and not rows and dataset is None:
        dataset_of(opened, clip)  # a name that no dataset has is not one whose labels were never touched
    if as_json:
        typer.echo(json.dumps(list(map(dataclasses.asdict, rows))))
        return
    print_history(rows)
