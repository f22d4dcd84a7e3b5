"""`tubeflow predict`, `export`, `experiment`, `compare`: what one does with trained models."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from data_catalog.catalog import Workspace
from flows.cli.options import (
    NO_OVERRIDES,
    DatasetOption,
    JsonOption,
    OverrideOption,
    WhereOption,
    WorkspaceOption,
    plain_errors,
)
from flows.config import PipelineConfig
from flows.console import doing, out, stage_bars
from flows.execution.run_options import RunOptions
from flows.experiments.matrix import dataset_actions, expand, from_preset, load_matrix, run_matrix
from flows.local_run import run_pipeline
from flows.runs.finished import find_run
from flows.runs.summary import RunSummary
from flows.stages import PREPROCESS
from flows.tables.experiment_table import print_experiment

app = typer.Typer()

NO_BOXES: list[str] = []
RunOption = Annotated[str, typer.Option("--run", "-r", help="run_id, or `last` for the newest that was evaluated.")]
WeightsOption = Annotated[str, typer.Option("--weights", help="`last` or `best` epoch of the run.")]


@app.command("predict")
@plain_errors
def predict_command(
    videos: Annotated[
        list[Path], typer.Argument(help="Video files or folders of images; feature files for a run on them.")
    ],
    run: RunOption = "last",
    boxes: Annotated[
        list[str], typer.Option("--box", help="Athlete in the first frame: x,y,w,h in pixels. One for each video.")
    ] = NO_BOXES,
    action: Annotated[str | None, typer.Option(help="Which action, where the run knows several.")] = None,
    difficulty: Annotated[float | None, typer.Option(help="Degree of difficulty, where the run needs it.")] = None,
    weights: WeightsOption = "last",
    overrides: OverrideOption = NO_OVERRIDES,
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the overlay videos; by default predictions/RUN in the workspace."),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Score new videos with the weights of a run, and draw each one's tube into an MP4.

    Said as well is which of them are unlike the clips that the run was trained on, so that their scores mean little.

    Example: `tubeflow predict dive.mp4 --run last --box 210,40,60,150`
    """
    # Loads what draws, OpenCV and Pillow, which --help and a matrix of runs don't need.
    from flows.inference.predict import predict
    from flows.inference.predict_videos import Request, parse_boxes
    from flows.tables.prediction_table import print_predictions

    opened = Workspace.open(workspace)
    request = Request(tuple(videos), parse_boxes(boxes, len(videos)), action, difficulty, weights)
    with stage_bars():
        found = predict(opened, run, request, overrides, out_folder, _preprocess)
    if as_json:
        typer.echo(json.dumps(found.as_json()))
    else:
        print_predictions(found)
    if not found.videos:
        raise typer.Exit(1)


def _preprocess(config: PipelineConfig, dataset: str, workspace: Path) -> RunSummary:
    return run_pipeline(config, dataset, workspace, PREPROCESS, showing=nullcontext)


