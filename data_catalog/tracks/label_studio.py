"""Label Studio's JSON of video tasks: regions `videorectangle` with a sequence of keyframes.

Frames are counted from 1, as the labelling configuration's frame rate cuts the video. x, y, width and height are
percent of the frame, x and y those of the upper left corner, about which the rectangle is turned clockwise by
`rotation` degrees. Between keyframes all of it goes linearly, angles the shorter way round. A keyframe with `enabled:
false` is the last frame with the target, which is hidden from there to the next keyframe; behind the last enabled one
it stays to the end. Exports come as JSON and as JSON-MIN, in which regions are named by their control.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from data_catalog.atomic import replacing
from data_catalog.tracks.foreign_files import Fields, read_json
from data_catalog.tracks.text import Shape, TrackFileError
from data_catalog.tracks.video_tracks import (
    Quads,
    VideoTracks,
    bare_name,
    between_keyframes,
    box_quads,
    checked_count,
    rectangles,
    turned,
)

FPS = 25.0
"""Where nobody says how many frames a second there are, durations are written as if these were."""
NUMBERS = ("x", "y", "width", "height", "rotation")
TYPE = "videorectangle"
OUTLINE = "videovector"
"""The other kind of region that says where something is; the rest classify the video or its parts."""


def read_label_studio(path: Path, frame_wh: tuple[int, int] | None = None) -> list[VideoTracks]:
    """The videos of an export; of a task's annotations the last one that wasn't cancelled, else its predictions.

    Args:
        path: the .json file.
        frame_wh: size of the videos in pixels, which exports don't say.

    Raises:
        TrackFileError: it can't be used, or the size is not known; names file and task.
    """
    content = read_json(path)
    found = []
    for number, one in enumerate(content if isinstance(content, list) else [content]):
        task = Fields(one, f"{path.name}, task {number}")
        regions = _regions(task)
        boxes = [one for one in regions if one.text("type") == TYPE]
        if boxes:
            others = Counter(one.text("type") for one in regions if one.text("type") == OUTLINE)
            notes = tuple(f"{count} regions of type {kind} were left out" for kind, count in others.items())
            found.append(replace(_video(task, boxes, frame_wh, fallback=f"{path.stem}-{number}"), notes=notes))
    if not found:
        raise TrackFileError(f"{path.name} has no region of type {TYPE}; it should be a JSON export of video tasks")
    return found


def _regions(task: Fields) -> list[Fields]:
    if not {"annotations", "predictions"} & task.values.keys():
        return _minimal_regions(task)
    made = [Fields(one, f"{task.place}, annotation") for one in task.listed("annotations")]
    kept = [one for one in made if not one.flag("was_cancelled")] or [
        Fields(one, f"{task.place}, prediction") for one in task.listed("predictions")
    ]
    if not kept:
        return []
    return [Fields(one, f"{task.place}, region {n}") for n, one in enumerate(kept[-1].listed("result"))]


def _minimal_regions(task: Fields) -> list[Fields]:
    """The regions of a task of JSON-MIN: lists of what is a region's `value` elsewhere, beside the task's data."""
    found = []
    for name, values in task.values.items():
        for value in values if isinstance(values, list) else []:
            if isinstance(value, dict) and isinstance(value.get("sequence"), list):
                boxes = all("x" in row for row in value["sequence"] if isinstance(row, dict))
                region = {**value, "type": TYPE if boxes else OUTLINE, "value": value}
                found.append(Fields(region, f"{task.place}, {name}"))
    return found


def _video(task: Fields, regions: Sequence[Fields], frame_wh: tuple[int, int] | None, fallback: str) -> VideoTracks:
    values = [Fields(one.values.get("value"), f"{one.place}, value") for one in regions]
    data = Fields(task.values.get("data", task.values), f"{task.place}, data")
    video = data.text("video")
    name = data.text("clip") or bare_name(_path_of(video)) or fallback
    size = frame_wh or _said_size(regions)
    if size is None:
        raise TrackFileError(f"{task.place} doesn't say how large the video is; give it with --size WxH")
    keyframes = [
        [Fields(row, f"{one.place}, keyframe {n}") for n, row in enumerate(one.listed("sequence"))] for one in values
    ]
    last = max((row.whole("frame") for rows in keyframes for row in rows), default=0)
    count = checked_count(max([last, *(one.whole("framesCount", 0) for one in values)]), len(values), task.place)
    drawn = np.zeros(count, bool)
    for rows in keyframes:
        drawn[[row.whole("frame") - 1 for row in rows]] = True
    quads = np.stack([_quads(rows, size, count) for rows in keyframes])
    labels = tuple(str(next(iter(one.listed("labels")), "")) for one in values)
    duration = max(one.number("duration", 0.0) for one in values)
    fps = count / duration if duration > 0 else None
    return VideoTracks(name, quads, labels, drawn, frame_wh=size, fps=fps, video=video)


def _path_of(video: str) -> str:
    """The file's path out of a URL, also of Label Studio's own local files, /data/local-files/?d=PATH."""
    parts = urlsplit(video)
    return dict(parse_qsl(parts.query)).get("d") or unquote(parts.path)


def _said_size(regions: Sequence[Fields]) -> tuple[int, int] | None:
    for one in regions:
        if {"original_width", "original_height"} <= one.values.keys():
            return one.whole("original_width"), one.whole("original_height")
    return None


def _quads(rows: Sequence[Fields], size: tuple[int, int], count: int) -> Quads:
    """(N, 4, 2) of one region."""
    unique = {row.whole("frame"): row for row in rows}
    if 0 in unique:
        raise TrackFileError(f"{unique[0].place} has frame 0; Label Studio counts from 1")
    if not unique:
        return np.full((count, 4, 2), np.nan)
    frames = sorted(unique)
    table = [[unique[frame].number(name, 0.0 if name == "rotation" else None) for name in NUMBERS] for frame in frames]
    turn = np.unwrap([row[-1] for row in table], period=360)
    table = [[*row[:-1], degrees] for row, degrees in zip(table, turn.tolist(), strict=True)]
    shown = [unique[frame].flag("enabled", True) for frame in frames]
    x, y, width, height, degrees = between_keyframes(
        [frame - 1 for frame in frames], table, shown, count, each_shown=True
    ).T
    corner = np.stack([x, y], axis=1) * size / 100
    side = np.stack([width, height], axis=1) * size / 100
    ends = np.stack([corner, corner + side])  # a rectangle that was drawn upwards or to the left has negative sides
    return turned(box_quads(np.concatenate([ends.min(axis=0), ends.max(axis=0)], axis=1)), degrees, corner)


def write_label_studio(path: Path, clips: Sequence[VideoTracks], shape: Shape) -> list[Path]:
    """One file of tasks with predictions, which Label Studio imports; rectangles, the smallest around each quad.

    Raises:
        TrackFileError: a clip's frame size isn't known.
    """
    tasks = [
        {
            "id": number,
            "data": {"video": clip.video or clip.name, "clip": clip.name},
            "predictions": [{"model_version": "tubeflow", "result": _results(clip, shape)}],
        }
        for number, clip in enumerate(clips, start=1)
    ]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(tasks))
    return [path]


def _results(clip: VideoTracks, shape: Shape) -> list[dict[str, Any]]:
    width, height = clip.size()
    shown = clip.upright() if shape == "box" else clip
    count, fps = clip.quads.shape[1], clip.fps or FPS
    results = []
    for number, (target, label, keyframes) in enumerate(zip(shown.quads, clip.labels, clip.keyframes, strict=True)):
        frames = np.flatnonzero(keyframes)
        if not frames.size:
            continue
        there = np.append(np.isfinite(target).all(axis=(1, 2)), True)  # behind the last frame nothing has to be hidden
        sequence = [
            {**dict(zip(NUMBERS, row, strict=True)), "frame": frame + 1, "enabled": bool(there[frame + 1]),
             "time": round((frame + 1) / fps, 4)}
            for frame, row in zip(frames.tolist(), _percent(target[frames], (width, height)).tolist(), strict=True)
        ]  # fmt: skip
        results.append({
            "id": f"{clip.name}-{number}", "type": TYPE, "from_name": "box", "to_name": "video",
            "original_width": width, "original_height": height,
            "value": {"sequence": sequence, "labels": [label], "framesCount": count, "duration": round(count / fps, 4)},
        })  # fmt: skip
    return results


def _percent(quads: Quads, size: tuple[int, int]) -> NDArray[np.float64]:
    """(K, 5): x, y, width, height in percent of the frame, and degrees that don't leap from row to row."""
    boxes, degrees, _ = rectangles(quads)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    corner = turned(boxes[:, None, :2], degrees, middle)[:, 0]
    sides = boxes[:, 2:] - boxes[:, :2]
    turn = np.unwrap(degrees, period=360)
    return np.concatenate([corner / size * 100, sides / size * 100, turn[:, None]], axis=1).round(6)
