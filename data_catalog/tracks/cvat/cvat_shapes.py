"""What CVAT's XML and its JSON have in common: shapes at keyframes, and what is there between them.

CVAT's coordinates are continuous pixels, as ours. A rectangle is given by its corners before it is turned, and turned
clockwise by `rotation` degrees about its centre. Between keyframes numbers go linearly, angles the shorter way round;
a target stays as it is behind its last keyframe, and a keyframe with `outside` hides it up to the next one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.tracks.text import Shape, TrackFileError
from data_catalog.tracks.video_tracks import (
    Quads,
    VideoTracks,
    between_keyframes,
    box_quads,
    checked_count,
    quad_boxes,
    rectangles,
    turned,
)

EXACT_PX = 0.005
"""A quad that is a rectangle to this, half of the last digit that CVAT writes, is written as one."""
LABEL = "athlete"


@dataclass(frozen=True)
class Keyframe:
    """One shape of a track.

    Attributes:
        frame: from 0.
        numbers: x1, y1, x2, y2, degrees of a rectangle, or x, y of each corner of a polygon.
        outside: it hides the target from this frame on.
        drawn: a person or a tracker made it; others are CVAT's own, between keyframes.
    """

    frame: int
    numbers: tuple[float, ...]
    outside: bool = False
    drawn: bool = True


@dataclass(frozen=True)
class ShapeTrack:
    """One target: what it is called, "rectangle" or "polygon", and its keyframes in order."""

    label: str
    kind: str
    keyframes: tuple[Keyframe, ...]

    def quads(self, count: int) -> Quads:
        """(N, 4, 2) float64 of `count` frames; NaN where the target isn't there. Raises TrackFileError."""
        inside = [one for one in sorted(self.keyframes, key=lambda one: one.frame) if one.frame < count]
        unique = list({one.frame: one for one in inside}.values())
        if not unique:
            return np.full((count, 4, 2), np.nan)
        frames, shown = [one.frame for one in unique], [not one.outside for one in unique]
        if self.kind == "rectangle":
            table = np.asarray([one.numbers for one in unique], np.float64)
            table[:, 4] = np.unwrap(table[:, 4], period=360)
            found = between_keyframes(frames, table, shown, count)
            flat = box_quads(found[:, :4])
            return turned(flat, found[:, 4], flat.mean(axis=1))
        corners = np.stack([_four_corners(one.numbers) for one in unique])
        return between_keyframes(frames, corners.reshape(-1, 8), shown, count).reshape(-1, 4, 2)


def _four_corners(numbers: Sequence[float]) -> Quads:
    """A polygon of four corners as it is, of another number as the smallest rotated rectangle around it."""
    points = np.asarray(numbers, np.float64).reshape(-1, 2)
    if len(points) == 4:
        return points
    return np.asarray(cv2.boxPoints(cv2.minAreaRect(points.astype(np.float32))), np.float64)


def frame_step(frame_filter: str) -> int:
    """Every how many frames of the video a task has one, as its `frame_filter` says it: "step=5", or nothing."""
    step = re.fullmatch(r"step=([1-9]\d{0,5})", frame_filter)
    return int(step[1]) if step else 1


def to_video(name: str, tracks: Sequence[ShapeTrack], count: int | None, **known: Any) -> VideoTracks:
    """Tracks at keyframes as quads in every frame.

    Args:
        name: of the video, for messages as well.
        tracks: its targets.
        count: its frames; None takes those up to the last keyframe.
        known: what else is known of it, fields of `VideoTracks`.

    Raises:
        TrackFileError: more frames than can be.
    """
    last = max((one.frame for track in tracks for one in track.keyframes), default=-1)
    frames = checked_count(last + 1 if count is None else count, len(tracks), f"video '{name}'")
    drawn = np.zeros(frames, bool)
    for track in tracks:
        made = [one for one in track.keyframes if one.drawn] or track.keyframes  # Datumaro says it of none
        drawn[[one.frame for one in made if one.frame < frames]] = True
    quads = np.stack([track.quads(frames) for track in tracks]) if tracks else np.zeros((0, frames, 4, 2))
    return VideoTracks(name, quads, tuple(track.label for track in tracks), drawn, **known)


def from_video(clip: VideoTracks, shape: Shape) -> list[ShapeTrack]:
    """The inverse: a keyframe at each frame that was drawn, and one that hides the target where it ends.

    With `box` upright rectangles; with `polygon` a target whose quads are all rectangles becomes turned rectangles, and
    another one polygons.
    """
    found = []
    for target, label, keyframes in zip(clip.quads, clip.labels, clip.keyframes, strict=True):
        frames = np.flatnonzero(keyframes)
        if not frames.size:
            continue
        kind, numbers = _numbers(target[frames], shape)
        there = np.isfinite(target).all(axis=(1, 2))
        written: list[Keyframe] = []
        for frame, row in zip(frames.tolist(), numbers.round(2).tolist(), strict=True):
            written.append(Keyframe(frame, tuple(row)))
            if frame + 1 < len(there) and not there[frame + 1]:
                written.append(Keyframe(frame + 1, tuple(row), outside=True))
        found.append(ShapeTrack(label or LABEL, kind, tuple(written)))
    return found


def _numbers(quads: Quads, shape: Shape) -> tuple[str, NDArray[np.float64]]:
    if shape == "box":
        boxes = quad_boxes(quads)
        boxes[:, 2:] += boxes[:, :2]
        return "rectangle", np.concatenate([boxes, np.zeros((len(quads), 1))], axis=1)
    boxes, degrees, error = rectangles(quads)
    if error.max() > EXACT_PX:
        return "polygon", quads.reshape(-1, 8)
    return "rectangle", np.concatenate([boxes, degrees[:, None]], axis=1)


def keyframe_of(kind: str, points: Sequence[float], rotation: float, place: str) -> tuple[float, ...]:
    """The numbers of a shape. Raises TrackFileError where there aren't as many as its kind has."""
    if kind == "rectangle":
        if len(points) != 4:
            raise TrackFileError(f"{place} has {len(points)} numbers, and a rectangle 4")
        return (*points, rotation)
    if len(points) < 6 or len(points) % 2:
        raise TrackFileError(f"{place} has {len(points)} numbers, and a polygon two for each of three corners or more")
    return tuple(points)


def left_out(kinds: Mapping[str, int]) -> tuple[str, ...]:
    """A sentence for each kind of shape that is no box, with the number of tracks."""
    return tuple(f"{count} tracks of {kind} hold no box and were left out" for kind, count in kinds.items())
