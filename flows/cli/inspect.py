"""`tubeflow inspect`: one clip's tube in the terminal, as a contact sheet and as a video."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from data_catalog.catalog import CatalogError, Workspace
from flows.config import PipelineConfig, apply_overrides, load_config
from flows.console import out
from flows.datasets.clips import PREDICTED, dataset_clips, no_such_clip
from flows.draw.overlay import overlay_video
from flows.draw.pipeline_picture import tube_strip
from flows.draw.sheet import contact_sheet
from flows.draw.terminal import tube_mask_text
from flows.report.clip_page import write_page
from flows.runs.clip_tube import ClipTube, read_clip
from flows.runs.record import read_runs
from flows.stages import CLIP_STAGES, section
from tasks.engine.plan import Planner, StagePlan


def dataset_of(workspace: Workspace, clip_id: str) -> str:
    """The one dataset that has a clip of this id; videos of `tubeflow predict` only where no other dataset has it.

    Raises:
        CatalogError: none or several have it.
    """
    clips = {name: workspace.datasets.table(name, ["clip_id"]).column("clip_id") for name in workspace.datasets.names()}
    owners = [name for name, ids in clips.items() if pc.index(ids, clip_id).as_py() >= 0]
    if not owners:
        known = chain.from_iterable(ids.to_pylist() for ids in clips.values())
        raise CatalogError(no_such_clip("This workspace", clip_id, known))
    labelled = [name for name in owners if workspace.datasets.info(name).adapter != PREDICTED]
    owners = labelled or owners
    if len(owners) > 1:
        raise CatalogError(f"The datasets {', '.join(owners)} all have a clip '{clip_id}'; say which with --dataset.")
    return owners[0]


def last_config(workspace: Workspace, dataset: str, overrides: Sequence[str] = ()) -> PipelineConfig:
    """The config of the dataset's last run. Raises CatalogError where there is none, or it was never run."""
    workspace.datasets.info(dataset)
    run = last_whole_run(workspace, dataset)
    if run is None:
        raise CatalogError(f"Dataset '{dataset}' was never run; say which config with --preset, or run it first.")
    return apply_overrides(run["config"], overrides)


def last_whole_run(workspace: Workspace, dataset: str) -> dict[str, Any] | None:
    """The record of the dataset's last run that was not about single clips alone, if there is one; or any last run."""
    runs = [run for run in read_runs(workspace) if run["dataset"] == dataset]
    whole = [run for run in runs if not run.get("clips")]
    return next(reversed(whole or runs), None)


def last_where(workspace: Workspace, dataset: str) -> str | None:
    """Which part of the dataset its last run worked on; None is all of it."""
    run = last_whole_run(workspace, dataset)
    where: str | None = run.get("where") if run is not None else None
    return where


def find_clip(
    workspace: Workspace, clip_id: str, dataset: str | None, preset: str | None, overrides: Sequence[str]
) -> tuple[ClipTube, dict[str, StagePlan], PipelineConfig]:
    """A clip's tube as its dataset's last run, or a preset, makes it. Raises CatalogError and ConfigError."""
    name = dataset or dataset_of(workspace, clip_id)
    config = load_config(preset, overrides) if preset else last_config(workspace, name, overrides)
    clips = [clip for clip in dataset_clips(workspace, name) if clip.clip_id == clip_id]
    plans = Planner(workspace, name, clips).plan([(stage, section(stage, config)) for stage in CLIP_STAGES], [])
    return read_clip(workspace, name, clip_id, plans, config), plans, config


def inspect_clip(
    workspace: Workspace,
    clip_id: str,
    dataset: str | None,
    preset: str | None,
    overrides: Sequence[str],
    folder: Path,
    html: bool = False,
) -> None:
    """Print the tube mask; write `<clip_id>.png`, `<clip_id>_tube.png`, `<clip_id>.mp4`, if asked `<clip_id>.html`."""
    tube, plans, config = find_clip(workspace, clip_id, dataset, preset, overrides)
    length = config.masks.segment_length
    text = tube_mask_text(tube.mask, config.masks.starts, clip_id=clip_id, segment_length=length)
    out.print(text, markup=False, soft_wrap=True)
    sheet = contact_sheet(tube.view, folder / f"{clip_id}.png")
    strip = tube_strip(
        tube.view, tube.mask, config.masks.starts, folder / f"{clip_id}_tube.png", segment_length=length
    )
    video = overlay_video(tube.view, folder / f"{clip_id}.mp4", fps=tube.fps)
    out.print(f"sheet  {sheet}\ntube   {strip}\nvideo  {video}", markup=False, soft_wrap=True)
    if html:
        out.print(f"page   {write_page(workspace, tube, plans, config, folder)}", markup=False, soft_wrap=True)
