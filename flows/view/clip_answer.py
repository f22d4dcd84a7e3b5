"""Everything that is known of one clip, as its page shows it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
from pydantic import JsonValue

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.indexed_read import read_artifact
from data_catalog.store import ArtifactDamaged
from flows.config import ConfigError
from flows.draw.tube_layers import number, numbers
from flows.runs.clip_poses import clip_poses
from flows.runs.clip_steps import Segments, clip_steps
from flows.runs.clip_tube import true_quads
from flows.runs.finished import find_run
from flows.runs.record import read_runs
from flows.tracking.variants import changes, clip_tracks, read_tube
from flows.view.plans import plan_json
from flows.view.rows import done_key, row_answer
from flows.view.state import DatasetState, Snapshot

KEPT_RUNS = 32
SHOWN_RUNS = 20
USUAL_FPS = 25


def clip_json(snapshot: Snapshot, dataset: str, clip: str) -> dict[str, object]:
    """The answer of /api/clip. Raises UnknownClip."""
    state, record = snapshot.clip(dataset, clip)
    workspace = snapshot.workspace
    keys = {stage: done_key(state.plans, stage, clip) for stage in ("normalize", "detect", "track", "masks")}
    found: dict[str, object] = {
        "dataset": dataset,
        "clip": clip,
        "procedural": state.procedural,
        "row": row_answer(state.rows[clip]),
        "labels": labels_json(record),
        "video": None,
        "frames": None,
        "detections": None,
        "label_boxes": [],
        "tube": None,
        "truth": None,
        "poses": None,
        "steps": [],
    }
    if keys["normalize"] is not None:
        found |= _frames_part(workspace, state, record, keys["normalize"])
    if keys["detect"] is not None:
        found["detections"] = _detections(workspace, state, keys["detect"])
    if keys["track"] is not None:
        found["tube"] = read_tube(workspace, keys["track"], keys["masks"])
    if keys["normalize"] is not None:
        found["poses"] = _poses(workspace, dataset, clip, keys["normalize"], keys["track"])
    return found | {
        "variants": variants_json(workspace, dataset, clip, keys["track"]),
        "runs": runs_json(workspace, dataset, clip),
        "history": history_json(workspace, dataset, clip),
        "lineage": [entry for stage, key in keys.items() if key and (entry := lineage_json(workspace, stage, key))],
        "plan": plan_json(snapshot, dataset, clip),
    }


def labels_json(record: ClipRecord) -> dict[str, object]:
    """A clip's labels, edits included."""
    names = ("split", "action", "score", "difficulty", "label", "start_frame", "end_frame", "bad")
    return {
        **{name: getattr(record, name) for name in names},
        "bad_reason": record.bad_reason,
        "boxes_by_person": record.boxes_by_person,
        "judges": list(record.judges),
        "boxes": [list(box) for box in record.boxes],
        "extra": record.extra,
    }


def _frames_part(workspace: Workspace, state: DatasetState, record: ClipRecord, key: str) -> dict[str, object]:
    """Frames, video, first-frame boxes in pixels of the frame, and the truth where a program drew the clip."""
    artifact = read_artifact(workspace, "normalize", key, ["frame_offsets", "source_index"])
    attrs, index = artifact.attrs, artifact.arrays["source_index"]
    width, height = int(attrs["width"]), int(attrs["height"])
    source = int(attrs["source_width"]), int(attrs["source_height"])
    fps = Fraction(str(attrs["fps"])) if attrs["fps"] else None
    shown = (fps or Fraction(USUAL_FPS)) * len(index) / max(int(attrs["source_frames"]), 1)
    truth = true_quads(workspace, state.name, record.clip_id, index, attrs)
    return {
        "video": {
            "path": record.video,
            "width": source[0],
            "height": source[1],
            "frames": int(attrs["source_frames"]),
            "fps": float(fps) if fps else None,
            "source_index": index.tolist(),
            "start": record.start_frame or 0,
            "total": int(attrs["source_frames"]) if (record.start_frame, record.end_frame) == (None, None) else None,
        },
        "frames": {
            "key": key,
            "count": len(index),
            "width": width,
            "height": height,
            "offsets": artifact.arrays["frame_offsets"].tolist(),
            "fps": round(float(shown), 3),
        },
        "label_boxes": [to_frame(box, source, (width, height)) for box in record.boxes],
        "truth": None if truth is None else numbers(truth, 2),
        "steps": [step.as_json() for step in clip_steps(record, index, Segments((), 0))],
    }


def to_frame(box: tuple[float, ...], source: tuple[int, int], frame: tuple[int, int]) -> list[float]:
    """x, y, w, h in pixels of the video → x0, y0, x1, y1 in pixels of the normalised frame."""
    x, y, w, h = box
    across, down = frame[0] / source[0], frame[1] / source[1]
    return [round(value, 2) for value in (x * across, y * down, (x + w) * across, (y + h) * down)]


def to_source(box: list[float], source: tuple[int, int], frame: tuple[int, int]) -> list[float]:
    """The inverse of `to_frame`, to a hundredth of a pixel."""
    across, down = source[0] / frame[0], source[1] / frame[1]
    x0, y0, x1, y1 = box
    return [round(value, 2) for value in (x0 * across, y0 * down, (x1 - x0) * across, (y1 - y0) * down)]


