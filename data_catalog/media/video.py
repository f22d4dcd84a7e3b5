"""Reads frames out of video files and image folders.

A source is a container file that FFmpeg demuxes (`container.ACCEPTED_FORMATS`) or a folder of images. Frames are
numbered from 0 in the order in which they are shown, and are what decoding yields (`frame_index`). They come out as
people see them: upright (rotation and mirroring of the container's display matrix applied), interlaced ones made
whole, HDR tone-mapped to a standard display, RGB, and resized to the size asked for.

`read_frames` decodes once, from the key frame before the first wanted frame to the last wanted one, and keeps nothing
but the frames asked for.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av.video.frame
import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.errors import BadVideo
from data_catalog.media.container import COPY_AGAIN
from data_catalog.media.deinterlace import deinterlace
from data_catalog.media.frame_codec import decode_frames, encode_frames
from data_catalog.media.frame_folder import list_images, read_image
from data_catalog.media.frame_index import DamagedVideo, FrameIndex, count_frames, decode, frame_index, holes
from data_catalog.media.orientation import Pixel, orientation
from data_catalog.media.source import AS_SEEN, Reading, VideoInfo
from data_catalog.media.tone_map import TRANSFERS, to_sdr

__all__ = [
    "DamagedVideo", "Reading", "ShortDecode", "VideoInfo", "decode_frames", "encode_frames", "holes", "probe",
    "read_frames", "resize_frame",
]  # fmt: skip

# Seeking costs a flush and may land before the key frame; below this many frames decoding straight on is as quick.
SEEK_BEYOND_FRAMES = 64
BT709_PRIMARIES = 1   # ITU-T H.273
Frame = av.video.frame.VideoFrame


class ShortDecode(BadVideo):
    """The source has fewer frames than were asked for; `decoded` exist in all."""

    def __init__(self, path: Path, decoded: int, expected: int) -> None:
        """`decoded` frames are there of the `expected` ones."""
        super().__init__(f"Video {path} has only {decoded} frames, {expected} are asked of it.", COPY_AGAIN)
        self.decoded = decoded


def probe(path: Path, how: Reading = AS_SEEN) -> VideoInfo:
    """Describe a video file or a folder of frames.

    Raises:
        BadVideo: the file is missing, no video, truncated, or holds no frame.
        OSError: the file system refuses (permission, disk).
    """
    if not path.exists():
        raise BadVideo(f"Video {path} does not exist.", "Correct its path in the labels, or put the file there.")
    if path.is_dir():
        return _probe_folder(path, how)
    index = frame_index(path, how.skip_damaged, how.root)
    look = index.look
    width, height = look.orientation.size_wh(look.width, look.height)
    return VideoInfo(
        path, index.num_frames, width, height, index.fps, index.times_sec(), look.orientation.rotation_deg,
        look.hdr, look.interlaced, index.damaged_packets,
    )  # fmt: skip


def read_frames(
    path: Path,
    indices: NDArray[np.int64],
    size_wh: tuple[int, int] | None = None,
    how: Reading = AS_SEEN,
    to_end: bool = False,
) -> NDArray[np.uint8]:
    """Decode the frames `indices` in one pass, holding no other frame in memory.

    Where decoding shows other frames than `probe` expected, they are counted and read again; `probe` then knows.

    Args:
        path: video file or folder of frames.
        indices: (n,) non-decreasing frame numbers; a number that repeats is decoded once and copied.
        size_wh: width and height to stretch each frame to; None keeps the source's.
        how: what is done to make frames look as people see them, and which files may be opened.
        to_end: decode to the source's end, so that the number of frames is known to be right.

    Returns:
        (n, H, W, 3) uint8 RGB.

    Raises:
        BadVideo: a wanted frame cannot be decoded. `ShortDecode` where the source has fewer frames.
        OSError: the file system refuses (permission, disk).
    """
    if len(indices) == 0 or indices[0] < 0 or np.any(np.diff(indices) < 0):
        raise ValueError(f"indices must be non-empty, non-negative and non-decreasing, got {indices!r}")
    if path.is_dir():
        return _collect(path, indices, _folder_frames(path, indices, size_wh, how))
    index = frame_index(path, how.skip_damaged, how.root)
    try:
        return _collect(path, indices, _video_frames(path, index, indices, size_wh, how, to_end))
    except _Miscounted:
        index = count_frames(path, how.skip_damaged, how.root)
        return _collect(path, indices, _video_frames(path, index, indices, size_wh, how, to_end))


def _collect(
    path: Path, indices: NDArray[np.int64], source: Iterator[tuple[int, NDArray[np.uint8]]]
) -> NDArray[np.uint8]:
    frames: NDArray[np.uint8] | None = None
    for position, image in source:
        if frames is None:
            frames = np.empty((len(indices), *image.shape), np.uint8)
        if image.shape != frames.shape[1:]:
            raise BadVideo(
                f"Frame {position} of {path} is {image.shape[1]}x{image.shape[0]} pixels, "
                f"the first one {frames.shape[2]}x{frames.shape[1]}.",
                "Give all frames of a clip the same size.",
            )
        first, last = np.searchsorted(indices, [position, position + 1])
        frames[first:last] = image
    assert frames is not None
    return frames


def resize_frame(image: NDArray[Pixel], size_wh: tuple[int, int]) -> NDArray[Pixel]:
    """Stretch (H, W, 3) uint8 or uint16 to `size_wh`, aspect ratio not kept, as the field does.

    Shrinking averages the source area under each pixel, so thin limbs neither vanish nor flicker; plain bilinear
    would skip source pixels from 2:1 on. Growing is bilinear. Both treat pixel i as
    [i, i+1), so a box scales by the plain ratio of the sizes.
    """
    height, width = image.shape[:2]
    if (width, height) == size_wh:
        return image
    shrinking = size_wh[0] <= width and size_wh[1] <= height
    resized = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return np.asarray(resized, image.dtype)


# ---- folders ----


def _probe_folder(path: Path, how: Reading) -> VideoInfo:
    images = list_images(path)
    height, width = read_image(images[0], how.root or path).shape[:2]
    return VideoInfo(path, len(images), width, height, None, None)


def _folder_frames(
    path: Path, indices: NDArray[np.int64], size_wh: tuple[int, int] | None, how: Reading
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    images = list_images(path)
    if indices[-1] >= len(images):
        raise ShortDecode(path, len(images), int(indices[-1]) + 1)
    size: tuple[int, ...] | None = None
    for position in np.unique(indices).tolist():
        image = read_image(images[position], how.root or path)
        size = size or image.shape
        if image.shape != size:
            raise BadVideo(
                f"Image {images[position]} is {image.shape[1]}x{image.shape[0]} pixels, "
                f"other frames of its clip {size[1]}x{size[0]}.",
                "Give all frames of a clip the same size.",
            )
        yield position, image if size_wh is None else resize_frame(image, size_wh)


# ---- containers ----


class _Miscounted(Exception):
    """Decoding showed other frames than the packets promised."""


_Numbered = tuple[int, Frame]


class _Lookahead(Iterator[_Numbered]):
    """Numbered frames, of which the next one can be looked at before its turn comes."""

    def __init__(self, frames: Iterator[_Numbered]) -> None:
        self._frames = frames
        self._ahead: list[_Numbered] = []

    def __next__(self) -> _Numbered:
        return self._ahead.pop() if self._ahead else next(self._frames)

    def peek(self) -> Frame | None:
        """The frame that comes next; None at the end, or where it does not decode."""
        if not self._ahead:
            try:
                self._ahead = [next(self._frames)]
            except (StopIteration, DamagedVideo):
                return None
        return self._ahead[0][1]


def _video_frames(
    path: Path,
    index: FrameIndex,
    indices: NDArray[np.int64],
    size_wh: tuple[int, int] | None,
    how: Reading,
    to_end: bool,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (number, finished image) of each wanted frame. Raises _Miscounted where `index` is wrong."""
    wanted = set(indices.tolist())
    if index.counted and int(indices[-1]) >= index.num_frames:
        raise ShortDecode(path, index.num_frames, int(indices[-1]) + 1)
    # The frame before the first wanted one is needed to make that one whole.
    first = max(int(indices[0]) - (index.look.interlaced and how.deinterlace), 0)
    # In a damaged stretch decoding from a key frame may yield fewer frames than from the start.
    for begin in (first, 0) if index.counted and first else (first,):
        frames, previous = _Lookahead(_numbered(path, index, begin, how)), None
        for position, frame in frames:
            if position in wanted:
                whole = frame
                if frame.interlaced_frame and how.deinterlace:
                    whole = deinterlace(previous, frame, frames.peek())
                yield position, _finish(whole, size_wh, how)
                wanted.discard(position)
            if not wanted:
                if to_end:
                    _run_out(frames)
                return
            previous = frame
    raise ShortDecode(path, index.num_frames, int(indices[-1]) + 1)


