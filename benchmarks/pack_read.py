"""Claim: a batch of clips comes from the pack at least 10 times as fast as from folders of JPEG frames.

    python -m benchmarks.pack_read            # prints the ratio, fails below 10

Baseline: per clip, open 103 JPEG files of 640×360 with Pillow, resize each to 455×256, cut the 224-pixel crop: what a
loader without a pack has to do. Both sides deliver the same uint8 arrays (clips, 103, 224, 224, 3), read in turn, each
after the files were read once, so that the page cache serves both. Also measured: the same pack with lzf-compressed
frames, which is why frames are stored raw, and the first epoch of a reader, which verifies every checksum.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_catalog.pack.loader import ClipLoader, PackReader
from models.geometry import crop_origin
from tasks.masks import MasksConfig
from tasks.pack import PackClip, PackConfig, write_pack

LENGTH, SOURCE_WH, FRAME_WH, CROP = 103, (640, 360), (455, 256), 224
REQUIRED = 10.0
CLAIMED = "pack, raw, later epochs"


def scene(number: int) -> NDArray[np.uint8]:
    """(103, 360, 640, 3) uint8: a textured wall under a slow pan, with sensor noise; compresses like video does."""
    rng = np.random.default_rng(number)
    wall = cv2.resize(rng.integers(40, 220, (48, 120, 3), dtype=np.uint8), (1100, 440), interpolation=cv2.INTER_CUBIC)
    noise = rng.integers(0, 9, (360, 640, 3), dtype=np.uint8)
    return np.stack([wall[20:380, 3 * t : 3 * t + 640] // 2 + noise for t in range(LENGTH)])


def write_files(folder: Path, clips: int) -> None:
    """The same clips as JPEG folders and as two packs."""
    sources = {f"clip{n}": partial(scene, n) for n in range(clips)}
    for name, make in sources.items():
        (folder / name).mkdir()
        for t, frame in enumerate(make()):
            Image.fromarray(frame).save(folder / name / f"{t:05d}.jpg", quality=95)
    for compression in ("none", "lzf"):
        masks = MasksConfig(crop=CROP)
        packed = (
            PackClip(
                clip_id=name,
                split="train",
                action="",
                frames=partial(_normalised, make),
                coverage=np.zeros((LENGTH, *masks.grid), np.float32),
                mask=np.zeros((len(masks.starts), 4, *masks.grid), bool),
                score=1.0,
            )
            for name, make in sources.items()
        )
        config = PackConfig(input_size=CROP, compression=compression)
        write_pack(folder / f"{compression}.h5", packed, config, masks)


def _normalised(make: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.stack([cv2.resize(frame, FRAME_WH, interpolation=cv2.INTER_AREA) for frame in make()])


def read_jpegs(folder: Path, clips: int) -> NDArray[np.uint8]:
    """The baseline: (clips, 103, 224, 224, 3) uint8."""
    left, top = crop_origin(FRAME_WH, CROP)
    out = np.empty((clips, LENGTH, CROP, CROP, 3), np.uint8)
    for n in range(clips):
        for t in range(LENGTH):
            with Image.open(folder / f"clip{n}" / f"{t:05d}.jpg") as image:
                frame = np.asarray(image.resize(FRAME_WH, Image.Resampling.BILINEAR))
            out[n, t] = frame[top : top + CROP, left : left + CROP]
    return out


def read_pack(reader: PackReader) -> NDArray[np.uint8]:
    """The whole way of the training: reader, dataset, collation."""
    (batch,) = ClipLoader(reader, range(len(reader)), batch_size=len(reader))
    return np.asarray(batch["frames"])


def seconds_of(read: Callable[[], NDArray[np.uint8]], repeats: int) -> float:
    """Best of `repeats`, after one reading that fills the page cache."""
    read()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        read()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Command line: print seconds per clip and the ratio; exit 1 below the required one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, options.clips)
        raw, lzf = (PackReader(folder / f"{kind}.h5") for kind in ("none", "lzf"))
        seconds = {"jpeg files, Pillow": seconds_of(partial(read_jpegs, folder, options.clips), 2)}
        sizes = {"jpeg files, Pillow": sum(path.stat().st_size for path in folder.rglob("*.jpg"))}
        for label, path, read in (
            ("pack, raw, first epoch", raw.path, lambda: read_pack(PackReader(raw.path))),
            (CLAIMED, raw.path, lambda: read_pack(raw)),
            ("pack, lzf", lzf.path, lambda: read_pack(lzf)),
        ):
            seconds[label] = seconds_of(read, options.repeats)
            sizes[label] = path.stat().st_size
        for label, value in seconds.items():
            per_clip, size = 1e3 * value / options.clips, sizes[label] / options.clips / 1e6
            print(f"{label:24s} {per_clip:8.1f} ms/clip  {size:6.1f} MB/clip")
    ratio = seconds["jpeg files, Pillow"] / seconds[CLAIMED]
    print(f"ratio {ratio:.1f} (required {REQUIRED:.0f})")
    raise SystemExit(0 if ratio >= REQUIRED else 1)


if __name__ == "__main__":
    main()
