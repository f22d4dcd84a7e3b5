"""COCO-VID: a COCO file with `videos`, images that belong to one, and annotations with an `instance_id`.

`frame_id` counts from 0; where it is 1 in the first image of every video, as converters of MOTChallenge write it, it
counts from 1. TAO's `track_id` is read as well, and its `frame_index`, which counts the video's frames where `frame_id`
counts those that were labelled. A box is x, y, width, height in continuous pixels
as ours; a `segmentation` may say more: a polygon of four corners is the quad itself, and of other polygons and of run
lengths the smallest rotated rectangle is taken.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_catalog.atomic import replacing
from data_catalog.tracks.coco_shapes import box_quad, outline, segmentation_quad
from data_catalog.tracks.foreign_files import Fields, read_json
from data_catalog.tracks.text import Shape, TrackFileError
from data_catalog.tracks.video_tracks import VideoTracks, bare_name, checked_count, quad_boxes

LABEL = "athlete"


def read_coco_vid(path: Path) -> list[VideoTracks]:
    """The videos of a file.

    Raises:
        TrackFileError: it can't be used; names what of it.
    """
    whole = Fields(read_json(path), path.name)
    if not {"videos", "images", "annotations"} <= whole.values.keys():
        raise TrackFileError(f"{path.name} has no videos, images and annotations, as a COCO-VID file has")
    names = {one.whole("id"): one.text("name") for one in each(whole, "categories")}
    images = {one.whole("id"): one for one in each(whole, "images")}
    rows: dict[int, list[Fields]] = defaultdict(list)
    for one in each(whole, "annotations"):
        image = images.get(one.whole("image_id"))
        if image is None:
            raise TrackFileError(f"{one.place} is of an image that the file doesn't have")
        rows[image.whole("video_id")].append(one)
    frames: dict[int, dict[int, int]] = defaultdict(dict)
    for number, image in images.items():
        frames[image.whole("video_id")][number] = _frame(image)
    first = 1 if frames and all(min(ones.values()) == 1 for ones in frames.values()) else 0
    found = []
    for video in each(whole, "videos"):
        number = video.whole("id")
        places = {image: frame - first for image, frame in frames[number].items()}
        sized = next((one for one in (video, *map(images.__getitem__, places)) if _has_size(one)), None)
        found.append(_video(video, rows[number], places, sized, names))
    return found


def each(whole: Fields, name: str) -> list[Fields]:
    """The objects of a list. Raises TrackFileError where one is none."""
    return [Fields(one, f"{whole.place}, {name} {place}") for place, one in enumerate(whole.listed(name))]


def _frame(image: Fields) -> int:
    return image.whole("frame_index" if "frame_index" in image.values else "frame_id")


def _has_size(one: Fields) -> bool:
    return None not in (one.values.get("width"), one.values.get("height"))


def _video(
    video: Fields,
    rows: Sequence[Fields],
    frames: Mapping[int, int],
    sized: Fields | None,
    names: Mapping[int, str],
) -> VideoTracks:
    """One video: its annotations, the frame of each image, who says its size, and the categories' names."""
    key = "instance_id" if all("instance_id" in row.values for row in rows) else "track_id"
    targets = {target: place for place, target in enumerate(dict.fromkeys(row.whole(key) for row in rows))}
    count = checked_count(max([*frames.values(), video.whole("length", 0) - 1]) + 1, len(targets), video.place)
    quads = np.full((len(targets), count, 4, 2), np.nan)
    labels = [""] * len(targets)
    for row in rows:
        target, frame = targets[row.whole(key)], frames[row.whole("image_id")]
        if np.isfinite(quads[target, frame]).all():
            raise TrackFileError(f"{row.place} is a second box of {key} {row.whole(key)} in one frame")
        labels[target] = names.get(row.whole("category_id", 0), "")
        quad = segmentation_quad(row.values.get("segmentation"), row.place)
        quads[target, frame] = box_quad(row, "bbox") if quad is None else quad
    name = bare_name(video.text("name")) or f"video_{video.whole('id')}"
    size = None if sized is None else (sized.whole("width"), sized.whole("height"))
    fps = video.number("fps", 0.0) or None
    return VideoTracks(name, quads, tuple(labels), frame_wh=size, fps=fps, video=video.text("file_name"))


def write_coco_vid(path: Path, clips: Sequence[VideoTracks], shape: Shape) -> list[Path]:
    """One file: an image for each frame of a clip, an annotation for each target that is there.

    Raises:
        TrackFileError: a clip's frame size isn't known.
    """
    found: dict[str, list[dict[str, Any]]] = {"videos": [], "images": [], "annotations": []}
    categories = {name: place for place, name in enumerate(dict.fromkeys(n for c in clips for n in c.labels), 1)}
    instances = 0
    for number, clip in enumerate(clips, start=1):
        width, height = clip.size()
        count, first = clip.quads.shape[1], len(found["images"]) + 1
        found["videos"].append({
            "id": number, "name": clip.name, "file_name": clip.video, "width": width, "height": height,
            "length": count, **({"fps": clip.fps} if clip.fps else {}),
        })  # fmt: skip
        found["images"] += [
            {"id": first + frame, "video_id": number, "frame_id": frame, "width": width, "height": height,
             "file_name": f"{clip.name}/{frame:06d}.jpg"}
            for frame in range(count)
        ]  # fmt: skip
        boxes = quad_boxes(clip.quads).round(4)
        for target, frame in np.argwhere(clip.present).tolist():
            box = boxes[target, frame].tolist()
            found["annotations"].append({
                "id": len(found["annotations"]) + 1, "image_id": first + frame, "video_id": number,
                "instance_id": instances + target + 1, "category_id": categories[clip.labels[target]], "bbox": box,
                "area": round(box[2] * box[3], 4), "iscrowd": 0,
                "segmentation": outline(clip.quads[target, frame]) if shape == "polygon" else [],
            })  # fmt: skip
        instances += len(clip.labels)
    named = [{"id": place, "name": name or LABEL} for name, place in categories.items()]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({**found, "categories": named}))
    return [path]
