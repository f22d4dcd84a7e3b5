"""From the store to what is drawn: one clip's artifacts as a `ClipView`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.errors import DatasetError
from data_catalog.media.frame_codec import decode_frames
from data_catalog.store import Artifact
from flows.config import PipelineConfig, load_config
from flows.datasets.clips import dataset_clips, no_such_clip
from flows.draw.clip_view import ClipView, CropWindow
from flows.runs.clip_poses import clip_poses
from flows.runs.last import dataset_of, last_config
from flows.stages import CLIP_STAGES, planned_config, section
from models.geometry import crop_origin
from tasks.assessment.truth import read_truth
from tasks.engine.plan import Planner, StagePlan
from tasks.masks import MasksConfig


@dataclass(frozen=True, eq=False)
class ClipTube:
    """A clip's view with its mask (N, T, Hf, Wf) bool and the frame rate it is shown with."""

    view: ClipView
    mask: NDArray[np.bool_]
    fps: Fraction


def read_clip(workspace: Workspace, dataset: str, clip_id: str, plans: Mapping[str, StagePlan]) -> ClipTube:
    """Fetch frames, quads and masks of one clip from the store, as they are planned.

    Raises:
        CatalogError: the dataset has no such clip, or its masks aren't made yet.
    """
    jobs = {name: plans[name].jobs.get(clip_id) for name in ("normalize", "track", "masks")}
    if jobs["normalize"] is None:
        raise CatalogError(no_such_clip(f"Dataset '{dataset}'", clip_id, plans["normalize"].jobs))
    found = {}
    for name, job in jobs.items():
        if job is None or not workspace.store.exists(name, job.key):
            raise CatalogError(
                f"Clip '{clip_id}' has no '{name}' artifact for this config yet; "
                f"make it with: tubeflow run … --dataset {dataset} --until masks"
            )
        found[name] = workspace.store.read(name, job.key)
    job = jobs["normalize"]
    score = job.clip.score if job is not None and job.clip is not None else None
    masks = planned_config(plans, "masks", MasksConfig)
    return draw_from(workspace, dataset, clip_id, found, (masks.crop, masks.tau), score)


def find_clip(
    workspace: Workspace, clip_id: str, dataset: str | None, preset: str | None, overrides: Sequence[str]
) -> tuple[ClipTube, dict[str, StagePlan], PipelineConfig]:
    """A clip's tube as its dataset's last run, or a preset, makes it. Raises CatalogError and ConfigError."""
    name = dataset or dataset_of(workspace, clip_id)
    if workspace.datasets.info(name).holds_features:
        raise CatalogError(f"Clip '{clip_id}' is features without a video; there is no tube to look at.")
    config = load_config(preset, overrides) if preset else last_config(workspace, name, overrides)
    clips = [clip for clip in dataset_clips(workspace, name) if clip.clip_id == clip_id]
    plans = Planner(workspace, name, clips).plan([(stage, section(stage, config)) for stage in CLIP_STAGES], [])
    tube = read_clip(workspace, name, clip_id, plans)
    return tube, plans, config


def draw_from(
    workspace: Workspace,
    dataset: str,
    clip_id: str,
    found: Mapping[str, Artifact],
    grid: tuple[int, float],
    score: float | None,
) -> ClipTube:
    """One clip's `normalize`, `track` and `masks` artifacts as what is drawn of them; `grid` is crop side and tau."""
    source, tube, masks = found["normalize"], found["track"], found["masks"]
    crop, tau = grid
    frames = decode_frames(source.arrays)
    width, height = frames.shape[2], frames.shape[1]
    left, top = crop_origin((width, height), crop)
    index, attrs = source.arrays["source_index"], source.attrs
    view = ClipView(
        clip_id=clip_id,
        dataset=dataset,
        frames=frames,
        quads=tube.arrays["quads"],
        coverage=masks.arrays["coverage"],
        crop=CropWindow(left, top, crop),
        tau=tau,
        tracker_scores=tube.arrays["scores"],
        lost=tube.arrays["lost"],
        true_quads=true_quads(workspace, dataset, clip_id, index, attrs),
        score=score,
        poses=clip_poses(workspace, dataset, clip_id, index, attrs, tube.arrays["quads"]),
    )
    fps = Fraction(str(attrs["fps"])) if attrs["fps"] else Fraction(25)
    shown = fps * len(frames) / max(int(attrs["source_frames"]), 1)
    return ClipTube(view, masks.arrays["mask"], shown.limit_denominator(1000))


def true_quads(
    workspace: Workspace, dataset: str, clip_id: str, source_index: NDArray[np.int64], attrs: Mapping[str, Any]
) -> NDArray[np.float32] | None:
    """Ground truth (A, L, 4, 2) in pixels of the normalised frame; NaN where the athlete isn't visible.

    None where the dataset has no ground truth.
    """
    info = workspace.datasets.info(dataset)
    if not info.procedural:
        return None
    with contextlib.suppress(DatasetError, FileNotFoundError):
        return read_truth(Path(info.root), clip_id, source_index, attrs).quads_in_sight()
    return None


def scored_starts(masks: MasksConfig, length: int, shift: int) -> tuple[int, ...]:
    """First frame of each segment as test clips of `length` frames are read, `shift` frames later than in training.

    Beyond the last frame a shifted clip repeats that one; such a segment shows the last frames that there are.
    """
    last = length - masks.segment_length
    return tuple(min(max(start + shift, 0), last) for start in masks.starts)
