"""`tubeflow pretrain …`: make the weights that ship with Tubeflow, or better ones, from nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_catalog.catalog import Workspace
from data_catalog.synthetic.materials import MANIFEST, MaterialsError
from flows.cli.options import JsonOption, WorkspaceOption, plain_errors
from flows.config import ConfigError
from flows.console import out, stage_bars

if TYPE_CHECKING:
    from flows.pretrain.footage_flow import FootageOrder
    from tasks.pretrain.train_person import PersonRecipe

app = typer.Typer(no_args_is_help=True, help="Train the small networks that come with Tubeflow, from synthetic data.")

NO_NAMES: list[str] = []
SIAMMASK_S = Path("siammask_s.safetensors")
ATHLETE_N = Path("athlete_n.pth")
SYNTHETIC_STEPS, FOOTAGE_STEPS = 10_000, 3000
SYNTHETIC_SEQUENCES = 8000


@app.command("tracker")
@plain_errors
def pretrain_tracker_command(
    out_file: Annotated[Path, typer.Option("--out", help="The weights file to write.")] = SIAMMASK_S,
    sequences: Annotated[
        int | None,
        typer.Option(min=2, help="Synthetic sequences: 8000, 1.7 MB each on the disk; with --footage none, 0.3 MB.",
                     show_default=False),
    ] = None,
    people: Annotated[int, typer.Option(min=0, help="Persons rendered for them.")] = 300,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps; 10000, with --footage 3000.", show_default=False)
    ] = None,
    batch: Annotated[int, typer.Option(min=2, help="Search crops a step.")] = 32,
    rate: Annotated[float, typer.Option(min=1e-6, help="Peak learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 1,
    only: Annotated[list[str], typer.Option("--material", help="Only pictures of this. Repeatable.")] = NO_NAMES,
    manifest: Annotated[Path, typer.Option(help="List of materials; by default Tubeflow's own.")] = MANIFEST,
    footage: Annotated[
        Path | None, typer.Option(help="A folder of clips of your sport, without labels: learn from people in them.")
    ] = None,
    before: Annotated[
        str, typer.Option("--from", help="With --footage: the tracker's weights that the new ones have to beat.")
    ] = "siammask-people",
    procedural: Annotated[int, typer.Option(min=0, help="With --footage: procedural clips that are mixed in.")] = 0,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Make siammask-s: fetch pictures (0.7 GB), make sequences, train its heads on a frozen backbone.

    With --footage siammask-people goes on learning from your own sport instead: teachers label your clips, nobody
    draws a box.

    Example: `tubeflow pretrain tracker --out siammask_s.safetensors`

    Example: `tubeflow pretrain tracker --footage clips/ --steps 3000 --out our_sport.safetensors`
    """
    if footage is not None:
        from flows.pretrain.footage_clips import Composing
        from tasks.pretrain.train_person import PersonRecipe

        asked = _footage_order(footage, out_file, before, manifest, Workspace.open(workspace))
        composing = Composing(sequences, people, seed, tuple(only)) if sequences else None
        asked = dataclasses.replace(asked, procedural=procedural, composing=composing)
        _adapt(asked, PersonRecipe(steps=steps or FOOTAGE_STEPS, seed=seed), as_json)
        return
    # Loads torch, seconds that --help doesn't need.
    from flows.pretrain.tracker_flow import TrackerOrder, pretrain_tracker
    from tasks.pretrain.train_tracker import TrackerRecipe

    root = Workspace.open(workspace).root / "pretrain"
    order = TrackerOrder(
        root / "materials", root / f"tracker_pool_{seed}", out_file, sequences or SYNTHETIC_SEQUENCES, people, seed,
        tuple(only), manifest,
    )  # fmt: skip
    try:
        with stage_bars():
            made = pretrain_tracker(order, TrackerRecipe(steps or SYNTHETIC_STEPS, batch, rate, seed=seed))
    except MaterialsError as exc:
        raise ConfigError(str(exc)) from exc
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(made), default=str))
        return
    errors = ", ".join(f"{name} {value:.3f}" for name, value in made.held_out.items())
    out.print(f"{made.file}: {made.size / 1e6:.1f} MB, SHA-256 {made.sha256}", markup=False, soft_wrap=True)
    out.print(f"Errors on sequences that it was not trained on: {errors}; {made.seconds:.0f} s.")


