"""Procedural clips placed where the published datasets have theirs, so that real annotations have pixels to run on."""

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.procedural import read_ground_truth
from data_catalog.datasets.procedural.write import VideoWriter

Frames = Iterator[NDArray[np.uint8]]


def frames_of(video: Path) -> Frames:
    with av.open(str(video)) as file:
        for frame in file.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def place_frames(video: Path, folder: Path, name: str = "{:06d}.jpg") -> int:
    """Extract a clip as a folder of images, as users do with ffmpeg; gives their number."""
    folder.mkdir(parents=True)
    count = 0
    for count, frame in enumerate(frames_of(video), start=1):
        assert cv2.imwrite(str(folder / name.format(count)), frame[..., ::-1])
    return count


def place_broadcast(video: Path, path: Path, start: int, end: int) -> None:
    """A broadcast whose frames `start` to `end` show the clip (its last frame held), after a still picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shots = list(frames_of(video))
    height, width = shots[0].shape[:2]
    with VideoWriter(path, (width, height), Fraction(25)) as writer:
        for number in range(end):
            writer.write(shots[min(max(number - start, 0), len(shots) - 1)] if number >= start else shots[0])


def true_rows(videos: Path, clip: str, frames: int | None = None) -> list[list[float]]:
    """The athlete's true corners as the published archives have them: 8 numbers a frame, the first in Z order."""
    quads = read_ground_truth(videos / "ground_truth" / f"{clip}.npz").quads[0]
    if frames is not None:
        quads = quads[np.minimum(np.arange(frames), len(quads) - 1)]
    quads = quads.copy()
    quads[0] = quads[0][[0, 1, 3, 2]]
    return [[round(float(value), 2) for value in quad.ravel()] for quad in quads]


def write_boxes(path: Path, rows: Mapping[str, list[list[float]]]) -> Path:
    path.write_text(json.dumps(rows))
    return path