@app.command("export")
@plain_errors
def export_command(
    run: Annotated[str, typer.Argument(help="run_id, or `last` for the newest that was evaluated.")],
    form: Annotated[
        str, typer.Option("--format", help="torch-export, onnx (needs tubeflow[onnx]), or backbone: its weights alone.")
    ] = "torch-export",
    weights: WeightsOption = "last",
    action: Annotated[str | None, typer.Option(help="Which action, where the run knows several.")] = None,
    path: Annotated[
        Path | None,
        typer.Option("--out", help="A folder, by default RUN-WEIGHTS; or NAME.onnx, NAME.pt2: the model's file alone."),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Write a run's model, whose outputs were compared with the run's and agree to 1e-4, as a folder with its card.

    The folder has the model, its config, its metrics, README.md in the form that Hugging Face's hub reads, and
    predict.py, which scores a video without Tubeflow. The model takes one clip at a time: frames, tube mask and degree
    of difficulty; model.json says how they are made. Of a run on features that were made elsewhere it takes those, and
    there is no predict.py. Attention with `min_positions` can't be exported. `--format
    backbone` writes the weights of the run's backbone in the form that `model.weights` takes, for another training to
    begin with or to freeze.

    Example: `tubeflow export last --format onnx --out dive-model`
    """
    from flows.inference.export_backbone import BACKBONE, export_backbone  # as above
    from flows.inference.export_model import export_run

    opened = Workspace(workspace)
    if form == BACKBONE:
        with doing("export"):
            written = export_backbone(opened, find_run(opened, run), weights, path)
        if as_json:
            typer.echo(json.dumps({"path": str(written)}))
        else:
            out.print(f"weights   {written}", markup=False, soft_wrap=True)
        return
    with stage_bars():
        exported = export_run(opened, find_run(opened, run), form, weights, action, path)
    if as_json:
        typer.echo(json.dumps(exported.as_json()))
        return
    out.print(f"model     {exported.path}\nmeaning   {exported.description}", markup=False, soft_wrap=True)
    if exported.folder is not None:
        out.print(f"card      {exported.folder / 'README.md'}", markup=False, soft_wrap=True)
    out.print(f"Largest difference on {exported.clips} clips: {exported.difference:.1e} (relative).")


@app.command("experiment")
@plain_errors
def experiment_command(
    matrix: Annotated[str, typer.Argument(help="A matrix of the program (aqa7_six, procedural …), or a YAML file.")],
    dataset: DatasetOption,
    preset: Annotated[str | None, typer.Option("--preset", help="In the place of the matrix's own preset.")] = None,
    overrides: OverrideOption = NO_OVERRIDES,
    where: WhereOption = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Run every combination of a matrix of configs; what combinations share is made once.

    A matrix file has `preset:`, and `matrix:` with a list of values for each varied field, e.g.
    `train.seed: [0, 1, 2]`. `train.actions: each` trains one model for each action. `aqa7_table1` and `mtl_aqa_table4`
    are Tables 1 and 4 of the TSA-Net paper (docs/systems.md).

    Example: `tubeflow experiment aqa7_six --dataset aqa7`
    """
    opened = Workspace.open(workspace)
    cells = expand(from_preset(load_matrix(matrix), preset), overrides, dataset_actions(opened, dataset, where))

    def run_cell(config: PipelineConfig) -> RunSummary:
        return _run(config, dataset, opened.root, where)

    with stage_bars():
        record = run_matrix(opened, matrix, dataset, cells, run_cell)
    if as_json:
        typer.echo(json.dumps(record))
    else:
        print_experiment(record, opened.runs / record["experiment_id"])
    if not any(cell["run_id"] for cell in record["cells"]):
        raise typer.Exit(1)


def _run(config: PipelineConfig, dataset: str, workspace: Path, where: str | None) -> RunSummary:
    return run_pipeline(config, dataset, workspace, options=RunOptions(where=where), showing=nullcontext)


@app.command("compare")
@plain_errors
def compare_command(
    names: Annotated[
        list[str], typer.Argument(help="run_ids, experiment_ids (exp-…), or `last`; the first is the baseline.")
    ],
    weights: WeightsOption = "last",
    split: Annotated[str, typer.Option(help="Which split's clips.")] = "test",
    repetitions: Annotated[int, typer.Option(min=100, help="Bootstrap draws and permutations.")] = 2000,
    baseline: Annotated[str | None, typer.Option(help="The row that others are compared with; the first one.")] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Put runs beside each other and beside published figures, with intervals and paired tests.

    Where their trackers or masks differ, the tubes are compared too.

    Example: `tubeflow compare exp-20260131-154502-3f9a`
    """
    # Loads torch, seconds that no other command of this file needs before it has begun.
    from flows.experiments.compare import Question, compare
    from flows.tables.comparison_table import print_comparison

    with stage_bars():
        record = compare(Workspace(workspace), names, Question(weights, split, repetitions, baseline))
    if as_json:
        typer.echo(json.dumps(record, allow_nan=False))
        return
    print_comparison(record)
