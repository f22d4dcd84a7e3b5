"""Tube masks, unions and overlaps on grids small enough to check by eye."""

import numpy as np
import pytest

from models.geometry import SEGMENT_STARTS, coverage
from models.geometry.tube_mask import flip_coverage, grid_iou, tube_mask, union_coverage


def test_a_step_selects_what_any_of_its_frames_selects() -> None:
    fractions = np.zeros((10, 1, 2), dtype=np.float32)
    fractions[3, 0, 0] = 0.5  # exactly on tau: selected
    fractions[4, 0, 1] = 0.49
    fractions[9, 0, 1] = 1
    mask = tube_mask(fractions, starts=(0, 2), segment_length=8, stride=4)
    assert mask.shape == (2, 2, 1, 2)
    assert mask.dtype == np.bool_
    assert mask[..., 0, :].tolist() == [[[True, False], [False, False]], [[True, False], [False, True]]]


def test_tube_mask_equals_three_plain_loops() -> None:
    fractions = np.random.default_rng(0).random((2, 103, 3, 4))
    mask = tube_mask(fractions, tau=0.8)
    assert mask.shape == (2, 10, 4, 3, 4)
    for n, start in enumerate(SEGMENT_STARTS):
        for t in range(4):
            frames = fractions[:, start + 4 * t : start + 4 * t + 4]
            np.testing.assert_array_equal(mask[:, n, t], (frames >= 0.8).any(axis=1))


def test_segments_cover_the_whole_clip() -> None:
    assert SEGMENT_STARTS[-1] + 16 == 103
    assert {frame for start in SEGMENT_STARTS for frame in range(start, start + 16)} == set(range(103))


def test_a_distant_athlete_gives_an_empty_tube() -> None:
    distant = np.broadcast_to(np.array([[3, 3], [5, 3], [5, 5], [3, 5]], dtype=np.float32), (103, 4, 2))
    mask = tube_mask(coverage(distant, (14, 14), (224, 224)))
    assert mask.shape == (10, 4, 14, 14)
    assert not mask.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tau": 0}, "tau"),
        ({"tau": 1.01}, "tau"),
        ({"stride": 3}, "stride 3 must divide"),
        ({"stride": 0}, "stride 0 must divide"),
        ({"starts": (88,)}, "do not fit into 103 frames"),
        ({"starts": (-1,)}, "do not fit"),
        ({"starts": ()}, "do not fit"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tube_mask(np.zeros((103, 2, 2)), **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="coverage must have shape"):
        tube_mask(np.zeros((2, 2)))


def test_union_of_athletes_selects_what_either_selects() -> None:
    both = np.random.default_rng(1).random((2, 103, 3, 3), dtype=np.float32)
    united = union_coverage(both)
    assert united.dtype == np.float32
    for tau in (0.2, 0.5, 0.9):
        np.testing.assert_array_equal(tube_mask(united, tau), tube_mask(both[0], tau) | tube_mask(both[1], tau))
    np.testing.assert_array_equal(union_coverage(both[:0]), np.zeros((103, 3, 3)))


def test_flip_keeps_dtype_and_undoes_itself() -> None:
    mask = np.random.default_rng(2).random((3, 4, 5)) < 0.5
    assert flip_coverage(mask).dtype == np.bool_
    np.testing.assert_array_equal(flip_coverage(flip_coverage(mask)), mask)
    assert flip_coverage(np.array([[1, 0, 0]])).tolist() == [[0, 0, 1]]


def test_grid_iou() -> None:
    a = np.array([[[1, 1], [0, 0]], [[0, 0], [0, 0]]], dtype=bool)
    b = np.array([[[1, 0], [1, 0]], [[0, 0], [0, 0]]], dtype=bool)
    assert grid_iou(a, b) == pytest.approx(1 / 3)
    assert grid_iou(a, b, axes=(1, 2)).tolist() == [pytest.approx(1 / 3), 1]  # two empty masks agree
    assert grid_iou(a, ~a) == 0
    with pytest.raises(ValueError, match="same shape"):
        grid_iou(a, b[:1])
