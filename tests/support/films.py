"""Reading a GIF back."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def read_film(path: Path) -> tuple[NDArray[np.uint8], list[int]]:
    """Pictures (n, h, w, 3) and how long each is shown, in ms, of a film that begins again when it has ended."""
    with Image.open(path) as film:
        pictures, durations = [], []
        for number in range(getattr(film, "n_frames", 1)):
            film.seek(number)
            pictures.append(np.asarray(film.convert("RGB")))
            durations.append(film.info["duration"])
        assert film.info["loop"] == 0
    return np.stack(pictures), durations
