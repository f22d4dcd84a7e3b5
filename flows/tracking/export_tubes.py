"""The tubes of a dataset, out of its workspace, in pixels of the source videos; and the file that a tracker reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.atomic import replacing
from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.tracks.text import Track
from flows.config import load_config
from flows.datasets.clips import dataset_clips
from flows.runs.last import last_config, last_where
from flows.stages import CLIP_STAGES, section
from models.geometry import scale_quads
from tasks.engine import progress
from tasks.engine.plan import Planner

NEEDED = ("normalize", "detect", "track")


@dataclass(frozen=True, eq=False)
class FollowedClip:
    """A clip whose tubes were made.

    Attributes:
        clip: its record, `video` as absolute path.
        quads: (A, L, 4, 2) float32, continuous pixels of the source video.
        source_index: (L,) int64, the frame of the source behind each normalised frame.
        source_wh: size of the source's frames in pixels.
        frames: how many frames the clip has in the source.
        fps: of the source; None where it is a folder of images.
    """

    clip: ClipRecord
    quads: NDArray[np.float32]
    source_index: NDArray[np.int64]
    source_wh: tuple[int, int]
    frames: int
    fps: float | None


def tracked_clips(
    workspace: Workspace, dataset: str, preset: str | None, overrides: Sequence[str]
) -> Iterator[FollowedClip]:
    """The clips of a dataset that are tracked as its last run, or a preset, does it.

    Raises:
        CatalogError, ConfigError: no such dataset or preset, or the dataset was never run.
    """
    config = load_config(preset, overrides) if preset else last_config(workspace, dataset, overrides)
    clips = dataset_clips(workspace, dataset, None if preset else last_where(workspace, dataset))
    stages = [(stage, section(stage, config)) for stage in CLIP_STAGES if stage.name in NEEDED]
    plans = Planner(workspace, dataset, clips).plan(stages, [])
    for job in progress.each("read", plans["track"].jobs.values()):
        if job.clip is None or not workspace.store.exists("track", job.key):
            continue
        found = workspace.store.read("track", job.key, ["quads"])
        source = workspace.store.read("normalize", job.parents["normalize"], ["source_index"])
        source_wh = int(source.attrs["source_width"]), int(source.attrs["source_height"])
        tracked_wh = float(found.attrs["width"]), float(found.attrs["height"])
        quads = np.asarray(scale_quads(found.arrays["quads"], tracked_wh, source_wh), np.float32)
        fps = float(Fraction(str(source.attrs["fps"]))) if source.attrs["fps"] else None
        frames = int(source.attrs["source_frames"])
        yield FollowedClip(job.clip, quads, source.arrays["source_index"], source_wh, frames, fps)


def read_tubes(
    workspace: Workspace, dataset: str, preset: str | None, overrides: Sequence[str], athlete: int
) -> dict[str, Track]:
    """Clip → (L, 4, 2) float32 quads of athlete number `athlete`; clips that are not tracked, or not so often, are out.

    Raises:
        CatalogError, ConfigError: as `tracked_clips`, or no clip has this athlete.
    """
    found = {one.clip.clip_id: one.quads for one in tracked_clips(workspace, dataset, preset, overrides)}
    most = max((len(quads) for quads in found.values()), default=0)
    tubes = {name: quads[athlete] for name, quads in found.items() if athlete < len(quads)}
    if most and not tubes:
        raise CatalogError(f"No clip of '{dataset}' has an athlete {athlete}; they are counted from 0 to {most - 1}.")
    return tubes


def write_quads(path: Path, tubes: Mapping[str, Track]) -> None:
    """Write the file that the tracker `published` reads: clip → numbers (8,) of each frame, or null."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({name: _rows(track) for name, track in tubes.items()}))


def _rows(track: Track) -> list[list[float | None]]:
    """Eight numbers a frame, None where there is no box; hundredths of a pixel."""
    return [
        [round(float(value), 2) if np.isfinite(value) else None for value in quad] for quad in track.reshape(-1, 8)
    ]
