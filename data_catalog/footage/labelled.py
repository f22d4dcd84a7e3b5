"""Labelled people of one clip, and the folder that keeps them: frames that can be mapped, boxes, outlines.

Coordinates are pixels of the kept frames, continuous: pixel i spans [i, i + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.atomic import replacing
from data_catalog.npy import read_npz

LONGER_SIDE: Final = 512   # pixels that frames are kept at, at most: about what a tracker is given
_SHOWN: Final = 0.5        # share of a shrunk pixel from which it is the person's

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelledPerson:
    """One person over some frames.

    Attributes:
        frames: (n,) int64, numbers of the clip's frames, rising.
        boxes: (n, 4) float64 xyxy.
        masks: (n, H, ceil(W / 8)) uint8, outlines, eight pixels a byte as `np.packbits` packs them.
    """

    frames: NDArray[np.int64]
    boxes: Floats
    masks: NDArray[np.uint8]

    @classmethod
    def of(cls, frames: Sequence[int], boxes: Sequence[Floats], masks: Sequence[NDArray[np.bool_]]) -> LabelledPerson:
        """From single labels: boxes (4,) float64, masks (H, W) bool."""
        packed = [np.packbits(mask, axis=-1) for mask in masks]
        return cls(
            np.asarray(frames, np.int64),
            np.asarray(boxes, np.float64).reshape(-1, 4),
            np.stack(packed) if packed else np.zeros((0, 0, 0), np.uint8),
        )

    def later(self, frames: int) -> LabelledPerson:
        """The same, its frames counted from `frames` earlier."""
        return replace(self, frames=self.frames + frames)

    def mask(self, index: int, width: int) -> NDArray[np.bool_]:
        """Outline `index` (H, W) bool of frames that are `width` pixels wide."""
        return np.unpackbits(self.masks[index], axis=-1)[:, :width].astype(np.bool_)


@dataclass(frozen=True, eq=False)
class LabelledClip:
    """Frames that somebody is labelled in, and who.

    Attributes:
        name: of the clip.
        frames: (n, H, W, 3) uint8 RGB, mapped from the file.
        people: their `frames` are rows of `frames` here.
    """

    name: str
    frames: Image
    people: tuple[LabelledPerson, ...]


def keep_labelled(folder: Path, frames: Sequence[Image], people: Sequence[LabelledPerson]) -> None:
    """Write a clip's labelled frames, shrunk to at most `LONGER_SIDE`, and its people.

    Args:
        folder: is made; what it holds is visible only when all of it is written.
        frames: (H, W, 3) uint8 RGB, all of the clip.
        people: their `frames` are numbers of the clip's frames.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.unique(np.concatenate([np.zeros(0, np.int64), *(person.frames for person in people)]))
    height, width = frames[0].shape[:2]
    scale = min(1.0, LONGER_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    with replacing(folder / "frames.npy") as temporary:
        kept = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(numbers), size[1], size[0], 3))
        for row, number in enumerate(numbers):
            kept[row] = cv2.resize(frames[number], size, interpolation=cv2.INTER_AREA)
        kept.flush()
    small = [_shrunk(person, (width, height), size) for person in people]
    rows = np.searchsorted(numbers, np.concatenate([np.zeros(0, np.int64), *(person.frames for person in small)]))
    nothing = np.zeros((0, size[1], (size[0] + 7) // 8), np.uint8)
    with replacing(folder / "people.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            person=np.repeat(np.arange(len(small)), [len(person.frames) for person in small]),
            row=rows,
            boxes=np.concatenate([np.zeros((0, 4)), *(person.boxes for person in small)]),
            masks=np.concatenate([nothing, *(person.masks for person in small)]),
        )


def _shrunk(person: LabelledPerson, from_wh: tuple[int, int], to_wh: tuple[int, int]) -> LabelledPerson:
    scale = np.tile([to_wh[0] / from_wh[0], to_wh[1] / from_wh[1]], 2)
    masks = [
        cv2.resize(person.mask(index, from_wh[0]).astype(np.float32), to_wh, interpolation=cv2.INTER_AREA) >= _SHOWN
        for index in range(len(person.frames))
    ]
    return LabelledPerson.of(person.frames.tolist(), list(person.boxes * scale), masks)


def open_labelled(folder: Path) -> LabelledClip:
    """What `keep_labelled` wrote.

    Raises:
        FileNotFoundError: nothing, or only a part of it, was written there.
        ValueError: a file is damaged.
    """
    arrays = read_npz(folder / "people.npz")
    frames = np.lib.format.open_memmap(folder / "frames.npy", "r")
    people = [
        LabelledPerson(arrays["row"][own].astype(np.int64), arrays["boxes"][own], arrays["masks"][own])
        for own in (arrays["person"] == number for number in np.unique(arrays["person"]))
    ]
    return LabelledClip(folder.name, frames, tuple(people))
