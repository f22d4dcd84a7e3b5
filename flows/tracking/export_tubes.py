"""The tubes of a dataset, out of its workspace, in pixels of the source videos; and the file that a tracker reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_catalog.atomic import replacing
from data_catalog.catalog import CatalogError, Workspace
from data_catalog.tracks.text import Track
from flows.config import load_config
from flows.datasets.clips import dataset_clips
from flows.runs.last import last_config, last_where
from flows.stages import CLIP_STAGES, section
from models.geometry import scale_quads
from tasks.engine.plan import Planner

NEEDED = ("normalize", "detect", "track")


def read_tubes(
    workspace: Workspace, dataset: str, preset: str | None, overrides: Sequence[str], athlete: int
) -> dict[str, Track]:
    """Clip → (L, 4, 2) float32 quads of athlete number `athlete`; clips that are not tracked, or not so often, are out.

    Raises:
        CatalogError, ConfigError: no such dataset or preset, the dataset was never run, or no clip has this athlete.
    """
    config = load_config(preset, overrides) if preset else last_config(workspace, dataset, overrides)
    clips = dataset_clips(workspace, dataset, None if preset else last_where(workspace, dataset))
    stages = [(stage, section(stage, config)) for stage in CLIP_STAGES if stage.name in NEEDED]
    plans = Planner(workspace, dataset, clips).plan(stages, [])
    tubes: dict[str, Track] = {}
    most = 0
    for clip_id, job in plans["track"].jobs.items():
        if not workspace.store.exists("track", job.key):
            continue
        found = workspace.store.read("track", job.key, ["quads"])
        source = workspace.store.read("normalize", job.parents["normalize"], ["source_index"]).attrs
        most = max(most, len(found.arrays["quads"]))
        if athlete < len(found.arrays["quads"]):
            tracked_wh = (float(found.attrs["width"]), float(found.attrs["height"]))
            source_wh = (float(source["source_width"]), float(source["source_height"]))
            quads = scale_quads(found.arrays["quads"][athlete], tracked_wh, source_wh)
            tubes[clip_id] = np.asarray(quads, np.float32)
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
