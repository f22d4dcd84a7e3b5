"""Opens video files through FFmpeg, so that the file named is the only thing that is opened.

FFmpeg is handed an open descriptor instead of a name: a name may be a pattern (`p%03d.png`), a protocol
(`concat:a|b`) or have become a link. Only containers that hold their own frames are accepted; playlists, scripts and
text are not, and no protocol but that descriptor is.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.container
import av.error
import av.video.stream

from data_catalog.errors import BadVideo
from data_catalog.media.frame_folder import MAX_PIXELS
from data_catalog.media.regular_file import open_regular
from data_catalog.system import read_at

COPY_AGAIN = "Copy or download the file again, or convert it with `ffmpeg -i FILE -c:v libx264 NEW.mp4`."
ACCEPTED_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "flv", "live_flv", "gif", "apng", "asf",
    "asf_o", "ogg", "mxf", "nut", "dv", "rm", "wtv", "dhav", "ivf", "h264", "hevc", "vvc", "obu", "av1", "m4v",
    "mpegvideo", "h263", "h261", "vc1", "mjpeg", "mpjpeg", "smjpeg", "yuv4mpegpipe",
)  # fmt: skip
FFMPEG_ERRORS = (av.error.FFmpegError, ValueError, EOFError, MemoryError, OverflowError)


@contextmanager
def open_container(path: Path, root: Path | None = None) -> Iterator[av.container.InputContainer]:
    """Open a video file; FFmpeg's complaints become one sentence.

    Args:
        path: the file.
        root: the folder that it has to lie in, links resolved; None allows every place.

    Raises:
        BadVideo: it is no regular file, no video, or one with frames too large to decode.
        OSError: the file system refuses (permission, disk).
    """
    descriptor = open_regular(path, root)
    try:
        if os.fstat(descriptor).st_size == 0:
            raise BadVideo(f"Video {path} is an empty file (0 bytes).", "Copy or download the file again.")
        options = {
            "fd": str(descriptor),
            "protocol_whitelist": "fd",
            "format_whitelist": ",".join(ACCEPTED_FORMATS),
        }
        try:
            container = av.open("fd:", options=options, metadata_errors="replace")
        except FFMPEG_ERRORS as exc:
            raise BadVideo(_why_unreadable(path, descriptor), COPY_AGAIN) from exc
    finally:
        os.close(descriptor)   # FFmpeg has a duplicate
    with container:
        _check_stream(container, path)
        yield container


def video_stream(container: av.container.InputContainer) -> av.video.stream.VideoStream:
    """The stream whose frames are the clip's."""
    stream = container.streams.best("video")
    assert isinstance(stream, av.video.stream.VideoStream)   # checked when it was opened
    return stream


def _check_stream(container: av.container.InputContainer, path: Path) -> None:
    stream = container.streams.best("video")
    if not isinstance(stream, av.video.stream.VideoStream):
        raise BadVideo(f"File {path} has no video stream.", "Give a video file, or a folder of JPEG or PNG frames.")
    try:
        width, height = stream.codec_context.width, stream.codec_context.height
    except AttributeError as exc:
        raise BadVideo(f"Video {path} is of a codec that FFmpeg can't decode.", COPY_AGAIN) from exc
    if width * height > MAX_PIXELS:
        raise BadVideo(f"Video {path} has {width}x{height} pixels a frame, too many to decode.", "Scale it down.")
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}   # a later frame may announce another size


def _why_unreadable(path: Path, descriptor: int) -> str:
    head = read_at(descriptor, 12, 0)
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free"):
        return f"Video {path} is a truncated MP4: its index (moov) is missing, so no frame can be found in it."
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")) or head[8:12] == b"WEBP":
        return f"File {path} is not a video but a single picture."
    return f"File {path} is not a video that FFmpeg can read."
