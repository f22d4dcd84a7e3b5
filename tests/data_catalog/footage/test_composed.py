"""Composed sequences are made once, come back as they were made, and lessons out of them say where the target is."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_catalog.footage.composed import PART, SEARCHES, Composed, keep_composed
from data_catalog.footage.lessons import MixedLessons
from data_catalog.synthetic.composites.sequences import CropForm, Sequence

FORM = CropForm(80, 160)


def squares(index: int) -> Sequence:
    """A square of the sequence's own brightness, 40 px wide, at another place in each search crop."""
    shade = 60 + index % 180
    template = np.full((80, 80, 3), 20, np.uint8)
    template[20:60, 20:60] = shade
    searches = np.full((SEARCHES, 160, 160, 3), 20, np.uint8)
    masks = np.zeros((SEARCHES, 160, 160), bool)
    boxes = np.array([[10 + 30 * k, 30 + 20 * k, 50 + 30 * k, 70 + 20 * k] for k in range(SEARCHES)], np.float32)
    for k, (left, top, right, bottom) in enumerate(boxes.astype(int)):
        masks[k, top:bottom, left:right] = True
        searches[k][masks[k]] = shade
    return Sequence(template, searches, boxes, masks)


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Composed:
    return keep_composed(tmp_path_factory.mktemp("composed"), lambda: squares, 2, FORM)


def test_what_is_made_is_not_made_again(tmp_path: Path) -> None:
    heard: list[int] = []
    keep_composed(tmp_path, lambda: squares, 1, FORM, heard.append)
    asked: list[int] = []

    def watched(index: int) -> Sequence:
        asked.append(index)
        return squares(index)

    both = keep_composed(tmp_path, lambda: watched, 2, FORM, heard.append)
    assert (len(both), heard) == (2 * PART, [PART, 2 * PART])
    assert asked == list(range(PART, 2 * PART))

    def never() -> object:
        raise AssertionError("all of it is there")

    again = keep_composed(tmp_path, never, 2, FORM)   # type: ignore[arg-type]
    assert all((one == other).all() for one, other in zip(both.parts, again.parts, strict=True))
    assert (again.parts[1]["template"][5] == squares(PART + 5).template).all()


def test_what_was_cut_off_is_made_again(tmp_path: Path) -> None:
    def broken(index: int) -> Sequence:
        if index == 7:
            raise OSError("no space left on device")
        return squares(index)

    with pytest.raises(OSError, match="no space"):
        keep_composed(tmp_path, lambda: broken, 1, FORM)
    assert not list(tmp_path.iterdir())


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_box_is_where_the_target_is_seen(composed: Composed, seed: int) -> None:
    """Mirrored or not; the template has the target of the search crop in its middle, or another one."""
    pair = composed.draw(np.random.default_rng(seed))
    assert (pair.template.shape, pair.search.shape, pair.mask.shape) == ((80, 80, 3), (160, 160, 3), (160, 160))
    rows, columns = np.nonzero(pair.mask)
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert (seen - 80 == pair.box).all()
    shade = pair.search[seen[1], seen[0], 0]
    assert (pair.search[pair.mask > 0] == shade).all()
    if pair.present:
        assert (pair.template[22:58, 22:58] == shade).all()
        assert (pair.template[22:58, [16, -17]] != shade).all()


def test_kinds_are_drawn_by_their_shares(composed: Composed) -> None:
    class Nobody:
        drawn = 0

        def draw(self, rng: np.random.Generator) -> object:
            self.drawn += 1
            return None

    nobody, rng = Nobody(), np.random.default_rng(0)
    mixed = MixedLessons([(0.5, composed), (1.5, nobody)])   # type: ignore[list-item]
    for _ in range(400):
        mixed.draw(rng)
    assert 270 < nobody.drawn < 330   # three of four, within 3.5 deviations
    absent = np.mean([not composed.draw(rng).present for _ in range(400)])
    assert 0.06 < absent < 0.18
