"""Which frames a video file shows, and when.

A container says much about its frames that is not so: a count of samples that an edit list cuts away, packets of a
group of pictures whose start was never recorded, packets that hold no picture at all. Frames are what decoding yields.

Decoding a whole file only to count would double the cost of reading it. So the packets are listed first
(`frame_index`), which costs a few per cent of decoding, and the list is taken for what it is, an expectation: packets
before the first frame that decodes are left out, and whoever decodes compares each frame's time with the list
(`video._numbered`) and calls `count_frames`, which decodes everything, when the two disagree. It is called at once
where the packets themselves show that some of them were lost.
"""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import av
import av.container
import av.packet
import av.video.frame
import av.video.stream
import numpy as np
from numpy.typing import NDArray

from data_catalog.errors import BadVideo
from data_catalog.media.container import COPY_AGAIN, FFMPEG_ERRORS, open_container, video_stream
from data_catalog.media.missing_bytes import announced_bytes
from data_catalog.media.orientation import Orientation, orientation
from data_catalog.media.regular_file import open_regular
from data_catalog.media.tone_map import TRANSFERS

Frame = av.video.frame.VideoFrame
VideoPacket: TypeAlias = "av.packet.Packet[av.video.stream.VideoStream]"
logger = logging.getLogger(__name__)

