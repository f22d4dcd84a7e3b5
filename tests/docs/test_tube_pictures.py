"""docs/tubes.md shows what the geometry computes: its pictures are drawn again, and say what they are said to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.docs.tube_pictures import film, pictures, true_view
from tests.support import REPO
from tests.support.films import read_film

FOLDER = REPO / "docs" / "tubes"


@pytest.fixture(scope="module")
def drawn() -> Mapping[str, Image.Image]:
    return pictures()


def test_the_page_shows_what_is_drawn(drawn: Mapping[str, Image.Image]) -> None:
    """Kept in 128 colours, which is a few levels of 255 away from what is drawn."""
    assert {"film.gif", *(f"{name}.png" for name in drawn)} == {path.name for path in FOLDER.iterdir()}
    page = (REPO / "docs" / "tubes.md").read_text()
    for name, picture in drawn.items():
        kept = np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB")).astype(int)
        assert kept.shape == np.asarray(picture).shape, name
        assert np.abs(kept - np.asarray(picture)).mean() < 4, name
        assert f"(tubes/{name}.png)" in page


def test_the_film_of_the_readme_is_what_is_drawn(tmp_path: Path) -> None:
    assert (FOLDER / "film.gif").stat().st_size < 2_000_000
    kept, durations = read_film(FOLDER / "film.gif")
    drawn, _ = read_film(film(tmp_path / "film.gif"))
    assert kept.shape == drawn.shape == (35, *kept.shape[1:])  # every third of 103 frames
    assert np.abs(kept.astype(int) - drawn).mean() < 2
    assert 3000 < sum(durations) < 10_000
    for page, place in (("README.md", "docs/tubes/film.gif"), ("docs/index.md", "tubes/film.gif")):
        assert f"]({place})" in (REPO / page).read_text()
    assert "not a real athlete" in (REPO / "README.md").read_text()


def test_the_true_tube_covers_what_a_count_of_pixels_covers() -> None:
    """The quad of a silhouette, filled on a grid sixteen times as fine, cell by cell."""
    view = true_view("diving", 3, 38, 1)
    side = 224 * 16
    left, top = view.crop.left, view.crop.top
    fine = Image.new("1", (side, side))
    corners = (view.quads[0, 0] - (left, top)) * 16
    ImageDraw.Draw(fine).polygon([tuple(map(float, corner)) for corner in corners], fill=1)
    counted = np.asarray(fine).reshape(14, 256, 14, 256).mean(axis=(1, 3))
    np.testing.assert_allclose(view.coverage[0], counted, atol=0.01)
    assert (counted > 0.5).sum() > 3
