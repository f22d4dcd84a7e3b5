"""CVAT's JSON of a task's or a job's annotations: what its REST API answers, and annotations.json of a task's backup.

Only keyframes are in it. Its frames are numbered within the task; task.json beside it says which frames of the video
those are (`start_frame`, `frame_filter`), and without it they are taken to be the video's own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_catalog.atomic import replacing
from data_catalog.tracks.cvat.cvat_shapes import (
    Keyframe,
    ShapeTrack,
    frame_step,
    from_video,
    keyframe_of,
    left_out,
    to_video,
)
from data_catalog.tracks.foreign_files import Fields, read_json
from data_catalog.tracks.text import Shape, TrackFileError
from data_catalog.tracks.video_tracks import VideoTracks

KINDS = ("rectangle", "polygon")


@dataclass(frozen=True)
class _Frames:
    """Which frames of the video a task has."""

    start: int = 0
    step: int = 1
    count: int | None = None

    def of_video(self, frame: int) -> int:
        return self.start + frame * self.step


def read_cvat_json(path: Path) -> list[VideoTracks]:
    """The video of a file, or of each file or backup in a folder: annotations.json, NAME.json, NAME/annotations.json.

    Raises:
        TrackFileError: no such file, or it can't be used; names it.
    """
    if not path.is_dir():
        return [_read_file(path)]
    files = [file for file in sorted([*path.glob("*.json"), *path.glob("*/annotations.json")]) if _annotates(file)]
    if not files:
        raise TrackFileError(f"folder {path} holds no annotations.json of a task and no NAME.json")
    return [_read_file(file) for file in files]


def _annotates(file: Path) -> bool:
    return file.name not in ("task.json", "project.json", "manifest.json")


def _read_file(file: Path) -> VideoTracks:
    content = read_json(file)
    task = file.with_name("task.json")
    name, frames = file.stem, _Frames()
    if file.name == "annotations.json":
        name = file.parent.name
        if task.is_file():
            name, frames = _task(Fields(read_json(task), task.name), name)
    tracks: list[ShapeTrack] = []
    others: Counter[str] = Counter()
    for part in content if isinstance(content, list) else [content]:  # a backup has one for each job
        whole = Fields(part, file.name)
        if not {"tracks", "shapes"} & whole.values.keys():
            raise TrackFileError(f"{file.name} has no tracks; it should be what CVAT calls annotations")
        for number, track in enumerate(whole.listed("tracks")):
            _read_track(Fields(track, f"{file.name}, track {number}"), frames, tracks, others)
        others.update({"single shapes": len(whole.listed("shapes"))})
    return to_video(name, tracks, frames.count, notes=left_out(+others))


def _task(said: Fields, name: str) -> tuple[str, _Frames]:
    data = Fields(said.values.get("data", {}), f"{said.place}, data")
    count = data.whole("stop_frame") + 1 if "stop_frame" in data.values else None
    frames = _Frames(data.whole("start_frame", 0), frame_step(data.text("frame_filter")), count)
    return said.text("name") or name, frames


def _read_track(given: Fields, frames: _Frames, tracks: list[ShapeTrack], others: Counter[str]) -> None:
    shapes = [Fields(shape, f"{given.place}, shape {n}") for n, shape in enumerate(given.listed("shapes"))]
    kinds = {shape.text("type") for shape in shapes}
    if not kinds <= set(KINDS) or len(kinds) != 1:
        others[" and ".join(sorted(kinds)) or "no shape"] += 1
        return
    (kind,) = kinds
    keyframes = []
    for shape in shapes:
        numbers = keyframe_of(kind, shape.numbers("points"), shape.number("rotation", 0.0), shape.place)
        keyframes.append(Keyframe(frames.of_video(shape.whole("frame")), numbers, shape.flag("outside")))
    tracks.append(ShapeTrack(given.text("label") or given.text("label_id"), kind, tuple(keyframes)))


def write_cvat_json(path: Path, clips: Sequence[VideoTracks], shape: Shape) -> list[Path]:
    """A file NAME.json a clip into the folder `path`: tracks with the label's name, as annotations.json of a backup."""
    written = []
    for clip in clips:
        written.append(path / f"{clip.name}.json")
        tracks = [_track(one) for one in from_video(clip, shape)]
        with replacing(written[-1]) as temporary:
            temporary.write_text(json.dumps([{"version": 0, "tags": [], "shapes": [], "tracks": tracks}]))
    return written


def _track(track: ShapeTrack) -> dict[str, Any]:
    shapes = []
    for one in track.keyframes:
        points = one.numbers[:4] if track.kind == "rectangle" else one.numbers
        turn = one.numbers[4] if track.kind == "rectangle" else 0.0
        shapes.append({
            "type": track.kind, "occluded": False, "outside": one.outside, "z_order": 0, "rotation": turn,
            "points": list(points), "frame": one.frame, "attributes": [],
        })  # fmt: skip
    return {
        "label": track.label, "frame": track.keyframes[0].frame, "group": 0, "source": "auto", "attributes": [],
        "elements": [], "shapes": shapes,
    }  # fmt: skip
