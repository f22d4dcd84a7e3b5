"""`tubeflow inspect` and `flops`: a clip's tube, two trackers side by side, and what attention on the tubes costs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from data_catalog.catalog import Workspace
from flows.cli.options import (
    NO_OVERRIDES,
    CompareOption,
    JsonOption,
    OverrideOption,
    WorkspaceOption,
    plain_errors,
)
from flows.config import ConfigError
from flows.console import PATIENCE, doing, out, stage_bars
from tasks.engine import progress

app = typer.Typer()


@app.command("inspect")
@plain_errors
def inspect_command(
    clip: Annotated[str | None, typer.Argument(help="clip_id; with --compare the worst if unset.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Needed if two datasets have it.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Config; by default the dataset's last run's.")] = None,
    overrides: OverrideOption = NO_OVERRIDES,
    html: Annotated[bool, typer.Option("--html", help="Also one file to open in a browser, without a server.")] = False,
    recording: Annotated[
        Path | None, typer.Option("--rerun", help="Also FILE.rrd for Rerun's viewer; needs tubeflow[rerun].")
    ] = None,
    gif: Annotated[
        bool, typer.Option("--gif", help="Also how the tube comes about, as a GIF that moves.")
    ] = False,
    compare: CompareOption = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of the pictures; by default pictures/DATASET in the workspace.")
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Print a clip's tube mask; write a contact sheet, a picture of how its tube comes about, and an overlay MP4.

    With --compare: print where two trackers disagree most; write one clip's two tubes side by side.

    Example: `tubeflow inspect dive_0003 --dataset demo --html --out pictures/`,
    `tubeflow inspect --dataset demo --compare mil "nano nanotrack_v2"`
    """
    if compare is not None:
        # Loads what draws, OpenCV and Pillow, which --help doesn't need.
        from flows.tables.tracking.pair_table import print_pairs
        from flows.tracking.pairs import compare_trackers

        with stage_bars(PATIENCE):
            pairs = compare_trackers(Workspace(workspace), compare, dataset, clip, out_folder)
        if as_json:
            typer.echo(json.dumps(pairs))
        else:
            print_pairs(pairs)
        return
    if clip is None:
        raise ConfigError("Say which clip to inspect, or which two trackers to --compare.")
    inspect_clip(Workspace(workspace), clip, dataset, preset, overrides, out_folder, html, recording, gif)


def inspect_clip(
    workspace: Workspace,
    clip_id: str,
    dataset: str | None,
    preset: str | None,
    overrides: Sequence[str],
    folder: Path | None,
    html: bool = False,
    recording: Path | None = None,
    gif: bool = False,
) -> None:
    """Print the tube mask; write `<clip_id>.png`, `<clip_id>_tube.png`, `<clip_id>.mp4`, if asked a page, a GIF.

    They go into `folder`, by default the dataset's folder of pictures in the workspace.
    And `recording`, an .rrd file, where one is named.
    """
    # As above.
    from flows.draw.overlay import overlay_video
    from flows.draw.pipeline_picture import tube_strip
    from flows.draw.sheet import contact_sheet
    from flows.draw.terminal import tube_mask_text
    from flows.draw.tube_film import tube_film
    from flows.report.clip_page import write_page
    from flows.runs.clip_tube import find_clip

    with doing("plan"):
        tube, plans, config = find_clip(workspace, clip_id, dataset, preset, overrides)
    folder = folder or workspace.pictures / tube.view.dataset
    length = config.masks.segment_length
    text = tube_mask_text(tube.mask, config.masks.starts, clip_id=clip_id, segment_length=length)
    out.print(text, markup=False, soft_wrap=True)
    view, mask, starts = tube.view, tube.mask, config.masks.starts
    drawn: dict[str, Callable[[], Path]] = {
        "sheet": lambda: contact_sheet(view, folder / f"{clip_id}.png"),
        "tube": lambda: tube_strip(view, mask, starts, folder / f"{clip_id}_tube.png", segment_length=length),
        "video": lambda: overlay_video(view, folder / f"{clip_id}.mp4", fps=tube.fps),
    }
    if gif:
        drawn["film"] = lambda: tube_film(view, mask, starts, folder / f"{clip_id}.gif", segment_length=length)
    if html:
        drawn["page"] = lambda: write_page(workspace, tube, plans, config, folder)
    if recording is not None:
        from flows.draw.rerun_recording import write_recording

        drawn["rerun"] = partial(write_recording, view, mask, starts, recording, length, float(tube.fps))
    with stage_bars():
        written = [f"{what:<6} {draw()}" for what, draw in progress.each("draw", drawn.items(), lambda one: one[0])]
    out.print("\n".join(written), markup=False, soft_wrap=True)


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
    # Loads torch, seconds that no other command of this file needs.
    from flows.report.attention_cost import count_flops
    from flows.tables.attention_cost_table import print_flops

    with stage_bars():
        rows = count_flops(Workspace(workspace), name, preset, overrides)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    print_flops(rows)
