"""Targets of one video, frame by frame, as annotation tools keep them; and the arithmetic that their formats share.

Everything is in continuous pixels of the source video: pixel i spans [i, i+1), the frame spans [0, W]×[0, H]. What a
format counts otherwise (from 1, in percent, from a rotated box's corner) is converted where it is read and written.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data_catalog.tracks.text import TrackFileError

MOST_FRAMES = 1_000_000
MOST_QUADS = 8_000_000
"""Of all targets of a video together; what a damaged or hostile file says beyond it is refused, not allocated."""
Quads = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VideoTracks:
    """What is known of one video.

    Attributes:
        name: of the clip.
        quads: (A, N, 4, 2) float64, corners of A targets in the N frames of the video; NaN where one isn't there.
        labels: what each of the A targets is called.
        drawn: (N,) bool, frames whose quads were drawn or tracked; those between are interpolated. None means all.
        frame_wh: width and height of the video in pixels, where the file says so.
        fps: frames a second, likewise.
        video: name of its file, likewise.
        notes: what was left out, one sentence each.
    """

    name: str
    quads: Quads
    labels: tuple[str, ...]
    drawn: NDArray[np.bool_] | None = None
    frame_wh: tuple[int, int] | None = None
    fps: float | None = None
    video: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def present(self) -> NDArray[np.bool_]:
        """(A, N) bool: where a target is there."""
        return np.asarray(np.isfinite(self.quads).all(axis=(2, 3)), bool)

    @property
    def keyframes(self) -> NDArray[np.bool_]:
        """(A, N) bool: frames in which a target was drawn, or in which it comes or ends."""
        there = self.present
        before = np.pad(there, ((0, 0), (1, 0)))[:, :-1]
        behind = np.pad(there, ((0, 0), (0, 1)))[:, 1:]
        drawn = np.ones(there.shape[1], bool) if self.drawn is None else self.drawn
        found: NDArray[np.bool_] = there & (drawn | ~before | ~behind)
        return found

    def size(self) -> tuple[int, int]:
        """Width and height in pixels. Raises TrackFileError where they aren't known."""
        if self.frame_wh is None:
            raise TrackFileError(f"the size of video '{self.name}' is not known; give it with --size WxH")
        return self.frame_wh

    def upright(self) -> VideoTracks:
        """The same with the upright boxes around the quads."""
        return replace(self, quads=upright(self.quads))


def bare_name(video: str) -> str:
    """What a video is called, out of a path: without folders, and without a suffix that is one of videos."""
    path = PurePosixPath(video)
    kind = mimetypes.guess_type(path.name)[0] or ""
    return path.stem if kind.startswith("video/") else path.name


def upright(quads: Quads) -> Quads:
    """(..., 4, 2) → the corners of the upright box around each quad, clockwise from the top left; NaN stays."""
    low, high = quads.min(axis=-2), quads.max(axis=-2)
    return box_quads(np.concatenate([low, high], axis=-1))


def box_quads(boxes: ArrayLike) -> Quads:
    """(..., 4) x1, y1, x2, y2 → (..., 4, 2), clockwise from the top left."""
    x1, y1, x2, y2 = np.moveaxis(np.asarray(boxes, np.float64), -1, 0)
    return np.stack([np.stack(corner, axis=-1) for corner in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))], axis=-2)


def quad_boxes(quads: Quads) -> NDArray[np.float64]:
    """(..., 4, 2) → (..., 4) x, y, width, height of the upright box around each quad."""
    low, high = quads.min(axis=-2), quads.max(axis=-2)
    return np.concatenate([low, high - low], axis=-1)


def turned(quads: Quads, degrees: ArrayLike, about: Quads) -> Quads:
    """Quads (..., 4, 2) turned clockwise (y down) by `degrees` (...) about the points `about` (..., 2)."""
    angle = np.deg2rad(np.asarray(degrees, np.float64))[..., None]
    away = quads - about[..., None, :]
    x = away[..., 0] * np.cos(angle) - away[..., 1] * np.sin(angle)
    y = away[..., 0] * np.sin(angle) + away[..., 1] * np.cos(angle)
    return np.stack([x, y], axis=-1) + about[..., None, :]


def rectangles(quads: Quads) -> tuple[Quads, NDArray[np.float64], NDArray[np.float64]]:
    """The smallest rotated rectangle around each convex quad: one of its sides lies on a side of the quad.

    Args:
        quads: (K, 4, 2), clockwise.

    Returns:
        Upright boxes (K, 4) x1, y1, x2, y2; (K,) degrees in [0, 360) by which each is turned clockwise about its
        centre; and (K,) how far, in pixels, the corners of quad and rectangle are apart at most.
    """
    sides = np.roll(quads, -1, axis=1) - quads
    angles = np.rad2deg(np.arctan2(sides[..., 1], sides[..., 0]))  # (K, 4), of each side against the x axis
    # Numbered from the quad's first corner: its first side is the upper one, its second the right one, …
    lean = (angles - 90.0 * np.arange(4)) % 360
    centre = quads.mean(axis=1)
    areas = np.empty_like(lean)
    boxes = np.empty((len(quads), 4, 4))
    for side in range(4):
        flat = turned(quads, -lean[:, side], centre)
        boxes[:, side] = np.concatenate([flat.min(axis=1), flat.max(axis=1)], axis=1)
        areas[:, side] = np.prod(boxes[:, side, 2:] - boxes[:, side, :2], axis=1)
    best = (areas <= areas.min(axis=1, keepdims=True) * (1 + 1e-9) + 1e-12).argmax(axis=1)  # of equals the first side
    rows = np.arange(len(quads))
    box, degrees = boxes[rows, best], lean[rows, best]
    middle = (box[:, :2] + box[:, 2:]) / 2
    moved = turned(middle[:, None], degrees, centre)[:, 0]  # the box was found turned about the quad's centre
    half = (box[:, 2:] - box[:, :2]) / 2
    box = np.concatenate([moved - half, moved + half], axis=1)
    error = np.abs(turned(box_quads(box), degrees, moved) - quads).max(axis=(1, 2))
    return box, degrees, error


def between_keyframes(
    frames: Sequence[int], values: ArrayLike, shown: Sequence[bool], count: int, each_shown: bool = False
) -> NDArray[np.float64]:
    """Numbers that describe a shape, interpolated linearly from keyframe to keyframe.

    Args:
        frames: K keyframes, rising.
        values: (K, P).
        shown: for each keyframe whether the target is there from it on, up to the next one.
        count: N, frames of the video.
        each_shown: in a keyframe itself the target is there even where it isn't from then on.

    Returns:
        (N, P); NaN before the first keyframe and where the target isn't there.
    """
    table = np.asarray(values, np.float64)
    wanted = np.arange(count)
    filled = np.stack([np.interp(wanted, frames, column) for column in table.T], axis=1)
    last = np.searchsorted(np.asarray(frames), wanted, side="right") - 1
    hidden = (last < 0) | ~np.asarray(shown, bool)[np.maximum(last, 0)]
    if each_shown:
        hidden[np.asarray(frames)] = False
    filled[hidden] = np.nan
    return filled


def checked_count(count: int, targets: int, place: str) -> int:
    """The number of frames, once it is one that can be. Raises TrackFileError."""
    if not 0 < count <= MOST_FRAMES or count * max(targets, 1) > MOST_QUADS:
        raise TrackFileError(f"{place} has {targets} targets in {count} frames; up to {MOST_FRAMES} frames are read")
    return count