def _run_out(frames: Iterator[_Numbered]) -> None:
    """Decode what is left, only to see how much it is; damage there concerns no wanted frame."""
    try:
        for _ in frames:
            pass
    except DamagedVideo:
        pass


def _finish(frame: Frame, size_wh: tuple[int, int] | None, how: Reading) -> NDArray[np.uint8]:
    """One decoded frame as (H, W, 3) uint8 RGB, upright and of the size asked for."""
    upright = orientation(frame).upright
    transfer = TRANSFERS.get(frame.color_trc) if how.tone_map else None
    if transfer is None:
        image = upright(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
        return image if size_wh is None else resize_frame(image, size_wh)
    signal = upright(np.asarray(frame.to_ndarray(format="rgb48le"), np.uint16))
    # Tone mapping is slow, and the frame wanted is small: resized first.
    signal = signal if size_wh is None else resize_frame(signal, size_wh)
    return to_sdr(signal, transfer, wide=frame.color_primaries != BT709_PRIMARIES)


def _numbered(path: Path, index: FrameIndex, first: int, how: Reading) -> Iterator[_Numbered]:
    """Number decoded frames from 0; with timestamps, start at the key frame before frame `first`.

    Raises:
        _Miscounted: the frames are not those of `index`, which nobody counted.
    """
    if index.pts is None:
        numbered: Iterator[_Numbered] = enumerate(_decoded(path, None, how))
    else:
        sought = _from_key_frame(path, index.pts, first, how) if index.seekable else None
        frames = _decoded(path, None, how) if sought is None else sought
        numbered = _by_times(frames, index, index.pts, None if sought else 0)
    count = 0
    for position, frame in numbered:
        yield position, frame
        count = position + 1
    if count != index.num_frames and not index.counted:
        raise _Miscounted


def _by_times(
    frames: Iterator[Frame], index: FrameIndex, pts: NDArray[np.int64], expected: int | None
) -> Iterator[_Numbered]:
    """Number frames by their times, which have to follow each other as in `pts` unless decoding made that list."""
    for frame in frames:
        if not index.shows(frame):
            continue
        position = len(pts) if frame.pts is None else int(np.searchsorted(pts, frame.pts))
        known = position < len(pts) and pts[position] == frame.pts
        if index.counted:
            if known:   # after seeking into a damaged stretch there may be frames that decoding on never shows
                yield position, frame
            continue
        if not known or expected not in (None, position):
            raise _Miscounted
        expected = position + 1
        yield position, frame


def _from_key_frame(path: Path, pts: NDArray[np.int64], first: int, how: Reading) -> Iterator[Frame] | None:
    """Decoded frames from a key frame at or before frame `first` on; None where no seeking leads there."""
    for target in (first, first - 32, first - 256):
        if target < SEEK_BEYOND_FRAMES or first >= len(pts):
            return None
        frames = _decoded(path, int(pts[target]), how)
        start = next(frames, None)
        if start is not None and start.pts is not None and pts[0] <= start.pts <= pts[first]:
            return chain([start], frames)
    return None


def _decoded(path: Path, seek_pts: int | None, how: Reading) -> Iterator[Frame]:
    return (frame for frame in decode(path, seek_pts, how.skip_damaged, how.root) if frame is not None)
