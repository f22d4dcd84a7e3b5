"""Made-up sequences: what the truth says is where the target was drawn."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from data_catalog.synthetic.composites.cutouts import (
    Cast,
    Drawings,
    Image,
    Photos,
    Pieces,
    Units,
    athletes,
    open_cast,
    read_cutout,
)
from data_catalog.synthetic.composites.sequences import CropForm, compose
from tests.support.material_packages import picture


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    for name, alpha in (("views", False), ("tuxpaint", True)):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.png").write_bytes(picture(number, 90 if alpha else 240, alpha))
    return {name: tmp_path / name for name in ("views", "tuxpaint")}


def red_ellipse(rng: np.random.Generator, frames: int) -> list[Image]:
    cut = np.zeros((60, 40, 4), np.uint8)
    cv2.ellipse(cut, (20, 30), (19, 29), 0, 0, 360, (255, 0, 0, 255), -1)
    return [cut] * frames


def test_the_same_numbers_give_the_same_sequence(folders: dict[str, Path]) -> None:
    cast = open_cast(folders)
    first, again = (compose(cast, np.random.default_rng(7), 2) for _ in range(2))
    other = compose(cast, np.random.default_rng(8), 2)
    assert np.array_equal(first.searches, again.searches)
    assert np.array_equal(first.boxes, again.boxes)
    assert not np.array_equal(first.template, other.template)
    assert first.template.shape == (127, 127, 3)
    assert first.searches.shape == (2, 255, 255, 3)
    assert first.masks.shape == (2, 255, 255)


def test_box_and_mask_lie_where_the_target_is(folders: dict[str, Path]) -> None:
    cast = open_cast(folders)
    filled = []
    for seed in range(12):
        made = compose(cast, np.random.default_rng(seed), 2)
        for box, mask in zip(made.boxes, made.masks, strict=True):
            x1, y1, x2, y2 = box
            rows, columns = np.nonzero(mask)
            if not len(rows):
                continue   # wholly beyond the frame's edge
            assert columns.min() >= x1 - 3
            assert columns.max() <= x2 + 3
            assert rows.min() >= y1 - 3
            assert rows.max() <= y2 + 3
            filled.append(len(rows) / ((x2 - x1) * (y2 - y1)))
    assert 0.3 < np.mean(filled) < 0.95


def test_template_and_search_crops_have_the_published_scale(folders: dict[str, Path]) -> None:
    cast = Cast({"red": (1.0, red_ellipse)}, Photos(sorted(folders["views"].glob("*.png"))))
    sides = []
    for seed in range(30):
        for x1, y1, x2, y2 in compose(cast, np.random.default_rng(seed), 2).boxes:
            width, height = x2 - x1, y2 - y1
            sides.append(np.sqrt((width + (width + height) / 2) * (height + (width + height) / 2)))
    assert np.median(sides) == pytest.approx(127, rel=0.06)   # of the template crop, before it is moved and resized
    assert CropForm().scale(np.array([40.0, 60.0])) == pytest.approx(127 / np.sqrt(90 * 110))


def test_kinds_of_actors(folders: dict[str, Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photos = Photos(sorted(folders["views"].glob("*.png")))
    units = tmp_path / "units"
    units.mkdir()
    for name in ("elf-1", "elf-2", "orc-1", "orc-2"):
        (units / f"{name}.png").write_bytes(picture(hash(name) % 100, 80, True))
    drawings = Drawings(sorted(folders["tuxpaint"].glob("*.png")))
    for kind in (drawings, Units(sorted(units.glob("*.png"))), Pieces(photos), athletes):
        for _ in range(5):
            pictures = kind(rng, 3)
            assert len(pictures) == 3
            for cut in pictures:
                assert cut.dtype == np.uint8
                assert cut.shape[2] == 4
                assert (cut[[0, -1], :, 3] >= 128).any(axis=1).all()   # tightly cropped
                assert (cut[:, [0, -1], 3] >= 128).any(axis=0).all()
    changing = athletes(np.random.default_rng(1), 4)
    assert len({cut.shape for cut in changing}) > 1


def test_shapeless_and_unreadable_pictures_are_passed_over(tmp_path: Path) -> None:
    whole, broken, thin = tmp_path / "whole.png", tmp_path / "broken.png", tmp_path / "thin.png"
    cv2.imwrite(str(whole), np.full((50, 50, 4), 255, np.uint8))
    broken.write_bytes(b"no picture")
    cv2.imwrite(str(thin), cv2.line(np.zeros((90, 90, 4), np.uint8), (0, 0), (89, 89), (255, 255, 255, 255), 2))
    assert [read_cutout(path) for path in (whole, broken, thin)] == [None] * 3
    with pytest.raises(ValueError, match="none of 200 pictures has a shape"):
        Drawings([broken])(np.random.default_rng(0), 2)
    with pytest.raises(ValueError, match="no photographs are among the materials tuxpaint"):
        open_cast({"tuxpaint": tmp_path})
