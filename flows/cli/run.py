"""`tubeflow run`, `plan` and `demo`: take a dataset through the stages, or say what that would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from data_catalog import notices
from data_catalog.catalog import Workspace
from flows.cli.options import (
    NO_CLIPS,
    NO_OVERRIDES,
    ClipOption,
    DatasetOption,
    EngineOption,
    FromOption,
    JsonOption,
    OnlyOption,
    OverrideOption,
    UntilOption,
    WhereOption,
    WorkspaceOption,
    plain_errors,
)
from flows.config import PipelineConfig, load_config, preset_names
from flows.console import PATIENCE, stage_bars
from flows.datasets.ingest import procedural_spec
from flows.execution.run_options import RunOptions
from flows.local_run import run_pipeline
from flows.maintenance.run_plan import plan_run
from flows.runs.summary import RunSummary
from flows.stages import Selection
from flows.tables.config_table import print_config_help
from flows.tables.run_tables import print_plan, print_summary

app = typer.Typer()


def _configured(preset: str, overrides: list[str], engine: str | None) -> PipelineConfig:
    return load_config(preset, [*overrides, *([f"engine.runner={engine}"] if engine else [])])


@app.command("run")
@plain_errors
def run_command(
    preset: Annotated[str, typer.Argument(help=f"{', '.join(preset_names())}, or a YAML file.")],
    dataset: DatasetOption,
    overrides: OverrideOption = NO_OVERRIDES,
    only: OnlyOption = None,
    start: FromOption = None,
    until: UntilOption = None,
    where: WhereOption = None,
    clips: ClipOption = NO_CLIPS,
    engine: EngineOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on quarantined clips and suspicious tubes.")] = False,
    retry: Annotated[bool, typer.Option("--retry-quarantined", help="Try quarantined clips again.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read every source and artifact again.")] = False,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
    help_config: Annotated[
        bool,
        typer.Option("--help-config", callback=print_config_help, is_eager=True, help="Show all config fields."),
    ] = False,
) -> None:
    """Run the pipeline on a dataset; what is already there is not made again.

    Example: `tubeflow run folder --dataset mine -o track.tracker=nano -o track.weights=weights/nanotrack_v2`

    All fields that -o can change, with their defaults: `tubeflow run --help-config`
    """
    summary = run_pipeline(
        _configured(preset, overrides, engine),
        dataset,
        workspace,
        Selection.of(only, start, until),
        RunOptions(strict=strict, where=where, clips=tuple(clips), retry_quarantined=retry, verify=verify),
    )
    finish(summary, strict, as_json)


def finish(summary: RunSummary, strict: bool, as_json: bool) -> None:
    """Print the summary; exit 1 where nothing is left, or `strict` was asked and a clip failed or is suspicious."""
    notices.told(summary.notes)
    if as_json:
        typer.echo(json.dumps(summary.as_json()))
    else:
        print_summary(summary)
    if summary.nothing_left or (strict and (summary.failed or summary.suspicious)):
        raise typer.Exit(1)


@app.command("plan")
@plain_errors
def plan_command(
    preset: Annotated[str, typer.Argument(help=f"{', '.join(preset_names())}, or a YAML file.")],
    dataset: DatasetOption,
    overrides: OverrideOption = NO_OVERRIDES,
    only: OnlyOption = None,
    start: FromOption = None,
    until: UntilOption = None,
    where: WhereOption = None,
    clips: ClipOption = NO_CLIPS,
    engine: EngineOption = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every artifact again.")] = False,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Say what a run would do, and why, and do nothing.

    Example: `tubeflow plan demo --dataset demo -o track.tracker=nano -o track.weights=weights/nanotrack_v2`
    """
    config = _configured(preset, overrides, engine)
    selection = Selection.of(only, start, until)
    with stage_bars(PATIENCE):
        planned = plan_run(Workspace(workspace), dataset, config, selection, where, clips, verify)
    if as_json:
        typer.echo(json.dumps(planned.as_json()))
        return
    print_plan(planned)


@app.command("demo")
@plain_errors
def demo_command(
    clips: Annotated[int, typer.Option(help="How many clips to draw.")] = 60,
    overrides: OverrideOption = NO_OVERRIDES,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Draw the procedural dataset, then run the whole pipeline on it.

    Example: `tubeflow demo`
    """
    options = RunOptions(make_procedural=procedural_spec(clips=clips))
    finish(run_pipeline(load_config("demo", overrides), "demo", workspace, options=options), False, as_json)
