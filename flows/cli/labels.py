"""`tubeflow labels …`: correct a label, and see who corrected what."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.tables.edits import Edit
from flows.cli.options import JsonOption, WorkspaceOption, plain_errors
from flows.console import out
from flows.datasets.labels import set_labels
from flows.runs.last import dataset_of

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
    for edit in edits:
        out.print(f"{clip}: {edit.field} {shown(edit.old)} → {shown(edit.new)}", markup=False, soft_wrap=True)
    out.print(f"What follows from it: tubeflow plan … --dataset {name}" if edits else "Nothing changed: it is so.")


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
    if dataset is not None and dataset not in opened.datasets.names():
        raise CatalogError(f"This workspace has no dataset '{dataset}'; list them with: tubeflow datasets list")
    found: list[tuple[str, Edit]] = []
    for name in [dataset] if dataset else opened.datasets.names():
        edits = opened.datasets.edits(name).read()
        found += [(name, edit) for edit in edits if clip is None or edit.clip_id == clip]
    if clip is not None and not found and dataset is None:
        dataset_of(opened, clip)  # a name that no dataset has is not one whose labels were never touched
    if as_json:
        typer.echo(json.dumps([{"dataset": name, **dataclasses.asdict(edit)} for name, edit in found]))
        return
    table = Table("when", "who", "dataset", "clip", "field", "old", "new")
    table.columns[0].no_wrap = table.columns[3].no_wrap = True
    for name, edit in found:
        table.add_row(edit.when, edit.who, name, edit.clip_id, edit.field, shown(edit.old), shown(edit.new))
    out.print(table if found else "No label was edited.")
    for notice in opened.notices:
        out.print(notice, markup=False, soft_wrap=True)


def shown(value: object) -> str:
    """A label's value as a person reads it."""
    return "none" if value in (None, []) else value if isinstance(value, str) else json.dumps(value)