def _footage_order(
    footage: Path, out_file: Path, before: str, manifest: Path, workspace: Workspace
) -> FootageOrder:
    """What `--footage` asks for, with the teachers that the workspace has."""
    from data_catalog.weights.registry import WeightsError
    from data_catalog.weights.resolve import resolve_weights
    from flows.pretrain.footage_flow import FootageOrder
    from models.trackers import weight_suffixes

    weights = workspace.root / "weights"
    try:
        nano = resolve_weights("nanotrack_v3", weights, suffixes=weight_suffixes("nano"))
        follower = tuple(nano.with_name(nano.name + suffix) for suffix in weight_suffixes("nano"))
        starting = resolve_weights(before, weights)
    except WeightsError as exc:
        raise ConfigError(f"Footage is labelled by following people with NanoTrack v3; {exc}.") from exc
    standing = weights / "nanodet_m.onnx"
    return FootageOrder(
        footage, workspace.root / "pretrain", out_file, follower, standing if standing.is_file() else None, starting,
        manifest=manifest,
    )  # fmt: skip


def _adapt(order: FootageOrder, recipe: PersonRecipe, as_json: bool) -> None:
    """`--footage`; see `pretrain_tracker_command`."""
    from flows.pretrain.footage_flow import adapt_tracker

    try:
        with stage_bars():
            made = adapt_tracker(order, recipe)
    except MaterialsError as exc:
        raise ConfigError(str(exc)) from exc
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(made), default=str))
        return
    out.print(f"{made.file}: {made.size / 1e6:.1f} MB, SHA-256 {made.sha256}", markup=False, soft_wrap=True)
    out.print(
        f"{made.labels} labels of {made.people} people in {made.clips} clips; on {made.held_out} others agreement with "
        f"the labels went from {made.agreement_before:.3f} to {made.agreement:.3f} IoU; {made.seconds:.0f} s. "
        f"Use it with: -o track.tracker=siammask -o track.weights={made.file}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


@app.command("detector")
@plain_errors
def pretrain_detector_command(
    out_file: Annotated[Path, typer.Option("--out", help="The weights file to write.")] = ATHLETE_N,
    images: Annotated[int, typer.Option(min=1, help="Pictures that are learnt from, composed one by one.")] = 40_000,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Learn for no longer than this.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures a step.")] = 16,
    people: Annotated[int, typer.Option(min=1, help="Persons rendered for them.")] = 2400,
    procedural: Annotated[int, typer.Option(min=0, help="Procedural clips that lend their frames.")] = 36,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 1,
    manifest: Annotated[Path, typer.Option(help="List of materials; by default Tubeflow's own.")] = MANIFEST,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Make athlete-n: fetch materials (1.2 GB), render people, compose pictures, train on an ImageNet backbone.

    Example: `tubeflow pretrain detector --minutes 50 --out athlete_n.pth`
    """
    # Loads torch, seconds that --help doesn't need.
    from data_catalog.synthetic.people.mesh import PeopleError
    from flows.pretrain.detector_flow import DetectorOrder, pretrain_detector
    from tasks.pretrain.train_detector import DetectorTraining

    root = Workspace.open(workspace).root / "pretrain"
    order = DetectorOrder(root, out_file, people, procedural, manifest, device)
    training = DetectorTraining(images=images, minutes=minutes, batch=batch, seed=seed)
    try:
        with stage_bars():
            made = pretrain_detector(order, training)
    except (MaterialsError, PeopleError) as exc:
        raise ConfigError(f"{exc}".rstrip(".") + ".") from exc
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(made), default=str))
        return
    out.print(f"{made.file}: {made.size / 1e6:.1f} MB, SHA-256 {made.sha256}", markup=False, soft_wrap=True)
    box, kind, spread = made.losses
    out.print(f"Losses after {made.images} pictures: box {box:.2f}, class {kind:.2f}, spread {spread:.2f}; "
              f"{made.seconds:.0f} s.")  # fmt: skip
