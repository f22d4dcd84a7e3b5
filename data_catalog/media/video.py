"""Reads frames out of video files and image folders: the only code that knows PyAV.

A source is a container file (anything FFmpeg demuxes) or a folder of JPEG or PNG frames. Frames are numbered
from 0 in the order in which they are shown. They come out upright (rotation and mirroring of the container's
display matrix applied), RGB, and resized to the size asked for.

Counting and decoding are apart. `probe` reads packet headers only (`PacketIndex`), which costs a few per cent of
decoding and gives the exact number of frames, their times and the key frames even where the container announces
nothing. `read_frames` then decodes once, from the key frame before the first wanted frame to the last wanted one,
and keeps nothing but the frames asked for.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.errors import BadVideo
from data_catalog.media.frame_codec import decode_frames, encode_frames
from data_catalog.media.frame_folder import list_images, read_image

__all__ = ["ShortDecode", "VideoInfo", "decode_frames", "encode_frames", "probe", "read_frames", "resize_frame"]

log = logging.getLogger(__name__)

# FFmpeg reads text files as terminal art, and playlists as the videos they name; neither is a clip.
REFUSED_FORMATS = frozenset({"tty", "hls", "dash", "concat", "lrc", "srt", "ass", "webvtt"})
# A media file must not make us open a network address.
OPEN_OPTIONS = {"protocol_whitelist": "file"}
# Seeking costs a flush and may land before the key frame; below this many frames decoding straight on is as quick.
SEEK_BEYOND_FRAMES = 64
COPY_AGAIN = "Copy or download the file again, or convert it with `ffmpeg -i FILE -c:v libx264 NEW.mp4`."


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """What is known of a source before its frames are decoded.

    Attributes:
        path: the file or folder.
        num_frames: frames that can be shown, counted, not announced.
        width, height: size in pixels of an upright frame.
        fps: mean frame rate, or None for a folder and wherever the container does not say.
        times_sec: (num_frames + 1,) float64, when each frame appears and, last, when the final one ends, from 0;
            None for a folder and for containers without timestamps.
        rotation_deg: counter-clockwise turn that the display matrix asks for (0, 90, 180 or 270).
    """

    path: Path
    num_frames: int
    width: int
    height: int
    fps: Fraction | None
    times_sec: NDArray[np.float64] | None
    rotation_deg: int = 0


class ShortDecode(BadVideo):
    """Decoding ended without an error before the last wanted frame; `decoded` frames exist in all."""

    def __init__(self, path: Path, decoded: int, expected: int) -> None:
        super().__init__(
            f"Video {path} yields only {decoded} frames, {expected} were expected from its packets.", COPY_AGAIN
        )
        self.decoded = decoded


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """Packets of the video stream: `pts` sorted in display order (None where a packet has none)."""

    num_packets: int
    pts: NDArray[np.int64] | None
    end_pts: int
    announced: int
    fps: Fraction | None
    time_base: Fraction


def probe(path: Path) -> VideoInfo:
    """Describe a video file or a folder of frames.

    Raises:
        BadVideo: the file is missing, no video, truncated, or holds no frame.
        OSError: the file system refuses (permission, disk).
    """
    if not path.exists():
        raise BadVideo(f"Video {path} does not exist.", "Correct its path in the labels, or put the file there.")
    if path.is_dir():
        return _probe_folder(path)
    stat = path.stat()
    index = _packet_index(path, stat.st_size, stat.st_mtime_ns)
    frame = next(_decode(path, None), None)
    if frame is None:
        raise BadVideo(f"Video {path} holds no frame that can be decoded.", COPY_AGAIN)
    upright, rotation_deg = _orientation(frame)
    height, width = upright(np.empty((frame.height, frame.width, 0), np.uint8)).shape[:2]
    return VideoInfo(path, index.num_packets, width, height, index.fps, _times(index), rotation_deg)


def read_frames(path: Path, indices: NDArray[np.int64], size_wh: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Decode the frames `indices` in one pass, holding no other frame in memory.

    Args:
        path: video file or folder of frames.
        indices: (n,) non-decreasing frame numbers; a number that repeats is decoded once and copied.
        size_wh: width and height to stretch each frame to; None keeps the source's.

    Returns:
        (n, H, W, 3) uint8 RGB.

    Raises:
        BadVideo: a wanted frame cannot be decoded. `ShortDecode` when the stream just ends early.
    """
    if len(indices) == 0 or indices[0] < 0 or np.any(np.diff(indices) < 0):
        raise ValueError(f"indices must be non-empty, non-negative and non-decreasing, got {indices!r}")
    source = _folder_frames(path, indices) if path.is_dir() else _video_frames(path, indices)
    frames: NDArray[np.uint8] | None = None
    for position, image in source:
        if size_wh is not None:
            image = resize_frame(image, size_wh)
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


