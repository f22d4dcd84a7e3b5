"""Real video files, small and of every kind, whose frames tell their own number by their brightness."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

DARKEST, STEP = 24, 5   # five levels: limited-range YUV and a lossy codec move a level by one or two


def numbered_frames(count: int, size_wh: tuple[int, int] = (64, 48)) -> list[NDArray[np.uint8]]:
    """`count` (at most 46) even grey frames, each five levels brighter than the one before."""
    width, height = size_wh
    return [np.full((height, width, 3), DARKEST + STEP * i, np.uint8) for i in range(count)]


def numbers_of(frames: NDArray[np.uint8]) -> list[int]:
    """The numbers that `numbered_frames` wrote, read back from decoded frames."""
    return [round((float(frame.mean()) - DARKEST) / STEP) for frame in frames]


def write_video(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times_ms: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    faststart: bool = False,
) -> Path:
    """Encode RGB frames as 25 fps, or with `times_ms` at those times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    container_options = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", options=container_options) as file:
        stream = file.add_stream(codec, rate=25, options=options or ({"crf": "4"} if codec == "libx264" else {}))
        height, width = frames[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times_ms is not None:
                stream.codec_context.time_base = frame.time_base = Fraction(1, 1000)
                frame.pts = times_ms[number]
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def write_folder(folder: Path, frames: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> Path:
    """Write RGB frames as images of these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, frames, strict=True):
        assert cv2.imwrite(str(folder / name), image[..., ::-1])
    return folder


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Put a rotation or mirroring into an MP4's track header, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    version = data[at]
    matrix = at + (52 if version else 40)   # after flags, times, track id, duration, layer, volume
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))
