"""`tubeflow inspect --html`: one clip's artifacts as one file to be opened by double click."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig
from flows.draw.tube_layers import GridLayer
from flows.report.clip_html import ClipPage, ScoredSteps, write_clip_page
from flows.report.data import LineageRow
from flows.runs.clip_steps import Segments, clip_steps, normalized_frames
from flows.runs.clip_tube import ClipTube, scored_starts
from flows.runs.command_line import command_line
from flows.runs.finished import finished_run
from flows.runs.quality import known_quality
from flows.runs.record import read_runs
from tasks.engine.plan import StagePlan


def clip_page(
    workspace: Workspace, tube: ClipTube, plans: Mapping[str, StagePlan], config: PipelineConfig
) -> ClipPage:
    """Everything that the page of a clip shows. Raises ArtifactDamaged and FileNotFoundError."""
    view = tube.view
    jobs = {name: plan.jobs[view.clip_id] for name, plan in plans.items() if view.clip_id in plan.jobs}
    track = workspace.store.read("track", jobs["track"].key)
    masks = workspace.store.read("masks", jobs["masks"].key)
    scored = _scored(workspace, tube, plans, config)
    quality = known_quality(workspace, plans, config.quality).get(view.clip_id)
    series = None if quality is None else workspace.tube_quality.series(*quality.pair)
    grid = GridLayer(
        coverage=masks.arrays["coverage"],
        mask=masks.arrays["mask"],
        omega=masks.arrays["omega"],
        crop=view.crop,
        tau=config.masks.tau,
        starts=config.masks.starts,
        segment_length=config.masks.segment_length,
        stride=config.masks.stride,
    )
    return ClipPage(
        view=view,
        track=track.arrays,
        grid=grid,
        fps=float(tube.fps),
        facts=facts(tube, config.track.tracker),
        lineage=[LineageRow(name, plans[name].stage.version, view.clip_id, job.key) for name, job in jobs.items()],
        files={name: str(workspace.store.path(name, job.key)) for name, job in jobs.items()},
        quality=quality,
        series=series,
        scored=scored,
        command=command_line(),
    )


def _scored(
    workspace: Workspace, tube: ClipTube, plans: Mapping[str, StagePlan], config: PipelineConfig
) -> ScoredSteps | None:
    """The clip's steps, scored by the dataset's last run that evaluated this clip; None where it has no steps."""
    dataset, clip_id = tube.view.dataset, tube.view.clip_id
    (clip,) = workspace.datasets.clips(dataset, [clip_id])
    frames = normalized_frames(workspace, plans, clip_id)
    if not clip.steps or frames is None:
        return None
    scores, by = _last_scores(workspace, dataset, clip_id)
    if scores is not None and len(scores) != len(config.masks.starts):
        scores, by = None, ""  # of a run with other segments than are shown here
    shown = scored_starts(config.masks, len(frames.source_index), config.train.eval_shift)
    segments = Segments(shown, config.masks.segment_length)
    return ScoredSteps(clip_steps(clip, frames.source_index, segments, scores), scores, by)


def _last_scores(workspace: Workspace, dataset: str, clip_id: str) -> tuple[NDArray[np.float64] | None, str]:
    """Scores (N,) of the clip's segments by the last weights of the newest run that has them, and the run's id."""
    for run in reversed(read_runs(workspace)):
        if run.dataset != dataset or not run.evaluated:
            continue
        table = finished_run(workspace, run).predictions()
        mine = table[(table["clip_id"] == clip_id) & (table["weights"] == "last")]
        if len(mine):
            names = [name for name in table.columns if name.startswith("segment_")]
            return mine[names].to_numpy(np.float64)[0], run.run_id
    return None, ""


def facts(tube: ClipTube, tracker: str) -> dict[str, str]:
    """What stands below the title."""
    view = tube.view
    return {
        "score": "none" if view.score is None else f"{view.score:g}",
        "tracker": tracker,
        "frames": f"{len(view.frames)} of {view.frame_wh[0]}×{view.frame_wh[1]} px",
        "athletes": str(view.athletes),
        "selected positions": f"{int(tube.mask.sum()):,} of {tube.mask.size:,}",
        **({} if view.poses is None else {"poses": view.poses.sentence}),
    }


def write_page(
    workspace: Workspace, tube: ClipTube, plans: Mapping[str, StagePlan], config: PipelineConfig, folder: Path
) -> Path:
    """Write `<clip_id>.html` into `folder`."""
    page = clip_page(workspace, tube, plans, config)
    return write_clip_page(folder / f"{tube.view.clip_id}.html", page)
