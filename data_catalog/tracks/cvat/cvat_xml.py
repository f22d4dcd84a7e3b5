"""CVAT's XML, "CVAT for video 1.1": a task, a job, or a project of several, with tracks of boxes, polygons and masks.

Frames are those of the video, as CVAT writes them of a task that begins later or takes every n-th. In a project's file
the tasks of a subset are numbered one behind the other: a task's frames begin where the one before it has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

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
from data_catalog.tracks.foreign_files import Fields, read_xml
from data_catalog.tracks.text import Shape, TrackFileError
from data_catalog.tracks.video_tracks import VideoTracks, bare_name
from data_catalog.tracks.vot_masks import read_region

KINDS = {"box": "rectangle", "polygon": "polygon", "mask": "polygon"}
TASKS = ("annotations/meta/task", "annotations/meta/job", "annotations/meta/project/tasks/task")
SAID = ("id", "name", "size", "source", "start_frame", "stop_frame", "frame_filter", "subset")
# Of a job's file the size, and of files before 2021 the source, stand behind the head's job or task, not in it.
JOB_SIZE, SOURCE = "annotations/meta/original_size", "annotations/meta/source"
MOST_PIXELS = 2**27
OTHERS = ("polyline", "points", "ellipse", "cuboid", "skeleton")


@dataclass
class _CvatTask:
    """What the head says of a video."""

    said: dict[str, str] = field(default_factory=dict)
    tracks: list[ShapeTrack] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


@dataclass
class _Track:
    task: str
    label: str
    kind: str = ""
    shapes: list[Keyframe] = field(default_factory=list)


class _Reader:
    """Collects what the elements say."""

    def __init__(self, file: Path) -> None:
        self.file, self.tasks = file, dict[str, _CvatTask]()
        self._task = _CvatTask()
        self._track: _Track | None = None
        self.images = False

    def start(self, path: str, attrs: dict[str, str]) -> None:
        if path in TASKS:
            self._task = _CvatTask()
        elif path == "annotations/image":
            self.images = True
        elif path == "annotations/track":
            self._track = _Track(attrs.get("task_id", ""), attrs.get("label", ""))
        elif path.startswith("annotations/track/") and self._track is not None and path.count("/") == 2:
            self._shape(path.rpartition("/")[2], attrs, self._track)

    def _shape(self, element: str, attrs: dict[str, str], track: _Track) -> None:
        if element in OTHERS:
            track.kind = element
            return
        if element not in KINDS:
            return
        track.kind = KINDS[element]
        given = Fields(attrs, f"{self.file.name}, {element} of track {track.label!r} at frame {attrs.get('frame')}")
        frame, outside, drawn = given.whole("frame"), given.flag("outside"), given.flag("keyframe", True)
        if element == "box":
            points = [given.number(name) for name in ("xtl", "ytl", "xbr", "ybr")]
        elif element == "polygon":
            cells = given.text("points").replace(";", ",").split(",")
            points = Fields({"points": [cell for cell in cells if cell]}, given.place).numbers("points")
        else:
            points = _mask_corners(given)
        numbers = keyframe_of(track.kind, points, given.number("rotation", 0.0), given.place)
        track.shapes.append(Keyframe(frame, numbers, outside, drawn))

    def end(self, path: str, text: str) -> None:
        head, _, name = path.rpartition("/")
        of_size = head.endswith("/original_size") and head.rpartition("/")[0] in TASKS
        if text.strip() and (of_size or head == JOB_SIZE or path == SOURCE or (head in TASKS and name in SAID)):
            self._task.said[name] = text
        elif path in TASKS:
            self.tasks[self._task.said.get("id", "")] = self._task
        elif path == "annotations/track" and self._track is not None:
            self._keep(self._track)
            self._track = None

    def _keep(self, track: _Track) -> None:
        task = self.tasks.get(track.task) or (next(iter(self.tasks.values())) if len(self.tasks) == 1 else None)
        if task is None:
            task = self.tasks.setdefault(track.task, _CvatTask())
        if track.kind in OTHERS:
            task.others[track.kind] += 1
        elif track.shapes:
            task.tracks.append(ShapeTrack(track.label, track.kind, tuple(track.shapes)))


def _mask_corners(given: Fields) -> list[float]:
    """The smallest rotated rectangle around the pixels of a mask, whose run lengths fill a rectangle of the frame."""
    from data_catalog.tracks.benchmarks import mask_boxes  # decodes images, which the other shapes don't need

    sides = [str(given.whole(name)) for name in ("left", "top", "width", "height")]
    if int(sides[2]) * int(sides[3]) > MOST_PIXELS:
        raise TrackFileError(f"{given.place} is a mask of {sides[2]} x {sides[3]} pixels, which can't be")
    region = read_region(",".join([*sides, given.text("rle").replace(" ", "")]), given.place)
    _, quad = mask_boxes(region.mask)
    corners: list[float] = (quad + np.array([region.left, region.top])).ravel().tolist()
    if not np.isfinite(corners).all():
        raise TrackFileError(f"{given.place} is an empty mask")
    return corners


def read_cvat_xml(path: Path) -> list[VideoTracks]:
    """The videos of a file, or of all the files of a folder: NAME.xml, NAME/annotations.xml.

    Raises:
        TrackFileError: no such file, or it can't be used; names it.
    """
    files = sorted([*path.glob("*.xml"), *path.glob("*/annotations.xml")]) if path.is_dir() else [path]
    if not files:
        raise TrackFileError(f"folder {path} holds no .xml file")
    return [clip for file in files for clip in _read_file(file)]


def _read_file(file: Path) -> list[VideoTracks]:
    reader = _Reader(file)
    read_xml(file, reader.start, reader.end)
    if reader.images:
        raise TrackFileError(
            f'{file.name} holds single images, not tracks; export the task from CVAT as "CVAT for video 1.1"'
        )
    if not reader.tasks:
        raise TrackFileError(f"{file.name} has no tracks and no task of CVAT")
    found = []
    offset, subset = 0, ""
    for task in reader.tasks.values():
        said = Fields(task.said, f"{file.name}, its head")
        offset = offset if said.text("subset") == subset else 0
        found.append(_video(file, task, said, offset))
        subset = said.text("subset")
        offset += said.whole("start_frame", 0) + said.whole("size", 0) * frame_step(said.text("frame_filter"))
    return found


def _video(file: Path, task: _CvatTask, said: Fields, offset: int) -> VideoTracks:
    """The video of a task whose first frame is numbered `offset` more than in the video."""
    size = (said.whole("width"), said.whole("height")) if {"width", "height"} <= task.said.keys() else None
    video = task.said.get("source", "")
    name = task.said.get("name") or bare_name(video) or (file.parent.name if file.stem == "annotations" else file.stem)
    notes = left_out(task.others)
    tracks = [_from_frame(track, offset, said.place) for track in task.tracks]
    return to_video(name, tracks, _frames(said), frame_wh=size, video=video, notes=notes)


def _frames(said: Fields) -> int | None:
    """Frames of the video up to the task's last one; None where it isn't said."""
    if "size" not in said.values:
        return None
    last = said.whole("start_frame", 0) + (said.whole("size") - 1) * frame_step(said.text("frame_filter"))
    return min(last, said.whole("stop_frame", last)) + 1  # Datumaro's stop_frame is one further


def _from_frame(track: ShapeTrack, first: int, place: str) -> ShapeTrack:
    if any(one.frame < first for one in track.keyframes):
        raise TrackFileError(f"{place} says that a task's frames are numbered from {first} on, a track has one before")
    return replace(track, keyframes=tuple(replace(one, frame=one.frame - first) for one in track.keyframes))


def write_cvat_xml(path: Path, clips: Sequence[VideoTracks], shape: Shape) -> list[Path]:
    """A file NAME.xml a clip into the folder `path`; CVAT takes it with "Upload annotations" of the video's task.

    Raises:
        TrackFileError: a clip's frame size isn't known.
    """
    written = []
    for clip in clips:
        written.append(path / f"{clip.name}.xml")
        with replacing(written[-1]) as temporary:
            temporary.write_text("\n".join(_lines(clip, from_video(clip, shape))) + "\n", encoding="utf-8")
    return written


def _lines(clip: VideoTracks, tracks: Sequence[ShapeTrack]) -> list[str]:
    width, height = clip.size()
    count = clip.quads.shape[1]
    labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in dict.fromkeys(t.label for t in tracks))
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<annotations>",
        "  <version>1.1</version>",
        "  <meta>",
        "    <task>",
        f"      <id>0</id><name>{escape(clip.name)}</name><size>{count}</size><mode>interpolation</mode>",
        f"      <start_frame>0</start_frame><stop_frame>{count - 1}</stop_frame>",
        f"      <labels>{labels}</labels>",
        f"      <original_size><width>{width}</width><height>{height}</height></original_size>",
        f"      <source>{escape(clip.video)}</source>",
        "    </task>",
        "  </meta>",
    ]
    for number, track in enumerate(tracks):
        lines.append(f'  <track id="{number}" label={quoteattr(track.label)} source="auto">')
        lines += [f"    {_element(track.kind, one)}" for one in track.keyframes]
        lines.append("  </track>")
    return [*lines, "</annotations>"]


def _element(kind: str, one: Keyframe) -> str:
    state = f'frame="{one.frame}" outside="{int(one.outside)}" occluded="0" keyframe="1"'
    if kind == "rectangle":
        x1, y1, x2, y2, degrees = one.numbers
        turn = f' rotation="{degrees:.2f}"' if degrees else ""
        return f'<box {state} xtl="{x1:.2f}" ytl="{y1:.2f}" xbr="{x2:.2f}" ybr="{y2:.2f}"{turn} z_order="0"></box>'
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in zip(one.numbers[::2], one.numbers[1::2], strict=True))
    return f'<polygon {state} points="{points}" z_order="0"></polygon>'
