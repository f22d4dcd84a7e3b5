"""The pictures of the documentation show something: none is nearly black, and no thumbnail in them is."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURES = sorted(DOCS.rglob("*.png"))
DARK = 40  # of 255; the empty place of a thumbnail that hasn't come is #14171f
CELL = 48  # px: smaller than any thumbnail, larger than letters and lines
MOST_OF_A_PICTURE, FLAT_CELLS = 0.9, 0.05


def dark_share(picture: NDArray[np.uint8]) -> float:
    """Share of pixels that are nearly black."""
    return float((picture.max(axis=2) < DARK).mean())


def flat_dark_share(picture: NDArray[np.uint8]) -> float:
    """Share of cells that are dark and of one colour, as is the place of a thumbnail that hasn't come."""
    height, width = (size // CELL * CELL for size in picture.shape[:2])
    cells = picture[:height, :width].max(axis=2).reshape(height // CELL, CELL, width // CELL, CELL)
    return float(((cells.max(axis=(1, 3)) < DARK) & (np.ptp(cells, axis=(1, 3)) < 4)).mean())


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_a_picture_is_not_black(path: Path) -> None:
    assert dark_share(read(path)) < MOST_OF_A_PICTURE


def test_every_thumbnail_of_the_gallery_has_come() -> None:
    assert flat_dark_share(read(DOCS / "view" / "gallery.png")) < FLAT_CELLS


def test_missing_thumbnails_are_noticed() -> None:
    """The gallery with the upper row of its thumbnails painted over with the empty place's colour fails."""
    picture = read(DOCS / "view" / "gallery.png").copy()
    for left in (21, 272, 523, 774, 1025):
        picture[152:285, left : left + 235] = (20, 23, 31)
    assert flat_dark_share(picture) >= FLAT_CELLS
    assert dark_share(np.zeros((60, 60, 3), np.uint8)) >= MOST_OF_A_PICTURE