def resize_frame(image: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Stretch (H, W, 3) to `size_wh`, aspect ratio not kept, as the field does.

    Shrinking averages the source area under each pixel, so thin limbs neither vanish nor flicker; plain bilinear
    would skip source pixels from 2:1 on. Growing is bilinear. Both treat pixel i as
    [i, i+1), so a box scales by the plain ratio of the sizes.
    """
    height, width = image.shape[:2]
    if (width, height) == size_wh:
        return image
    shrinking = size_wh[0] <= width and size_wh[1] <= height
    resized = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


# ---- folders ----


def _probe_folder(path: Path) -> VideoInfo:
    images = list_images(path)
    height, width = read_image(images[0]).shape[:2]
    return VideoInfo(path, len(images), width, height, None, None)


def _folder_frames(path: Path, indices: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    images = list_images(path)
    if indices[-1] >= len(images):
        raise ShortDecode(path, len(images), int(indices[-1]) + 1)
    size: tuple[int, ...] | None = None
    for position in np.unique(indices).tolist():
        image = read_image(images[position])
        size = size or image.shape
        if image.shape != size:
            raise BadVideo(
                f"Image {images[position]} is {image.shape[1]}x{image.shape[0]} pixels, "
                f"other frames of its clip {size[1]}x{size[0]}.",
                "Give all frames of a clip the same size.",
            )
        yield position, image


# ---- containers ----


def _open(path: Path) -> Any:
    """Open for reading; FFmpeg's complaints become one sentence. The absolute path keeps `proto:` names files."""
    if path.stat().st_size == 0:
        raise BadVideo(f"Video {path} is an empty file (0 bytes).", "Copy or download the file again.")
    try:
        container = av.open(str(path.absolute()), options=dict(OPEN_OPTIONS), metadata_errors="replace")
    except PermissionError:
        raise
    except (av.error.FFmpegError, ValueError, EOFError) as exc:
        raise BadVideo(_why_unreadable(path), COPY_AGAIN) from exc
    if REFUSED_FORMATS & set(container.format.name.split(",")):
        container.close()
        raise BadVideo(f"File {path} is not a video but text ({container.format.name}).", "Give a video file.")
    if container.streams.best("video") is None:
        container.close()
        raise BadVideo(f"File {path} has no video stream.", "Give a video file, or a folder of JPEG or PNG frames.")
    return container


def _why_unreadable(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free"):
        return f"Video {path} is a truncated MP4: its index (moov) is missing, so no frame can be found in it."
    return f"File {path} is not a video that FFmpeg can read."


@lru_cache(maxsize=16)
def _packet_index(path: Path, _size: int, _mtime_ns: int) -> PacketIndex:
    """Count and time the packets without decoding. Cached, for many clips are cut from one broadcast."""
    with _open(path) as container:
        stream = container.streams.best("video")
        pts: list[int | None] = []
        discarded = end = 0
        try:
            for packet in container.demux(stream):
                if packet.size == 0:   # the flush packet at the end
                    continue
                if packet.is_discard:  # decoded for reference only, cut away by an edit list
                    discarded += 1
                    continue
                pts.append(packet.pts)
                end = max(end, (packet.pts or 0) + (packet.duration or 0))
        except (av.error.FFmpegError, EOFError) as exc:
            log.info("%s: demuxing stopped after %d packets (%s)", path, len(pts), exc)
        announced = stream.frames - discarded if stream.frames else 0
        if not pts:
            raise BadVideo(f"Video {path} has zero frames.", COPY_AGAIN)
        if announced > len(pts):
            raise BadVideo(
                f"Video {path} is truncated: {_count_decodable(path)} frames can be decoded, "
                f"its header announces {announced}.",
                COPY_AGAIN,
            )
        timed = [value for value in pts if value is not None]
        unique = np.unique(np.asarray(timed, np.int64))
        whole = len(unique) == len(pts)   # no packet without a time, no two with the same
        rate = stream.average_rate or stream.guessed_rate
        return PacketIndex(
            num_packets=len(pts),
            pts=unique if whole else None,
            end_pts=end,
            announced=announced,
            fps=Fraction(rate) if rate else None,
            time_base=Fraction(stream.time_base),
        )


def _count_decodable(path: Path) -> int:
    count = 0
    try:
        for _ in _decode(path, None):
            count += 1
    except BadVideo:
        pass   # the count so far is the answer: the caller is already reporting this file
    return count


def _times(index: PacketIndex) -> NDArray[np.float64] | None:
    if index.pts is None:
        return None
    gaps = np.diff(index.pts)
    end = max(index.end_pts, int(index.pts[-1]) + (int(np.median(gaps)) if len(gaps) else 1))
    ticks = np.append(index.pts, end) - index.pts[0]
    return np.asarray(ticks * float(index.time_base), np.float64)


def _decode(path: Path, seek_pts: int | None) -> Iterator[Any]:
    """Yield decoded frames in display order, from the key frame at or before `seek_pts`."""
    decoded = 0
    with _open(path) as container:
        stream = container.streams.best("video")
        stream.codec_context.thread_count = 1   # clips run side by side; threads inside one would only compete
        if seek_pts is not None:
            container.seek(seek_pts, stream=stream, backward=True)
        try:
            for frame in container.decode(stream):
                yield frame
                decoded += 1
        except (av.error.FFmpegError, EOFError) as exc:
            raise BadVideo(f"Video {path} is damaged after {decoded} decoded frames.", COPY_AGAIN) from exc


def _video_frames(path: Path, indices: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (number, upright RGB image) of each wanted frame, in order, decoding none after the last."""
    stat = path.stat()
    index = _packet_index(path, stat.st_size, stat.st_mtime_ns)
    wanted = set(indices.tolist())
    first, last = int(indices[0]), int(indices[-1])
    count = 0
    for position, frame in _numbered(path, index, first):
        if position in wanted:
            upright, _ = _orientation(frame)
            yield position, upright(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            wanted.discard(position)
        count = position + 1
        if position >= last:
            break
    if wanted:
        raise ShortDecode(path, count, max(index.num_packets, last + 1))


def _numbered(path: Path, index: PacketIndex, first: int) -> Iterator[tuple[int, Any]]:
    """Number decoded frames from 0; with timestamps, start at the key frame before frame `first`."""
    if index.pts is None or first < SEEK_BEYOND_FRAMES or first >= index.num_packets:
        yield from enumerate(_decode(path, None))
        return
    frames = _decode(path, int(index.pts[first]))
    start = next(frames, None)
    if start is None or start.pts is None or start.pts > index.pts[first]:
        log.info("%s: seeking to frame %d failed, decoding from the start", path, first)
        yield from enumerate(_decode(path, None))
        return
    yield int(np.searchsorted(index.pts, start.pts)), start
    for frame in frames:
        yield int(np.searchsorted(index.pts, frame.pts)), frame


def _orientation(frame: Any) -> tuple[Callable[[NDArray[np.uint8]], NDArray[np.uint8]], int]:
    """The function that turns a stored image upright, and the counter-clockwise quarter turns in it, in degrees.

    The display matrix maps stored to shown coordinates, (x, y) · [[a, b], [c, d]], 16.16 fixed point. A negative
    determinant means mirrored. Angles other than quarter turns are rounded, as players do.
    """
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return (lambda image: image), 0
    a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].astype(float)
    mirrored = a * d - b * c < 0
    if mirrored:              # undo a horizontal mirroring of the shown image, leaving a pure rotation
        a, c = -a, -c
    quarter_turns = round(float(np.degrees(np.arctan2(-b, a))) / 90) % 4

    def upright(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        turned = np.rot90(image, quarter_turns)
        return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)

    return upright, 90 * quarter_turns
