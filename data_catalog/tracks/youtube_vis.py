"""YouTube-VIS: a COCO file whose annotations are whole tracks, a segmentation and a box a frame, null where absent.

Frames are places in the video's `file_names`. Segmentations are read as in `coco_vid`; they are written as polygons,
which pycocotools takes as well: the quad, or with `box` the upright box.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from data_catalog.atomic import replacing
from data_catalog.tracks.coco_shapes import box_quad, outline, segmentation_quad
from data_catalog.tracks.coco_vid import LABEL, each
from data_catalog.tracks.foreign_files import Fields, read_json
from data_catalog.tracks.text import Shape, TrackFileError
from data_catalog.tracks.video_tracks import Quads, VideoTracks, checked_count, quad_boxes


def read_youtube_vis(path: Path) -> list[VideoTracks]:
    """The videos of a file.

    Raises:
        TrackFileError: it can't be used, or it is of a part whose annotations aren't public; names what of it.
    """
    whole = Fields(read_json(path), path.name)
    if not whole.values.get("annotations"):
        raise TrackFileError(f"{path.name} has no annotations; YouTube-VIS's own of validation and test aren't public")
    names = {one.whole("id"): one.text("name") for one in each(whole, "categories")}
    rows: dict[int, list[Fields]] = defaultdict(list)
    for one in each(whole, "annotations"):
        rows[one.whole("video_id")].append(one)
    return [_video(one, rows[one.whole("id")], names) for one in each(whole, "videos")]


def _video(video: Fields, rows: Sequence[Fields], names: Mapping[int, str]) -> VideoTracks:
    files = video.listed("file_names")
    count = checked_count(len(files) or video.whole("length"), len(rows), video.place)
    quads = np.stack([_track(row, count) for row in rows]) if rows else np.zeros((0, count, 4, 2))
    folder = PurePosixPath(str(files[0])).parent.name if files else ""
    size = (video.whole("width"), video.whole("height"))
    labels = tuple(names.get(row.whole("category_id", 0), "") for row in rows)
    return VideoTracks(folder or f"video_{video.whole('id')}", quads, labels, frame_wh=size)


def _track(row: Fields, count: int) -> Quads:
    shapes, boxes = row.listed("segmentations"), row.listed("bboxes")
    if any(len(rows) not in (0, count) for rows in (shapes, boxes)) or not (shapes or boxes):
        raise TrackFileError(f"{row.place} has {len(shapes)} segmentations and {len(boxes)} boxes in {count} frames")
    quads = np.full((count, 4, 2), np.nan)
    for frame in range(count):
        place = f"{row.place}, frame {frame}"
        quad = segmentation_quad(shapes[frame], place) if shapes else None
        if quad is None and boxes and boxes[frame] is not None:
            quad = box_quad(Fields({"box": boxes[frame]}, place), "box")
        if quad is not None:
            quads[frame] = quad
    return quads


def write_youtube_vis(path: Path, clips: Sequence[VideoTracks], shape: Shape) -> list[Path]:
    """One file. Raises TrackFileError where a clip's frame size isn't known."""
    categories = {name: place for place, name in enumerate(dict.fromkeys(n for c in clips for n in c.labels), 1)}
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, clip in enumerate(clips, start=1):
        width, height = clip.size()
        count = clip.quads.shape[1]
        videos.append({
            "id": number, "width": width, "height": height, "length": count,
            "file_names": [f"{clip.name}/{frame:05d}.jpg" for frame in range(count)],
        })  # fmt: skip
        shown = clip.upright() if shape == "box" else clip
        for target, label in zip(shown.quads, clip.labels, strict=True):
            there = np.isfinite(target).all(axis=(1, 2)).tolist()
            boxes = quad_boxes(target).round(4).tolist()
            annotations.append({
                "id": len(annotations) + 1, "video_id": number, "category_id": categories[label], "iscrowd": 0,
                "width": width, "height": height, "length": 1,
                "segmentations": [
                    outline(quad) if seen else None
                    for quad, seen in zip(target, there, strict=True)
                ],
                "bboxes": [box if seen else None for box, seen in zip(boxes, there, strict=True)],
                "areas": [round(box[2] * box[3], 4) if seen else None for box, seen in zip(boxes, there, strict=True)],
            })  # fmt: skip
    named = [{"id": place, "name": name or LABEL} for name, place in categories.items()]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"videos": videos, "annotations": annotations, "categories": named}))
    return [path]
