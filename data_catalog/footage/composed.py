"""Lessons out of composed sequences: cut-outs and rendered people before photographs, and pieces of rendered clips.

They are made once, a part of `PART` sequences after the other, and kept as crops of the sizes that the network sees;
a part is visible only when all of it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from data_catalog.atomic import replacing
from data_catalog.footage.lessons import ABSENT, Pair, cut, window_at
from data_catalog.synthetic.composites.mixture import Mixture
from data_catalog.synthetic.composites.sequences import CropForm, Sequence

PART: Final = 60       # sequences that are kept together: whole clips of the filmed ones
SEARCHES: Final = 3    # search crops of a sequence
_LATER: Final = 0.5    # share of pairs whose template is cut out of another search crop: few sequences make many
_SEEN: Final = 0.2     # share of the box that is seen there, at least


@dataclass(frozen=True, eq=False)
class Composed:
    """Sequences, mapped from their files; draws pairs as `Pairs` does.

    Attributes:
        parts: of each part (PART,) rows of `_dtype`: the template crop and the search crops (uint8 RGB), in each of
            these the target's box (float32 xyxy in the crop's pixels, hidden parts too), and what is seen of it, as
            `np.packbits` packs it.
    """

    parts: list[NDArray[np.void]]

    def __len__(self) -> int:
        return len(self.parts) * PART

    def draw(self, rng: np.random.Generator) -> Pair:
        """One pair; of some the template shows something else."""
        row, number = self._row(rng), int(rng.integers(SEARCHES))
        search, box, mask = row["searches"][number], row["boxes"][number].astype(np.float64), _unpacked(row, number)
        present = rng.random() >= ABSENT
        if present:
            template = _template(row, (number + int(rng.integers(1, SEARCHES))) % SEARCHES, rng)
        else:
            template = self._row(rng)["template"]
        if rng.random() < 0.5:
            template, search, mask = template[:, ::-1], search[:, ::-1], mask[:, ::-1]
            box[[0, 2]] = len(search) - box[[2, 0]]
        return Pair(np.ascontiguousarray(template), np.ascontiguousarray(search), box - len(search) / 2, mask, present)

    def _row(self, rng: np.random.Generator) -> np.void:
        row: np.void = self.parts[int(rng.integers(len(self.parts)))][int(rng.integers(PART))]
        return row


def _template(row: np.void, number: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The first view (T, T, 3), or the same cut out of search crop `number` where enough is seen there."""
    first = row["template"]
    box, seen = row["boxes"][number].astype(np.float64), _unpacked(row, number).sum()
    size = box[2:] - box[:2]
    if rng.random() >= _LATER or seen < _SEEN * size.prod():
        return np.asarray(first)
    form = CropForm(len(first), len(row["searches"][number]))
    window = window_at((box[:2] + box[2:]) / 2, form.scale(size), form.template_px)
    return np.asarray(cut(row["searches"][number], window, form.template_px))


def _unpacked(row: np.void, number: int) -> NDArray[np.float32]:
    """What is seen of the target in search crop `number` (S, S)."""
    side = len(row["searches"][number])
    return np.unpackbits(row["masks"][number], axis=-1)[:, :side].astype(np.float32)


def keep_composed(
    folder: Path, open_mixture: Callable[[], Mixture], parts: int, form: CropForm,
    progress: Callable[[int], None] | None = None,
) -> Composed:
    """Make what isn't in `folder` yet, and open all of it.

    Args:
        folder: is made; what it holds already was made by the same mixture.
        open_mixture: of `SEARCHES` search crops of this form; called where anything has to be made.
        parts: of `PART` sequences each.
        form: sizes of the crops.
        progress: hears how many sequences are ready.

    Raises:
        OSError: the disk is full or the folder can't be written.
        ValueError: a file is damaged.
    """
    files = [folder / f"sequences-{number}.npy" for number in range(parts)]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    if missing:
        mixture = open_mixture()
        for number in missing:
            _keep_part(files[number], [mixture(number * PART + place) for place in range(PART)], form)
            if progress is not None:
                progress((number + 1) * PART)
    return Composed([np.lib.format.open_memmap(file, "r") for file in files])


def _keep_part(file: Path, sequences: list[Sequence], form: CropForm) -> None:
    with replacing(file) as temporary:
        kept = np.lib.format.open_memmap(temporary, "w+", _dtype(form), (PART,))
        for row, sequence in zip(kept, sequences, strict=True):
            row["template"], row["searches"], row["boxes"] = sequence.template, sequence.searches, sequence.boxes
            row["masks"] = np.packbits(sequence.masks, axis=-1)
        kept.flush()


def _dtype(form: CropForm) -> np.dtype[np.void]:
    side, search = form.template_px, form.search_px
    return np.dtype([
        ("template", np.uint8, (side, side, 3)),
        ("searches", np.uint8, (SEARCHES, search, search, 3)),
        ("boxes", np.float32, (SEARCHES, 4)),
        ("masks", np.uint8, (SEARCHES, search, (search + 7) // 8)),
    ])  # fmt: skip
