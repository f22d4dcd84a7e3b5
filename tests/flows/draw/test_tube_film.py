"""The film of how a tube comes about: a GIF, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from flows.draw.tube_film import segments_shown, tube_film
from models.geometry import SEGMENT_STARTS
from tests.support.films import read_film
from tests.support.known_tube import GRID, LENGTH, make_clip

STARTS, SEGMENT, STEPS = (0, 16), 16, 4
PINK = (226, 45, 115)  # what a cell of the tube is filled with


def film_of(path: Path, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return read_film(tube_film(make_clip(), mask, STARTS, path, segment_length=SEGMENT, every=2))[0]


def pink(picture: NDArray[np.uint8]) -> int:
    """Pixels of the right third, where the planes are, that are of a selected cell's colour."""
    right = picture[:-26, picture.shape[1] * 2 // 3 :].astype(int)  # above the line of time
    return int((np.abs(right - PINK).max(axis=-1) < 40).sum())


def test_planes_fill_step_by_step_and_begin_again_with_the_next_segment(tmp_path: Path) -> None:
    mask = np.zeros((2, STEPS, *GRID), bool)
    mask[:, :, 1, 1:3] = True
    pictures = film_of(tmp_path / "full.gif", mask)
    assert len(pictures) == LENGTH // 2
    amounts = np.array([pink(picture) for picture in pictures])
    # Picture k shows frame 2k; a step is 4 frames, so two pictures; segment 2 begins with frame 16, picture 8.
    cell = amounts[0]
    assert cell > 50
    expected = [1, 1, 2, 2, 3, 3, 4, 4, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4, 4]
    np.testing.assert_allclose(amounts / cell, expected, rtol=0.12)


def test_an_empty_tube_selects_nothing_and_time_runs(tmp_path: Path) -> None:
    pictures = film_of(tmp_path / "empty.gif", np.zeros((2, STEPS, *GRID), bool))
    assert max(map(pink, pictures)) == 0
    near = np.abs(pictures[:, -18:].astype(int) - (255, 74, 140)).max(axis=-1) < 60
    line = near.any(axis=1).sum(axis=1).tolist()
    assert line == sorted(set(line))
    assert line[-1] > 0.9 * pictures.shape[2]


def test_the_same_clip_gives_the_same_bytes_shown_long_enough(tmp_path: Path) -> None:
    mask = np.ones((2, STEPS, *GRID), bool)
    one, two = (tube_film(make_clip(), mask, STARTS, tmp_path / f"{n}.gif") for n in (1, 2))
    assert one.read_bytes() == two.read_bytes()
    durations = read_film(one)[1]
    assert set(durations[:-1]) == {120}
    assert durations[-1] > 1000


def test_a_segment_is_shown_to_its_end() -> None:
    shown = segments_shown(SEGMENT_STARTS, SEGMENT, 103)
    assert [shown.index(n) for n in sorted(set(shown))] == [0, 20, 40, 60, 80]
    assert segments_shown((5,), SEGMENT, 8) == [0] * 8


def test_a_mask_of_another_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"clip 'dive_0001': a tube mask of .* does not belong to 2 segments"):
        tube_film(make_clip(), np.zeros((2, STEPS, 14, 14), bool), STARTS, tmp_path / "x.gif")
    assert list(tmp_path.iterdir()) == []
