"""`tubeflow tracks …`: evaluate trackers against ground truth; read and write tracks in other people's formats."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.tracks.files import read_tracks, write_tracks
from data_catalog.tracks.formats import read_videos, track_format, write_videos
from data_catalog.tracks.text import Shape, TrackFileError
from flows.cli.options import NO_OVERRIDES, DatasetOption, JsonOption, OverrideOption, WorkspaceOption, plain_errors
from flows.config import ConfigError
from flows.console import PATIENCE, doing, out, stage_bars
from flows.datasets.clips import dataset_clips
from flows.tracking.exchange import take_tracks, tubes_of_videos
from flows.tracking.export_tubes import read_tubes, write_quads
from flows.tracking.perturbed_truth import true_tubes
from models.metrics.tracking import DISTANCES_OF_SIDE, DISTANCES_PX, OVERLAPS

if TYPE_CHECKING:
    from tasks.assessment.one_pass import ClipResult

app = typer.Typer(no_args_is_help=True, help="Evaluate trackers; import and export tracks.")

NO_TRACKERS: list[str] = []
FORMATS = "pysot, otb, vot, frfs, cvat_xml, cvat_json, label_studio, coco_vid, youtube_vis, mot or fiftyone"


@app.command("evaluate")
@plain_errors
def tracks_evaluate(
    root: Annotated[Path, typer.Argument(help="Folder of clips with ground truth: csv, OTB, VOT or DAVIS layout.")],
    trackers: Annotated[
        list[str],
        typer.Option("--tracker", "-t", help="NAME, NAME:WEIGHTS, NAME:WEIGHTS@PRESET, a folder, truth. Repeatable."),
    ] = NO_TRACKERS,
    compare: Annotated[
        tuple[str, str] | None, typer.Option("--compare", help="Two of them: adds paired differences.")
    ] = None,
    clip_names: Annotated[list[str], typer.Option("--clip", help="Only this clip. Repeatable.")] = NO_TRACKERS,
    length: Annotated[int, typer.Option(help="Frames that every clip is brought to.")] = 103,
    size: Annotated[str, typer.Option(help="Size that is tracked at, WxH, or source.")] = "455x256",
    jitter: Annotated[int, typer.Option(help="Further runs from boxes moved by 5 %, resized by 8 %.")] = 0,
    results: Annotated[Path | None, typer.Option("--results", help="Write boxes here, pysot-toolkit's format.")] = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Write curves and a picture of each clip here.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """One-Pass Evaluation: first true box given, then success, precision, rotated overlap and grid IoU.

    Example: `tubeflow tracks evaluate clips/ --compare mil nano:weights/nanotrack_v2 --plots plots/`
    """
    # Loads what decodes and tracks, PyAV and OpenCV, which --help and the other commands of this file don't need.
    from data_catalog.tracks.benchmarks import find_tracking_clips
    from flows.tables.tracking.tracking_tables import print_evaluation
    from flows.tracking import evaluation
    from tasks.assessment.one_pass import EvaluationConfig

    wanted = [*dict.fromkeys([*(compare or ()), *trackers])]
    if not wanted:
        raise ConfigError("Say what to evaluate: --tracker NAME, or --compare A B.")
    candidates = [evaluation.parse_candidate(text) for text in wanted]
    if len({one.label for one in candidates}) < len(candidates):
        raise ConfigError("Two trackers would have the same name in the tables; rename one's weights or folder.")
    try:
        config = EvaluationConfig(length=length, size_wh=_size(size), jitter_runs=jitter)
        clips = [clip for clip in find_tracking_clips(root) if not clip_names or clip.name in clip_names]
    except ValueError as exc:
        raise ConfigError(" ".join(str(exc).split())) from exc
    if not clips:
        raise ConfigError(f"{root} has none of the clips {', '.join(clip_names)}.")
    with stage_bars():
        found = evaluation.evaluate(candidates, clips, config, device, Workspace(workspace).weights, plots)
    if results is not None:
        evaluation.export_results(results, found)
    if plots is not None:
        _draw(plots, found)
    summary = evaluation.summarise(found, config)
    if as_json:
        typer.echo(json.dumps(summary.as_json()))
        return
    print_evaluation(summary, difference=compare is not None)


def _size(text: str) -> tuple[int, int] | None:
    if text == "source":
        return None
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ConfigError(f"--size is WIDTHxHEIGHT, such as 455x256, or source; not '{text}'.")
    return int(width), int(height)


def _draw(folder: Path, found: Mapping[str, Sequence[ClipResult]]) -> None:
    from flows.draw.tracking_plots import draw_curves  # loads Matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    plots = {
        "success": (OVERLAPS, "overlap", "auc"),
        "precision": (DISTANCES_PX, "distance of centres, px", "precision20"),
        "norm_precision": (DISTANCES_OF_SIDE, "distance of centres, in sides of the true box", "norm_precision20"),
    }
    for name, (thresholds, axis, figure) in plots.items():
        curves = {label: np.mean([getattr(one.curves, name) for one in ones], axis=0) for label, ones in found.items()}
        means = {label: np.mean([getattr(one.figures, figure) for one in ones]) for label, ones in found.items()}
        legend = {label: f"{label} [{mean:.3f}]" for label, mean in means.items()}
        draw_curves(folder / f"{name}.png", curves, thresholds, axis, legend)


@app.command("import")
@plain_errors
def tracks_import(
    source: Annotated[Path, typer.Argument(help="File or folder of tracks.")],
    out_file: Annotated[Path, typer.Option("--out", help="Where the JSON file of quads goes.")],
    style: Annotated[str, typer.Option("--format", help=f"{FORMATS}, or published.")] = "pysot",
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Whose clips the tracks are cut to, by clip_id or video file.")
    ] = None,
    athlete: Annotated[int, typer.Option(min=0, help="Which target of videos with several, from 0.")] = 0,
    size: Annotated[
        str | None, typer.Option("--size", help="Size of the videos, WxH, where the file doesn't say it.")
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Turn tracks of other tools into one file that the tracker `published` reads.

    Example: `tubeflow tracks import results/SiamRPN --format pysot --out siamrpn.json`,
    `tubeflow tracks import task.xml --format cvat_xml --dataset mine --out workspace/weights/drawn.json`
    """
    rejected: dict[str, str] = {}
    try:
        if track_format(style).module:
            with doing("read"):
                videos = read_videos(source, style, None if size is None else _size(size))
                clips = None if dataset is None else dataset_clips(Workspace(workspace), dataset)
                taken = take_tracks(videos, athlete, clips)
            tubes, notes = taken.tubes, taken.notes
        else:
            with doing("read"):
                found = read_tracks(source, style)
            tubes, notes, rejected = dict(found.tubes), found.notes, dict(found.rejected)
    except TrackFileError as exc:
        raise CatalogError(f"{exc}.") from exc
    if not tubes:
        raise CatalogError(f"None of the tracks in {source} can be used: {next(iter(rejected.values()))}.")
    write_quads(out_file, tubes)
    if as_json:
        typer.echo(json.dumps({"clips": len(tubes), "rejected": rejected, "file": str(out_file)}))
        return
    for note in notes:
        out.print(note, markup=False, soft_wrap=True)
    out.print(
        f"{len(tubes)} tracks in {out_file}; use them with: tubeflow run … -o track.tracker=published "
        f"-o track.weights={out_file}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


@app.command("truth")
@plain_errors
def tracks_truth(
    out_file: Annotated[Path, typer.Argument(help="Where the JSON file of quads goes.")],
    dataset: DatasetOption,
    jitter: Annotated[float, typer.Option(min=0, help="Error of centre and size, in sides of the athlete.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the error.")] = 0,
    athlete: Annotated[int, typer.Option(min=0, help="Which athlete of clips with several, from 0.")] = 0,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Write the true tubes of a procedural dataset, or with --jitter worse ones, for the tracker `published`.

    Example: `tubeflow tracks truth workspace/weights/truth.json --dataset demo --jitter 0.25`
    """
    with stage_bars(PATIENCE):
        found = true_tubes(Workspace(workspace), dataset, athlete, jitter, seed)
    write_quads(out_file, found)
    if as_json:
        typer.echo(json.dumps({"clips": len(found), "jitter": jitter, "file": str(out_file)}))
        return
    out.print(f"{len(found)} tubes in {out_file}; use them with: tubeflow run … -o track.tracker=published "
              f"-o track.weights={out_file}", markup=False, soft_wrap=True)  # fmt: skip


@app.command("export")
@plain_errors
def tracks_export(
    out_path: Annotated[Path, typer.Argument(help="File or folder, as docs/formats.md says of each format.")],
    dataset: DatasetOption,
    style: Annotated[str, typer.Option("--format", help=FORMATS)] = "pysot",
    shape: Annotated[str, typer.Option(help="box: upright. polygon: quads, as exactly as the format can.")] = "box",
    athlete: Annotated[int, typer.Option(min=0, help="Which athlete of clips with several, from 0.")] = 0,
    preset: Annotated[str | None, typer.Option("--preset", help="Config; by default the dataset's last run's.")] = None,
    overrides: OverrideOption = NO_OVERRIDES,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Write a dataset's tubes in pixels of the source video, for other tools.

    pysot, otb, vot and frfs have a quad a normalised frame of one athlete; the others all athletes, by the frames of
    the source video.

    Example: `tubeflow tracks export results/ours --dataset demo --format pysot --shape polygon`
    """
    if shape not in ("box", "polygon"):
        raise ConfigError(f"--shape is box or polygon, not '{shape}'.")
    kind: Shape = "polygon" if shape == "polygon" else "box"
    opened = Workspace(workspace)
    found: Sized
    try:
        with stage_bars(PATIENCE):
            if track_format(style).module:
                found = videos = tubes_of_videos(opened, dataset, preset, overrides)
                files = write_videos(out_path, videos, style, kind) if videos else []
            else:
                found = tubes = read_tubes(opened, dataset, preset, overrides, athlete)
                files = write_tracks(out_path, tubes, style, kind) if tubes else []
    except TrackFileError as exc:
        raise CatalogError(f"{exc}.") from exc
    if not found:
        raise CatalogError(f"Dataset '{dataset}' has no tracked clips for this config; run it until track first.")
    if as_json:
        typer.echo(json.dumps({"clips": len(found), "files": [str(file) for file in files]}))
        return
    out.print(f"{len(found)} tracks written to {out_path}.", markup=False, soft_wrap=True)
