"""`tubeflow …`: every command calls a flow or a catalog function."""

from __future__ import annotations

import flows.cli.quiet  # noqa: F401  # isort: skip  # before anything that imports Prefect

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_catalog.catalog import Workspace
from data_catalog.foreign_text import visible
from flows.cli import catalog as catalog_cli
from flows.cli import detect as detect_cli
from flows.cli import labels as labels_cli
from flows.cli import models as model_cli
from flows.cli import pretrain as pretrain_cli
from flows.cli import tracks
from flows.cli import view as view_cli
from flows.cli import weights as weights_cli
from flows.cli.options import (
    NO_CLIPS,
    NO_OVERRIDES,
    ClipOption,
    CompareOption,
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
from flows.config import ConfigError, PipelineConfig, load_config, preset_names
from flows.console import out, print_checks, print_plan, print_summary, stage_bars
from flows.datasets.ingest import check_dataset, ingest, make_procedural, procedural_spec
from tasks.engine import progress

if TYPE_CHECKING:
    from flows.runs.summary import RunSummary

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="From raw sport clips to a trained and evaluated action-quality model; every stage cached and resumable.",
)
datasets_app = typer.Typer(no_args_is_help=True, help="List datasets, or make a procedural one.")
app.add_typer(datasets_app, name="datasets")
app.add_typer(weights_cli.app, name="weights")
app.add_typer(tracks.app, name="tracks")
app.add_typer(detect_cli.app, name="detect")
app.add_typer(catalog_cli.app, name="catalog")
app.add_typer(labels_cli.app, name="labels")
app.add_typer(pretrain_cli.app, name="pretrain")
model_cli.register(app)
app.command("view")(view_cli.view_command)

__all__ = ["app"]


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
    listing = ingest(Workspace.open(workspace), name, adapter, root, labels)
    if as_json:
        rows = [dataclasses.asdict(row) for row in listing.rejected]
        typer.echo(json.dumps({"dataset": name, "clips": len(listing.records), "rejected": rows}))
        return
    for sentence in [*listing.notes, *listing.warnings, *map(str, listing.rejected)]:
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
    """Compare a dataset with its published counts; exit status 1 where one differs.

    Example: `tubeflow datasets check mtl`
    """
    checks, listing = check_dataset(Workspace(workspace), name)
    if as_json:
        missing = len(listing.missing)
        typer.echo(json.dumps({"checks": [dataclasses.asdict(check) for check in checks], "without_video": missing}))
    else:
        print_checks(name, checks, listing)
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
) -> None:
    """Run the pipeline on a dataset; what is already there is not made again.

    Example: `tubeflow run folder --dataset mine -o track.tracker=nano -o track.weights=weights/nanotrack_v2`
    """
    summary = run_pipeline(
        _configured(preset, overrides, engine),
        dataset,
        workspace,
        {"only": only, "start": start, "until": until},
        {"strict": strict, "where": where, "clips": clips, "retry_quarantined": retry, "verify": verify},
    )
    finish(summary, strict, as_json)


def run_pipeline(
    config: PipelineConfig, dataset: str, workspace: Path, selection: dict[str, Any], options: dict[str, Any]
) -> RunSummary:
    """Run the flow in this process with progress bars. Raises CatalogError and ConfigError."""
    from flows.datasets.clips import wanted_clips
    from flows.execution.execute import RunOptions
    from flows.pipeline import pipeline, stage
    from flows.runs.summary import RunSummary
    from flows.stages import select_stages

    select_stages(**selection)  # a wrong name is told before a server is started, and a wrong dataset or clip
    opened = Workspace.open(workspace)
    if "make_procedural" not in options:
        wanted_clips(opened, dataset, options.get("where"), options.get("clips", ()))
    root = opened.root
    shared = {"dataset": dataset, "config": config, "workspace": root, "options": RunOptions(**options)}
    with stage_bars():
        if selection["only"] is not None:
            state = stage(stage=selection["only"], return_state=True, **shared)
        else:
            ends = {name: selection[name] for name in ("start", "until")}
            state = pipeline(return_state=True, **ends, **shared)
    result = state.result(raise_on_failure=False)
    if isinstance(result, RunSummary):
        return result
    raise result if isinstance(result, BaseException) else RuntimeError(f"the run ended {state.name}: {state.message}")


def finish(summary: RunSummary, strict: bool, as_json: bool) -> None:
    """Print the summary; exit 1 where nothing is left, or `strict` was asked and a clip failed or is suspicious."""
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
    from flows.datasets.clips import left_out, wanted_clips
    from flows.stages import make_plan, select_stages
    from tasks.engine.plan import Planner

    config = _configured(preset, overrides, engine)
    selected = select_stages(only, start, until)
    opened = Workspace(workspace)
    planner = Planner(opened, dataset, wanted_clips(opened, dataset, where, clips), verify=verify)
    plans = {name: plan for name, plan in make_plan(planner, config, selected).items() if name in selected}
    if as_json:
        typer.echo(json.dumps({name: plan.as_json() for name, plan in plans.items()}))
        return
    print_plan(plans, [*left_out(opened, dataset), *opened.notices])