def _poses(workspace: Workspace, dataset: str, clip: str, normalize: str, track: str | None) -> object:
    """The dataset's poses of a clip in pixels of its frames, each beside the present tube or off it."""
    source = read_artifact(workspace, "normalize", normalize, ["source_index"])
    index = source.arrays["source_index"]
    tube = None if track is None else read_artifact(workspace, "track", track, ["quads"])
    quads = np.empty((0, len(index), 4, 2)) if tube is None else tube.arrays["quads"]
    found = clip_poses(workspace, dataset, clip, index, source.attrs, quads)
    return None if found is None else found.as_json()


def _detections(workspace: Workspace, state: DatasetState, key: str) -> dict[str, object]:
    artifact = read_artifact(workspace, "detect", key)
    return {
        "key": key,
        "boxes": numbers(artifact.arrays["boxes"], 2),
        "scores": numbers(artifact.arrays["scores"], 4),
        "chosen": artifact.arrays["chosen"].tolist(),
        "chosen_by": str(artifact.attrs["chosen_by"]),
        "detector": state.config.detect.detector if state.config else None,
    }


def variants_json(workspace: Workspace, dataset: str, clip: str, current: str | None) -> list[dict[str, object]]:
    """All tubes of a clip that are there, newest first, each with what makes it another one than the current."""
    tracks = clip_tracks(workspace, dataset, clip, current)
    shown = next((track for track in tracks if track.key == current), tracks[0] if tracks else None)
    masks = [row for row in workspace.index.rows.values() if row.stage == "masks"]
    masked = {parent for row in masks for parent in _parents(row.parents)}
    return [
        {
            "key": track.key,
            "variant": track.variant,
            "title": track.title,
            "tracker": track.tracker,
            "current": track.key == current,
            "masks": track.key in masked,
            "created": track.record.created,
            "changes": changes(track, shown) if shown is not None else [],
        }
        for track in tracks
    ]


@functools.lru_cache(maxsize=1 << 16)
def _parents(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text).values())


class RecordedScore(TypedDict):
    """What a run predicted of a clip, and the label that it had then."""

    score: float | None
    true: float | None
    segments: JsonValue


def runs_json(workspace: Workspace, dataset: str, clip: str) -> list[dict[str, object]]:
    """The dataset's runs that trained and evaluated a network, newest first, with what each predicted of this clip."""
    found: list[dict[str, object]] = []
    for run in reversed(read_runs(workspace)):
        if run.dataset != dataset or not run.evaluated or len(found) >= SHOWN_RUNS:
            continue
        try:
            config = run.pipeline_config()
        except ConfigError:  # of an earlier version, with fields that are no more
            title = run.run_id
        else:
            title = f"{config.track.tracker} · {config.model.backbone} · {config.model.attention_words}"
        told = recorded(workspace, run.run_id, clip)
        found.append(
            {
                "run_id": run.run_id,
                "finished": run.finished,
                "title": title,
                "weights": ["last", "best"],
                "prediction": {name: row["score"] for name, row in told.items()} or None,
                "true": next((row["true"] for row in told.values()), None),
            }
        )
    return found


@functools.lru_cache(maxsize=KEPT_RUNS)
def _predictions(root: Path, run_id: str) -> pd.DataFrame | None:
    """A run's table of predictions; a finished run doesn't change. None where it has none."""
    try:
        return find_run(Workspace(root), run_id).predictions()
    except CatalogError:
        return None


def recorded(workspace: Workspace, run_id: str, clip: str) -> dict[str, RecordedScore]:
    """What a run itself predicted of a clip: weights → score, segments, true; empty where it wasn't evaluated."""
    table = _predictions(workspace.root, run_id)
    if table is None:
        return {}
    mine = table[table["clip_id"] == clip]
    segments = [name for name in table.columns if name.startswith("segment_")]
    return {
        str(row["weights"]): {
            "score": number(row["predicted"], 4),
            "true": number(row["true"], 4),
            "segments": numbers(row[segments].to_numpy(np.float64), 4),
        }
        for _, row in mine.iterrows()
    }


def history_json(workspace: Workspace, dataset: str, clip: str) -> list[dict[str, object]]:
    """Who corrected what of this clip, oldest first."""
    edits = workspace.datasets.edits(dataset).read()
    return [asdict(edit) for edit in edits if edit.clip_id == clip]


def lineage_json(workspace: Workspace, stage: str, key: str) -> dict[str, object] | None:
    """Where an artifact comes from and where its file is; None where it is gone meanwhile."""
    path = workspace.store.path(stage, key)
    try:
        lineage, size = workspace.store.lineage(stage, key), path.stat().st_size
    except FileNotFoundError:
        return None
    except ArtifactDamaged as exc:
        workspace.notice(workspace.discard(exc))
        return None
    told: Mapping[str, object] = asdict(lineage)
    wanted = ("stage", "key", "config", "inputs", "weights", "parents", "libraries", "seconds", "host", "created")
    return {
        **{name: told[name] for name in wanted},
        "version": lineage.stage_version,
        "file": str(path.relative_to(workspace.root)),
        "path": str(path),
        "size": size,
        "download": f"/files/{stage}/{key}.h5",
    }
