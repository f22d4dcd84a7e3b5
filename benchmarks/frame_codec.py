"""Claim: JPEG-95 4:4:4 per frame is the smallest form of normalised frames that decodes faster than exact codecs.

    python -m benchmarks.frame_codec CLIP.mp4 [CLIP.mp4 …]

For each clip: size of all normalised frames as stored in HDF5, time to encode and to read back all frames, time to
read frame 0 alone, and the loss. The baseline of the printed ratios is gzip, the usual HDF5 filter, in the same run.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from tasks.normalize import NormalizeConfig, normalize_clip

BASELINE = "gzip-4 + shuffle"
JPEG_444 = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
FILTERS: dict[str, dict[str, Any]] = {
    "raw": {},
    "lzf + shuffle": {"compression": "lzf", "shuffle": True},
    BASELINE: {"compression": "gzip", "compression_opts": 4, "shuffle": True},
}
IMAGES: dict[str, tuple[str, list[int]]] = {
    "PNG-1": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]),
    "WebP lossless": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
    "WebP-95": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 95]),
    "JPEG-90 4:4:4": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 90, *JPEG_444]),
    "JPEG-95 4:4:4": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95, *JPEG_444]),
}


@dataclass(frozen=True)
class Measured:
    """Bytes of a clip, seconds to write, to read all, to read frame 0, and the mean squared error."""

    name: str
    size: int
    write_sec: float
    read_sec: float
    first_sec: float
    mse: float


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call and its seconds."""
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def measure_filter(name: str, frames: NDArray[np.uint8]) -> Measured:
    """Frames as one HDF5 dataset, one frame a chunk."""
    file = io.BytesIO()

    def write() -> int:
        with h5py.File(file, "w") as handle:
            data = handle.create_dataset("frames", data=frames, chunks=(1, *frames.shape[1:]), **FILTERS[name])
            return int(data.id.get_storage_size())

    size, write_sec = timed(write)
    with h5py.File(file) as handle:
        back, read_sec = timed(lambda: handle["frames"][:])
        _, first_sec = timed(lambda: handle["frames"][0])
    return Measured(name, size, write_sec, read_sec, first_sec, _mse(back, frames))


def measure_images(name: str, frames: NDArray[np.uint8]) -> Measured:
    """Each frame encoded alone."""
    suffix, settings = IMAGES[name]
    streams, write_sec = timed(lambda: [cv2.imencode(suffix, frame[..., ::-1], settings)[1] for frame in frames])
    back, read_sec = timed(lambda: np.stack([cv2.imdecode(s, cv2.IMREAD_COLOR)[..., ::-1] for s in streams]))
    _, first_sec = timed(lambda: cv2.imdecode(streams[0], cv2.IMREAD_COLOR))
    return Measured(name, sum(map(len, streams)), write_sec, read_sec, first_sec, _mse(back, frames))


def measure_h264(frames: NDArray[np.uint8]) -> Measured:
    """Lossless H.264 in RGB, one stream a clip, a key frame every 16 frames."""
    file = io.BytesIO()

    def write() -> None:
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream("libx264rgb", rate=25, options={"qp": "0", "g": "16", "preset": "veryfast"})
            stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "rgb24"
            stream.codec_context.thread_count = 1
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())

    def read(count: int) -> NDArray[np.uint8]:
        file.seek(0)
        with av.open(file) as container:
            container.streams.video[0].codec_context.thread_count = 1
            decoded = container.decode(video=0)
            return np.stack([next(decoded).to_ndarray(format="rgb24") for _ in range(count)])

    _, write_sec = timed(write)
    back, read_sec = timed(lambda: read(len(frames)))
    _, first_sec = timed(lambda: read(1))
    return Measured("H.264 lossless", len(file.getvalue()), write_sec, read_sec, first_sec, _mse(back, frames))


def _mse(back: NDArray[np.uint8], frames: NDArray[np.uint8]) -> float:
    return float(np.mean([((a.astype(np.float32) - b) ** 2).mean() for a, b in zip(back, frames, strict=True)]))


def table(clip: Path) -> str:
    """The measurements of one clip as text."""
    frames = normalize_clip(clip, NormalizeConfig()).frames
    rows = [measure_filter(name, frames) for name in FILTERS] + [measure_images(name, frames) for name in IMAGES]
    rows.append(measure_h264(frames))
    base = next(row for row in rows if row.name == BASELINE)
    lines = [f"{clip.name}: {len(frames)} frames of {frames.shape[2]}x{frames.shape[1]}, baseline {BASELINE}"]
    lines.append(
        f"{'codec':<18}{'MB':>7}{'ratio':>7}{'write ms':>10}{'read ms':>9}{'ratio':>7}{'frame 0 ms':>12}{'PSNR':>7}"
    )
    for row in rows:
        loss = "exact" if row.mse == 0 else f"{10 * np.log10(255**2 / row.mse):.1f}"
        lines.append(
            f"{row.name:<18}{row.size / 1e6:>7.1f}{base.size / row.size:>7.1f}"
            f"{row.write_sec / len(frames) * 1e3:>10.2f}"
            f"{row.read_sec / len(frames) * 1e3:>9.2f}{base.read_sec / row.read_sec:>7.1f}"
            f"{row.first_sec * 1e3:>12.2f}{loss:>7}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure the clips named on the command line, on one core."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    cv2.setNumThreads(1)
    for clip in parser.parse_args().clips:
        sys.stdout.write(table(clip) + "\n\n")


if __name__ == "__main__":
    main()
