"""Cuts: a change that stays and stands alone."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.video.scene_cuts import find_cuts, scene_changes

RNG = np.random.default_rng(4)
SMOOTH = np.kron(RNG.integers(0, 255, (12, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)  # 96 x 320
OTHER = np.kron(RNG.integers(0, 120, (12, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def pan(picture: NDArray[np.uint8], places: list[int]) -> list[NDArray[np.uint8]]:
    return [picture[:64, x : x + 114] for x in places]


def cuts_of(frames: list[NDArray[np.uint8]], elapsed: list[int] | None = None) -> list[int]:
    steps = np.ones(len(frames)) if elapsed is None else np.asarray(elapsed)
    return find_cuts(scene_changes(np.stack(frames)), steps, 0.2, 1.6).tolist()


def test_a_cut_is_found_where_the_new_scene_begins() -> None:
    frames = pan(SMOOTH, [2 * t for t in range(12)]) + pan(OTHER, [2 * t for t in range(12)])
    changes = scene_changes(np.stack(frames))
    assert changes.shape == (24,)
    assert changes[0] == 0
    assert int(changes.argmax()) == 12
    assert cuts_of(frames) == [12]


def test_a_flash_is_no_cut() -> None:
    frames = pan(SMOOTH, [20] * 20)
    frames[9] = np.clip(frames[9].astype(int) + 120, 0, 255).astype(np.uint8)
    assert cuts_of(frames) == []


@pytest.mark.parametrize("speed", [4, 9])
def test_a_pan_is_no_cut(speed: int) -> None:
    assert cuts_of(pan(SMOOTH, [speed * t for t in range(20)])) == []


def test_a_skipped_frame_of_a_pan_is_no_cut() -> None:
    changes, elapsed = np.full(20, 0.15), np.ones(20)
    changes[0], changes[10], elapsed[10] = 0, 0.3, 2
    assert find_cuts(changes, elapsed, 0.2, 1.6).tolist() == []
    assert find_cuts(changes, np.ones(20), 0.2, 1.6).tolist() == [10]


def test_one_frame_has_no_cut() -> None:
    assert cuts_of(pan(SMOOTH, [0])) == []
