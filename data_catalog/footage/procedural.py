"""Labels out of procedural clips, whose athletes' outlines are known to the pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from data_catalog.footage.drawn import labels_of
from data_catalog.footage.labelled import keep_labelled
from data_catalog.synthetic.composites.filmed import film_clip

SEED: Final = 77          # of the clips; far from those that composed sequences come from
LABELS: Final = 24        # frames of a clip that are labelled
_MIN_PIXELS: Final = 120  # of an outline
_MIN_LABELS: Final = 4    # of an athlete


def keep_procedural(folder: Path, number: int) -> None:
    """Render clip `number` and keep its labelled frames in `folder`, with every athlete's outlines.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    rng = np.random.default_rng((SEED, number, 2))
    film = film_clip(number, SEED, rng)
    frames = np.sort(rng.choice(len(film.frames), LABELS, replace=False))
    people = []
    for masks in film.masks:
        seen = [int(frame) for frame in frames if masks[frame].sum() >= _MIN_PIXELS]
        if len(seen) >= _MIN_LABELS:
            people.append(labels_of(masks, seen))
    keep_labelled(folder, list(film.frames), people)
