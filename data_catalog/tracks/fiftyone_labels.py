"""FiftyOne: a folder of the type FiftyOneVideoLabelsDataset, which it imports and exports; FiftyOne isn't needed.

manifest.json names a video and a file of labels/ a clip. Frames are counted from 1; coordinates are shares of width and
height, boxes by two corners. A polyline of four corners says the quad itself and goes before the object of its index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from data_catalog.atomic import replacing
from data_catalog.tracks.coco_vid import each
from data_catalog.tracks.foreign_files import Fields, read_json
from data_catalog.tracks.text import Shape, TrackFileError
from data_catalog.tracks.video_tracks import Quads, VideoTracks, box_quads, checked_count, quad_boxes

DATASET = "eta.core.datasets.LabeledVideoDataset"
OBJECT = "eta.core.objects.DetectedObject"
FIELD = "tubes"


def read_fiftyone(path: Path, frame_wh: tuple[int, int] | None = None) -> list[VideoTracks]:
    """The videos of a folder with manifest.json, or of one labels file.

    Args:
        path: the folder or file.
        frame_wh: size of the videos in pixels, where the labels don't say it.

    Raises:
        TrackFileError: it can't be used, or a size is not known; names the file.
    """
    if not path.is_dir():
        return [_video(path, "", frame_wh)]
    manifest = Fields(read_json(path / "manifest.json"), "manifest.json")
    found = []
    for one in each(manifest, "index"):
        labels = PurePosixPath(one.text("labels"))
        if labels.is_absolute() or ".." in labels.parts:
            raise TrackFileError(f"{one.place} names labels outside of its folder: {labels}")
        found.append(_video(path / labels, one.text("data"), frame_wh))
    return found


def _video(file: Path, video: str, frame_wh: tuple[int, int] | None) -> VideoTracks:
    whole = Fields(read_json(file), file.name)
    said = Fields(whole.values.get("metadata") or {}, f"{file.name}, metadata")
    size = tuple(int(side) for side in said.numbers("frame_size", 2)) if "frame_size" in said.values else frame_wh
    if size is None or len(size) != 2:
        raise TrackFileError(f"{file.name} doesn't say how large the video is; give it with --size WxH")
    scale = np.asarray(size, np.float64)
    rows = [row for frame in _frames(whole) for row in _targets(frame)]
    targets = list(dict.fromkeys(target for _, target, _, _ in rows))
    last = max((frame for frame, *_ in rows), default=0)
    count = checked_count(max(last, said.whole("total_frame_count", 0)), len(targets), file.name)
    quads = np.full((len(targets), count, 4, 2), np.nan)
    labels = [""] * len(targets)
    for frame, target, label, quad in rows:
        quads[targets.index(target), frame - 1] = quad * scale
        labels[targets.index(target)] = label
    fps = said.number("frame_rate", 0.0) or None
    name = file.stem
    return VideoTracks(name, quads, tuple(labels), frame_wh=(int(size[0]), int(size[1])), fps=fps, video=video)


def _frames(whole: Fields) -> Iterator[Fields]:
    frames = Fields(whole.values.get("frames"), f"{whole.place}, frames")
    for number, frame in frames.values.items():
        found = Fields(frame, f"{whole.place}, frame {number}")
        if found.whole("frame_number") < 1:
            raise TrackFileError(f"{found.place} has number 0; frames are counted from 1")
        yield found


def _targets(frame: Fields) -> Iterator[tuple[int, int, str, Quads]]:
    """Frame, index, label and quad (4, 2) of each target, in shares; polylines behind objects, so that they win."""
    number = frame.whole("frame_number")
    for one in _inside(frame, "objects"):
        box = Fields(one.values.get("bounding_box"), f"{one.place}, box")
        ends = [Fields(box.values.get(name), f"{box.place}, {name}") for name in ("top_left", "bottom_right")]
        corners = [end.number(axis) for end in ends for axis in ("x", "y")]
        yield number, one.whole("index", 0), one.text("label"), box_quads(corners)
    for one in _inside(frame, "polylines"):
        shapes = one.listed("points")
        if len(shapes) == 1 and isinstance(shapes[0], list) and len(shapes[0]) == 4:
            points = [Fields({"point": point}, one.place).numbers("point", 2) for point in shapes[0]]
            yield number, one.whole("index", 0), one.text("label"), np.asarray(points, np.float64)


def _inside(frame: Fields, name: str) -> list[Fields]:
    if name not in frame.values:
        return []
    return each(Fields(frame.values[name], frame.place), name)


def write_fiftyone(path: Path, clips: Sequence[VideoTracks], shape: Shape) -> list[Path]:
    """The folder: manifest.json and labels/NAME.json a clip; the videos stay where they are.

    Raises:
        TrackFileError: a clip's frame size isn't known.
    """
    index = []
    written = []
    for clip in clips:
        labels = f"labels/{clip.name}.json"
        index.append({"data": clip.video or f"data/{clip.name}.mp4", "labels": labels})
        written.append(path / labels)
        with replacing(written[-1]) as temporary:
            temporary.write_text(json.dumps(_labels(clip, shape)))
    written.append(path / "manifest.json")
    with replacing(written[-1]) as temporary:
        temporary.write_text(json.dumps({"type": DATASET, "description": "", "index": index}))
    return written


def _labels(clip: VideoTracks, shape: Shape) -> dict[str, Any]:
    width, height = clip.size()
    scale = np.asarray([width, height], np.float64)
    boxes = quad_boxes(clip.quads) / np.tile(scale, 2)
    frames: dict[str, dict[str, Any]] = {}
    for frame, target in np.argwhere(clip.present.T).tolist():
        one = frames.setdefault(str(frame + 1), {"frame_number": frame + 1})
        x, y, w, h = boxes[target, frame].round(8).tolist()
        common = {"label": clip.labels[target], "index": target + 1, "name": FIELD}
        one.setdefault("objects", {"objects": []})["objects"].append({
            "type": OBJECT, **common, "frame_number": frame + 1,
            "bounding_box": {"top_left": {"x": x, "y": y}, "bottom_right": {"x": x + w, "y": y + h}},
        })  # fmt: skip
        if shape == "polygon":
            points = (clip.quads[target, frame] / scale).round(8).tolist()
            one.setdefault("polylines", {"polylines": []})["polylines"].append(
                {**common, "name": "quads", "closed": True, "filled": False, "points": [points]}
            )
    metadata = {"frame_size": [width, height], "total_frame_count": clip.quads.shape[1]}
    return {"metadata": metadata | ({"frame_rate": clip.fps} if clip.fps else {}), "frames": frames}
