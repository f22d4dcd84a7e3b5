"""How well clips that were encoded again are distinguished from different ones, and what a clip costs.

    python -m benchmarks.shared_content [--videos FOLDER ...] [--clips 60]

For the demo's procedural dives and every folder of videos: the most alike pair of different clips (a false positive if
at or above `MIN_SIMILARITY`), and the least alike of clips and what becomes of them when they are encoded again.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import av
import cv2
import numpy as np

from data_catalog.datasets.paths import VIDEO_SUFFIXES
from data_catalog.media.perceptual_hash import appearance, first_frame_hash, similarities
from data_catalog.media.video import probe, read_frames
from data_catalog.synthetic.sport import make_dataset
from tasks.assessment.shared_content import MAX_HASH_BITS, MIN_SIMILARITY

T = TypeVar("T")


class Encoding(NamedTuple):
    """Size as a factor, CRF of x264 (the greater the worse), grey levels added, contrast as a factor."""

    scale: float
    crf: int
    brightness: int
    contrast: float


ENCODINGS = (Encoding(0.5, 34, 25, 1.0), Encoding(0.5, 40, -40, 0.9), Encoding(1.5, 28, 10, 1.2))
ENCODED = 12  # clips of a folder


def main() -> None:
    """Print one row a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", nargs="*", type=Path, default=[])
    parser.add_argument("--clips", type=int, default=60, help="of the demo's dives")
    args = parser.parse_args()
    print("| clips | pairs | most alike of different clips | of these compared by thumbnails | listed wrongly "
          "| encoded again | least alike | most bits of the hash | missed | first frame | thumbnails |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        if args.clips:
            make_dataset(Path(scratch) / "demo", kind="diving", clips=args.clips, seed=0, workers=2)
            measure(f"{args.clips} dives of the demo", Path(scratch) / "demo", Path(scratch))
        for folder in args.videos:
            measure(folder.name, folder, Path(scratch))


def measure(name: str, folder: Path, scratch: Path) -> None:
    """Print the row of one folder."""
    videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    hashes, hash_ms = timed(first_frame_hash, videos)
    looks, look_ms = timed(appearance, videos)
    pairs = [
        (int(np.bitwise_count(hashes[i] ^ hashes[j])), float(similarities(looks[i], [looks[j]])[0]))
        for i, j in itertools.combinations(range(len(videos)), 2)
    ]
    sifted = [value for bits, value in pairs if bits <= MAX_HASH_BITS]
    wrong = sum(value >= MIN_SIMILARITY for value in sifted)
    again = []
    for place, encoding in itertools.product(range(min(ENCODED, len(videos))), ENCODINGS):
        copy = encode(videos[place], scratch / "again.mp4", encoding)
        bits = int(np.bitwise_count(hashes[place] ^ first_frame_hash(copy)))
        again.append((bits, float(similarities(looks[place], [appearance(copy)])[0])))
    missed = sum(bits > MAX_HASH_BITS or value < MIN_SIMILARITY for bits, value in again)
    figures = (
        f"{name}, {len(videos)}", len(pairs), f"{max(value for _, value in pairs):.3f}", len(sifted), wrong,
        len(again), f"{min(value for _, value in again):.3f}", max(bits for bits, _ in again), missed,
        f"{hash_ms:.0f} ms", f"{look_ms:.0f} ms",
    )  # fmt: skip
    print(f"| {' | '.join(map(str, figures))} |", flush=True)


def timed(look: Callable[[Path], T], videos: Sequence[Path]) -> tuple[list[T], float]:
    """What `look` returns of every video, and the milliseconds of a processor that one takes."""
    began = time.process_time()
    results = [look(video) for video in videos]
    return results, 1000 * (time.process_time() - began) / len(videos)


def encode(source: Path, target: Path, encoding: Encoding) -> Path:
    """Write all frames of a video again."""
    frames = read_frames(source, np.arange(probe(source).num_frames))
    height, width = (round(side * encoding.scale) // 2 * 2 for side in frames.shape[1:3])
    with av.open(str(target), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(encoding.crf)}
        for frame in frames:
            image = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            shown = np.clip(image * encoding.contrast + encoding.brightness, 0, 255).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        file.mux(stream.encode())
    return target


if __name__ == "__main__":
    main()