@app.command("status")
@plain_errors
def status_command(workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False) -> None:
    """Datasets, the state of their stages, quarantined clips, and the last runs.

    Example: `tubeflow status`
    """
    from flows.maintenance.status import print_status, read_status

    status = read_status(Workspace(workspace))
    if as_json:
        typer.echo(json.dumps(status))
        return
    print_status(status)


@app.command("inspect")
@plain_errors
def inspect_command(
    clip: Annotated[str | None, typer.Argument(help="clip_id; with --compare the worst if unset.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Needed if two datasets have it.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Config; by default the dataset's last run's.")] = None,
    overrides: OverrideOption = NO_OVERRIDES,
    html: Annotated[bool, typer.Option("--html", help="Also one file to open in a browser, without a server.")] = False,
    compare: CompareOption = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Where the pictures go.")] = Path("."),
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Print a clip's tube mask; write a contact sheet, a picture of how its tube comes about, and an overlay MP4.

    With --compare: print where two trackers disagree most; write one clip's two tubes side by side.

    Example: `tubeflow inspect dive_0003 --dataset demo --html --out pictures/`,
    `tubeflow inspect --dataset demo --compare mil "nano nanotrack_v2"`
    """
    if compare is not None:
        from flows.tracking.pairs import inspect_pair

        inspect_pair(Workspace(workspace), compare, dataset, clip, out_folder, as_json)
        return
    from flows.cli.inspect import inspect_clip

    if clip is None:
        raise ConfigError("Say which clip to inspect, or which two trackers to --compare.")
    inspect_clip(Workspace(workspace), clip, dataset, preset, overrides, out_folder, html)


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
    spec = {"make_procedural": procedural_spec(clips=clips)}
    nothing = {"only": None, "start": None, "until": None}
    finish(run_pipeline(load_config("demo", overrides), "demo", workspace, nothing, spec), False, as_json)


@app.command("explain")
@plain_errors
def explain_command(
    name: Annotated[str, typer.Argument(help="An artifact's path or key, or a clip_id.")],
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Print the chain from the source video to an artifact.

    Example: `tubeflow explain diving_0003`
    """
    from flows.maintenance.explain import explain_json, print_explanation

    if as_json:
        typer.echo(json.dumps(explain_json(Workspace(workspace), name)))
        return
    print_explanation(Workspace(workspace), name)


@app.command("flops")
@plain_errors
def flops_command(
    name: Annotated[str, typer.Argument(help="A dataset, or one clip_id.")],
    preset: Annotated[str | None, typer.Option("--preset", help="Config; by default the dataset's last run's.")] = None,
    overrides: OverrideOption = NO_OVERRIDES,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Count what attention costs on the real tubes, beside the dense Non-local block.

    Example: `tubeflow flops demo`
    """
    from flows.report.attention_cost import count_flops, print_flops

    rows = count_flops(Workspace(workspace), name, preset, overrides)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    print_flops(rows)


@app.command("gc")
@plain_errors
def gc_command(
    keep: Annotated[int, typer.Option(min=1, help="Keep what the last runs of each dataset need.")] = 1,
    grace: Annotated[float, typer.Option(min=0, help="Hours for which what no run refers to is left alone.")] = 24.0,
    delete: Annotated[bool, typer.Option("--delete", help="Really delete; without it only say what would go.")] = False,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Say which artifacts no recent run needs, or delete them.

    Example: `tubeflow gc --keep 3`, then `tubeflow gc --keep 3 --delete`
    """
    from flows.maintenance.gc import find_garbage, print_garbage, remove

    opened = Workspace.open(workspace)
    garbage = find_garbage(opened, keep, grace)
    if delete:
        remove(opened, garbage)
    if as_json:
        typer.echo(json.dumps([{"path": str(one.path), "bytes": one.size, "runs": one.runs} for one in garbage]))
        return
    settings = f" --keep {keep}" * (keep != 1) + f" --grace {grace:g}" * (grace != 24.0)
    print_garbage(garbage, delete, f"tubeflow gc{settings}")


@app.command("reindex")
@plain_errors
def reindex_command(workspace: WorkspaceOption = Path("workspace")) -> None:
    """Verify every artifact and make the catalog's index again from the artifacts alone.

    Example: `tubeflow reindex`
    """
    opened = Workspace.open(workspace)
    with stage_bars():
        damaged = opened.index.rebuild(lambda done, total: progress.report("verify", done, total))
    for problem in damaged:
        out.print(str(problem), markup=False, soft_wrap=True)
    out.print(f"{len(opened.index.rows)} artifacts in the index, {len(damaged)} damaged.")


@app.command("setup")
@plain_errors
def setup_command(
    gpu_slots: Annotated[int, typer.Option(min=1, help="Shards on GPUs at once, over all machines.")] = 1,
    pool: Annotated[str, typer.Option(help="Name of the work pool; prefect.yaml says 'tubeflow'.")] = "tubeflow",
    as_json: JsonOption = False,
) -> None:
    """Make the Prefect server of PREFECT_API_URL ready: GPU slots, work pool, and who notices a killed run.

    Example: `tubeflow setup --gpu-slots 2`
    """
    from flows.execution.prefect_setup import set_up

    result = set_up(gpu_slots, pool)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result)))
        return
    out.print(f"Prefect server {result.server}", markup=False, soft_wrap=True)
    for sentence in result.done:
        out.print(f"  {sentence}", markup=False, soft_wrap=True)