# Containers whose header says how long the video lasts; for others FFmpeg's duration is an estimate from the end.
TIMED_HEADERS = ("matroska", "flv", "avi", "asf", "mxf", "rm")
# A header may count a sound that ends later, or round; without any byte known to be missing only more than this tells.
MISSING_SEC = 0.5
# Containers that time only some frames; the others are guessed, and guessed otherwise after seeking.
SPARSE_TIMES = frozenset({"mpeg"})
# Codecs that put an empty packet in a dropped frame's place, and the greatest such packet in bytes.
EMPTY_PACKET_CODECS, EMPTY_PACKET = frozenset({"mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "h263", "flv1"}), 16
# A step between two frames that is longer than so many usual ones is a hole.
HOLE_STEPS = 1.5
# Above this share of holes the frame rate is variable by design, and nothing is missing.
MAX_HOLES = 0.1


class DamagedVideo(BadVideo):
    """Decoding broke off at a damaged packet."""

    def __init__(self, path: Path, decoded: int) -> None:
        """`decoded` frames came before the damage."""
        super().__init__(f"Video {path} is damaged after {decoded} decoded frames.", COPY_AGAIN)


@dataclass(frozen=True)
class PictureKind:
    """What the first frame of a video is like.

    Attributes:
        width, height: as stored, in pixels.
        orientation: how it is turned upright.
        hdr: "hlg" or "pq"; "" for standard video.
        interlaced: it consists of two fields of different moments.
    """

    width: int
    height: int
    orientation: Orientation
    hdr: str
    interlaced: bool


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """The frames of one video file in the order in which they are shown.

    Attributes:
        num_frames: how many there are.
        pts: (num_frames,) int64, ascending times in units of `time_base`; None where frames have none of their own.
        end_pts: when the last frame ends, as far as its packet says.
        time_base: seconds of one unit.
        fps: mean frame rate as the container says it, or None.
        seekable: frames keep their times when reading begins in the middle.
        look: what the first frame is like.
        counted: decoding counted them, so that nothing is left to be checked.
        damaged_packets: packets that did not decode and were skipped.
    """

    num_frames: int
    pts: NDArray[np.int64] | None
    end_pts: int
    time_base: Fraction
    fps: Fraction | None
    seekable: bool
    look: PictureKind
    counted: bool = False
    damaged_packets: int = 0

    def shows(self, frame: Frame) -> bool:
        """Whether a decoded frame is not before the first one that counts."""
        return self.pts is None or frame.pts is None or frame.pts >= self.pts[0]

    def times_sec(self) -> NDArray[np.float64] | None:
        """(num_frames + 1,) when each frame appears and when the last one ends, from 0; None without times."""
        if self.pts is None:
            return None
        gaps = np.diff(self.pts)
        end = max(self.end_pts, int(self.pts[-1]) + (int(np.median(gaps)) if len(gaps) else 1))
        ticks = np.append(self.pts, end) - self.pts[0]
        return np.asarray(ticks * float(self.time_base), np.float64)


def holes(times: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.int64]:
    """How many frames are missing after each frame, by the times that frames are shown at.

    Args:
        times: (F,) ascending, in any unit.

    Returns:
        (F - 1,) counts; all 0 where the frame rate varies by design, for then a long step is no hole.
    """
    steps = np.diff(times)
    if len(steps) == 0:
        return np.zeros(0, np.int64)
    usual = np.median(steps)
    long = steps > HOLE_STEPS * usual
    if long.mean() > MAX_HOLES:
        return np.zeros(len(steps), np.int64)
    return np.where(long, np.round(steps / usual) - 1, 0).astype(np.int64)


# ---- decoding ----


def decode(
    path: Path, seek_pts: int | None = None, skip_damaged: bool = False, root: Path | None = None
) -> Iterator[Frame | None]:
    """Decode frames, as a rule in display order.

    Args:
        path: the video file.
        seek_pts: start from the key frame at or before this time; None from the start.
        skip_damaged: continue after a packet that does not decode, and yield None in its place.
        root: see `open_container`.

    Raises:
        DamagedVideo: a packet does not decode.
    """
    decoded = 0
    with open_container(path, root) as container:
        stream = video_stream(container)
        stream.codec_context.thread_count = 1   # clips run side by side; threads inside one would only compete
        packets = _packets(container, stream, seek_pts)
        while True:
            try:
                packet = next(packets, None)
                frames = [] if packet is None else packet.decode()
            except FFMPEG_ERRORS as exc:
                if not skip_damaged:
                    raise DamagedVideo(path, decoded) from exc
                yield None
                continue   # after an error of the container itself the generator is exhausted, which ends this
            if packet is None:
                return
            for frame in frames:
                if isinstance(frame, Frame):
                    decoded += 1
                    yield frame


def _packets(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, seek_pts: int | None
) -> Iterator[VideoPacket]:
    if seek_pts is not None:
        container.seek(seek_pts, stream=stream, backward=True)
    yield from container.demux(stream)


# ---- listing ----


def frame_index(path: Path, skip_damaged: bool = False, root: Path | None = None) -> FrameIndex:
    """The frames of a video file, remembered as long as the file is the same.

    Args:
        path: the video file.
        skip_damaged: leave out what is damaged instead of refusing it.
        root: see `open_container`.

    Raises:
        BadVideo: no video, truncated, or no frame in it.
    """
    stat = path.stat()
    key = (path, stat.st_size, stat.st_mtime_ns, root)
    known = _counted.get((key, skip_damaged))
    if known is not None:
        return known
    listed = _list_frames(*key)
    if skip_damaged or listed.losses:
        try:
            return count_frames(path, skip_damaged, root)
        except DamagedVideo:
            pass   # whoever reads that far will meet the damage, and a clip that ends before it is whole
    return listed.index


def count_frames(path: Path, skip_damaged: bool = False, root: Path | None = None) -> FrameIndex:
    """Count the frames by decoding every one; from then on `frame_index` knows.

    Raises:
        BadVideo: as `frame_index`. `DamagedVideo` where a packet does not decode and none is to be skipped.
    """
    stat = path.stat()
    key = (path, stat.st_size, stat.st_mtime_ns, root)
    listed = _list_frames(*key).index
    pts: list[int | None] = []
    damaged = end = 0
    for frame in decode(path, None, skip_damaged, root):
        if frame is None:
            damaged += 1
            continue
        if not listed.shows(frame):
            continue
        pts.append(frame.pts)
        end = max(end, (frame.pts or 0) + (frame.duration or 0))
    if not pts:
        raise _no_frames(path)
    logger.info("%s: %d frames by decoding, %d by its packets", path, len(pts), listed.num_frames)
    index = replace(
        listed, num_frames=len(pts), pts=_unique(pts), end_pts=end, counted=True, damaged_packets=damaged
    )
    while len(_counted) >= REMEMBERED:
        _counted.pop(next(iter(_counted)), None)
    _counted[key, skip_damaged] = index
    return index


REMEMBERED = 16   # many clips are cut from one broadcast, and a shard works on a few
_FileKey = tuple[Path, int, int, Path | None]
_counted: dict[tuple[_FileKey, bool], FrameIndex] = {}


@dataclass(frozen=True, eq=False)
class _Listed:
    """An index made from packets; `losses` where these show that some are missing or hold no picture."""

    index: FrameIndex
    losses: bool


@dataclass
class _Packets:
    """What the packets of the video stream say; times in its `time_base`, `None` where a packet has none."""

    pts: list[int | None]
    end_pts: int = 0
    end_sec: float = 0.0     # of all streams
    discarded: int = 0
    losses: bool = False
    starts_whole: bool = True


@lru_cache(maxsize=REMEMBERED)
def _list_frames(path: Path, _size: int, _mtime_ns: int, root: Path | None) -> _Listed:
    with open_container(path, root) as container:
        stream = video_stream(container)
        packets = _scan(path, container, stream)
        if not packets.pts:
            raise _no_frames(path)
        _refuse_truncated(path, container, stream, packets, root)
        rate = stream.average_rate or stream.guessed_rate
        time_base = Fraction(stream.time_base or 1)
        seekable = container.format.name not in SPARSE_TIMES
    first = _first_frame(path, packets.starts_whole, root)
    pts = _unique(packets.pts)
    if pts is not None:
        # A recording may start within a group of pictures: what precedes its first key frame never decodes.
        pts = pts[pts >= first.pts] if first.pts is not None and first.pts in pts else None
    index = FrameIndex(
        num_frames=len(packets.pts) if pts is None else len(pts),
        pts=pts,
        end_pts=packets.end_pts,
        time_base=time_base,
        fps=Fraction(rate) if rate else None,
        seekable=seekable,
        look=PictureKind(
            first.width, first.height, orientation(first), TRANSFERS.get(first.color_trc, ""),
            bool(first.interlaced_frame),
        ),
    )  # fmt: skip
    return _Listed(index, packets.losses or (pts is not None and bool(holes(pts).any())))


def _first_frame(path: Path, starts_whole: bool, root: Path | None) -> Frame:
    """The first frame that shows what was filmed: some decoders make grey ones up until a key frame comes."""
    first: Frame | None = None
    for frame in decode(path, None, True, root):
        if frame is not None and (starts_whole or frame.key_frame):
            return frame
        first = first or frame
    if first is None:
        raise BadVideo(f"Video {path} holds no frame that can be decoded.", COPY_AGAIN)
    return first


def _unique(pts: list[int | None]) -> NDArray[np.int64] | None:
    """Times in order; None where one is absent or two are the same."""
    unique = np.unique(np.asarray([value for value in pts if value is not None], np.int64))
    return unique if len(unique) == len(pts) else None


def _scan(
    path: Path, container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> _Packets:
    found = _Packets([])
    codec = stream.codec_context.name
    try:
        for packet in container.demux() if _tells_seconds(container) else container.demux(stream):
            if packet.size == 0:   # the flush packets at the end
                continue
            end = (packet.pts or 0) + (packet.duration or 0)
            found.end_sec = max(found.end_sec, float(end * (packet.time_base or 0)))
            if packet.stream.index != stream.index:
                continue
            if packet.is_discard:   # decoded for reference only, cut away by an edit list
                found.discarded += 1
                continue
            if _is_hidden(memoryview(packet), codec):
                continue
            if not found.pts and not found.discarded:
                found.starts_whole = packet.is_keyframe
            found.losses |= packet.is_corrupt or (codec in EMPTY_PACKET_CODECS and packet.size <= EMPTY_PACKET)
            found.pts.append(packet.pts)
            found.end_pts = max(found.end_pts, end)
    except FFMPEG_ERRORS as exc:
        found.losses = True
        logger.info("%s: demuxing stopped after %d packets (%s)", path, len(found.pts), exc)
    return found


def _is_hidden(data: memoryview, codec: str) -> bool:
    """A VP8 or VP9 frame that others refer to and that is never shown (`show_frame` of the frame's header is 0)."""
    if codec == "vp8":
        return not data[0] >> 4 & 1
    if codec != "vp9":
        return False
    if data[-1] & 0xE0 == 0xC0:   # a superframe ends with the one that is shown
        return False
    # Bits from the top: marker (2), profile (2; of profile 3 one more), show_existing_frame, frame_type, show_frame.
    header = data[0] << 1 if data[0] & 0x30 == 0x30 else data[0]
    return not header & 8 and not header & 2


def _no_frames(path: Path) -> BadVideo:
    return BadVideo(f"Video {path} has zero frames.", COPY_AGAIN)


# ---- truncated? ----


def _tells_seconds(container: av.container.InputContainer) -> bool:
    return container.format.name.startswith(TIMED_HEADERS)


def _refuse_truncated(
    path: Path,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    packets: _Packets,
    root: Path | None,
) -> None:
    """Raise BadVideo where frames or seconds are missing because bytes are, never just because counts differ."""
    frames_lack = stream.frames > len(packets.pts) + packets.discarded
    lack_sec = _missing_sec(container, stream, packets)
    whole = _bytes_are_there(path, container, stream, frames_lack, root)
    frame_sec = 1.5 / float(stream.average_rate or 25)
    if whole:
        return
    if whole is None:   # the container does not say how long it is
        cut = lack_sec > MISSING_SEC
    elif stream.frames:
        cut = frames_lack
    else:
        cut = lack_sec > frame_sec or not _tells_seconds(container)
    if not cut:
        return
    if stream.frames:
        decodable = sum(frame is not None for frame in decode(path, None, True, root))
        found = f"{decodable} frames can be decoded, its header announces {stream.frames}"
    elif lack_sec:
        found = f"{packets.end_sec:.2f} seconds are there, its header announces {packets.end_sec + lack_sec:.2f}"
    else:
        found = "its header announces more bytes than are there"
    raise BadVideo(f"Video {path} is truncated: {found}.", COPY_AGAIN)


def _missing_sec(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, packets: _Packets
) -> float:
    """Seconds that the header announces beyond the last time stamp; 0 where it announces none."""
    if not _tells_seconds(container) or not container.duration:
        return 0.0
    lack = container.duration / av.time_base - packets.end_sec
    tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag is not None:   # Matroska's own for this stream, so that a sound that ends later does not count
        announced = int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
        lack = min(lack, announced - float(packets.end_pts * (stream.time_base or 0)))
    return max(lack, 0.0)


def _bytes_are_there(
    path: Path,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    frames_lack: bool,
    root: Path | None,
) -> bool | None:
    """Whether the file is as long as it says; None where it says nothing."""
    descriptor = open_regular(path, root)
    try:
        size, announced = os.fstat(descriptor).st_size, announced_bytes(descriptor, container.format.name)
    finally:
        os.close(descriptor)
    if container.format.name.startswith("mov,") and frames_lack:
        return all(entry.pos + entry.size <= size for entry in stream.index_entries) and (announced or 0) <= size
    return None if announced is None else announced <= size
