"""Tubes that somebody else tracked and published: read from their file instead of computed from the frames.

The file is what `track.weights` names: `FRFS_Boxes.json`, or a JSON, pickle or text file with 8 numbers a frame. Its
digest is in the key, as any weights' is. Corners are pixels of the source video, a quad a source frame of the clip, or
a quad a normalised frame where the file has just as many, or a quad for each of the 103 frames of the paper, which end
with the clip, where the normalised frames do too (`normalize.window: tail`).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_catalog.tracks.files import TrackFile, crossed_sides, fill_absent, read_tracks
from data_catalog.tracks.text import TrackFileError
from models.geometry import order_clockwise, scale_quads
from models.trackers import Tube
from tasks.engine.errors import BadClip

PUBLISHED = "published"
PAPER_FRAMES = 103
"""The paper's L, for which boxes were published."""


@dataclass(frozen=True, eq=False)
class PublishedTube:
    """A tube for the normalised frames, and what was mended in its file's quads.

    Attributes:
        tube: L quads in pixels of the normalised frame, clockwise; `lost` where the file had no quad.
        repaired: frames of the file whose corners were listed crosswise or counter-clockwise, and were reordered.
        absent: frames of the file without a quad, which repeat the one before.
    """

    tube: Tube
    repaired: tuple[int, ...]
    absent: tuple[int, ...]


def published_tube(
    track: NDArray[np.float32],
    source_index: NDArray[np.int64],
    clip_frames: tuple[int, int],
    source_wh: tuple[float, float],
    frame_wh: tuple[float, float],
    ends_with_clip: bool = False,
) -> PublishedTube:
    """Bring a published track to the normalised frames.

    Args:
        track: (F, 4, 2) pixels of the source, NaN where a frame has no quad.
        source_index: (L,) the source frame behind each normalised frame.
        clip_frames: the clip's first frame in the source, and how many it has there.
        source_wh: size of the source's frames in pixels.
        frame_wh: size of the normalised frames in pixels.
        ends_with_clip: the normalised frames are the last L ones, so that 103 quads are those of the last 103. Frames
            before them repeat the first quad and are lost.

    Raises:
        ValueError: F is neither the clip's length nor L, or no frame has a quad.
    """
    start, count = clip_frames
    filled, absent = fill_absent(track)
    before = np.zeros(len(source_index), bool)
    if len(track) == count:
        steps = source_index - start
    elif len(track) == len(source_index):
        steps = np.arange(len(track))
    elif ends_with_clip and len(track) == PAPER_FRAMES:
        steps = np.arange(len(source_index)) - (len(source_index) - PAPER_FRAMES)
        before = steps < 0
    else:
        raise ValueError(f"it has {len(track)} frames, the clip {count} and normalised {len(source_index)}")
    wrong = crossed_sides(filled) | (_signed_area(filled) < 0)
    steps = np.maximum(steps, 0)  # a window may reach back before the clip
    lost = absent[steps] | before
    quads = scale_quads(order_clockwise(filled), source_wh, frame_wh)[steps]
    tube = Tube(quads.astype(np.float32), np.where(lost, 0, 1).astype(np.float32), lost)
    present = np.flatnonzero(wrong & ~absent)
    return PublishedTube(tube, tuple(present.tolist()), tuple(np.flatnonzero(absent).tolist()))


def _signed_area(quads: NDArray[np.float32]) -> NDArray[np.float64]:
    """Positive where the corners go clockwise, y down."""
    corners = quads.astype(np.float64)
    after = np.roll(corners, -1, axis=-2)
    return np.asarray((corners[..., 0] * after[..., 1] - after[..., 0] * corners[..., 1]).sum(axis=-1) / 2)


def read_published(path: Path) -> TrackFile:
    """The file's tracks; parsed once in a process while it stays the same. Raises TrackFileError."""
    stat = path.stat()
    return _parsed(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2)
def _parsed(path: Path, mtime_ns: int, size: int) -> TrackFile:
    return read_tracks(path, PUBLISHED)


def track_of(tracks: TrackFile, clip_id: str, file: str) -> NDArray[np.float32]:
    """The clip's quads (F, 4, 2), by its name or by one that differs in zeros and dashes only (`1-7` for `01_07`).

    Raises:
        BadClip: the file has none, two, or an unusable one.
    """
    if clip_id in tracks.tubes:
        return tracks.tubes[clip_id]
    alike = [name for name in tracks.tubes if _canonical(name) == _canonical(clip_id)]
    if len(alike) == 1:
        return tracks.tubes[alike[0]]
    if clip_id in tracks.rejected:
        why = f"can't be used: {tracks.rejected[clip_id]}"
    else:
        why = f"are ambiguous: {' and '.join(alike)}" if alike else f"are not among the {len(tracks.tubes)} there"
    raise BadClip(
        f"The published boxes of clip '{clip_id}' in {file} {why}.",
        "Give a file that has them, or run this clip with another `track.tracker`.",
    )


def _canonical(name: str) -> tuple[str, ...]:
    return tuple(str(int(part)) if part.isdecimal() else part for part in re.split(r"[_\-/]+", name.lower()))


def published_tracks(
    path: Path, clip_id: str, source_index: NDArray[np.int64], start: int | None, attrs: Any, window: str = "uniform"
) -> PublishedTube:
    """The tube of one clip.

    Args:
        path: the published file.
        clip_id: its name there, or one that differs in zeros and dashes only.
        source_index: (L,) frame of the source that each frame of the clip is.
        start: the clip's first frame in the source; None is 0.
        attrs: those of the clip's normalize artifact.
        window: which frames it took, as its config says.

    Raises:
        BadClip: the file can't be read, has no track of the clip, or one of another length.
    """
    try:
        track = track_of(read_published(path), clip_id, path.name)
        frames = (start or 0, int(attrs["source_frames"]))
        source_wh = (float(attrs["source_width"]), float(attrs["source_height"]))
        frame_wh = (float(attrs["width"]), float(attrs["height"]))
        return published_tube(track, source_index, frames, source_wh, frame_wh, ends_with_clip=window == "tail")
    except TrackFileError as exc:
        raise BadClip(f"The published boxes in {path} can't be read: {exc}.", "Give the published file.") from exc
    except ValueError as exc:
        raise BadClip(
            f"The published boxes of clip '{clip_id}' don't fit its frames: {exc}.",
            "Set normalize.length and normalize.window as the boxes were made (103, tail), or check the clip's frames.",
        ) from exc
