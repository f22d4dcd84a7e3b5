"""Likeness: what the tube holds against what the first frame's quad held."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.video.appearance import appearance_similarity

LENGTH, HEIGHT, WIDTH = 30, 128, 228


def scene(places: NDArray[np.int64], visible: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """An orange athlete with a blue suit before a grey-green textured hall."""
    rng = np.random.default_rng(1)
    hall = rng.normal([90, 110, 95], 12, (HEIGHT, WIDTH, 3)).clip(0, 255).astype(np.uint8)
    frames = np.repeat(hall[None], LENGTH, axis=0)
    for frame, (x, y), seen in zip(frames, places, visible, strict=True):
        if seen:
            cv2.ellipse(frame, (int(x), int(y)), (9, 20), 0, 0, 360, (220, 150, 110), -1)
            cv2.rectangle(frame, (int(x) - 8, int(y) - 4), (int(x) + 8, int(y) + 8), (30, 50, 160), -1)
    return frames


def quads_at(places: NDArray[np.int64]) -> NDArray[np.float32]:
    reach = np.asarray([[-10, -22], [10, -22], [10, 22], [-10, 22]], np.float32)
    return (places[:, None] + reach)[None].astype(np.float32)


PLACES = np.stack([np.linspace(40, 180, LENGTH).astype(np.int64), np.full(LENGTH, 64)], axis=1)
ALWAYS = np.ones(LENGTH, bool)


def test_a_tube_on_the_athlete_stays_alike() -> None:
    values = appearance_similarity(scene(PLACES, ALWAYS), quads_at(PLACES))
    assert values.shape == (1, LENGTH)
    assert values.min() > 0.8
    assert abs(values[0, 0] - 1) < 0.05


def test_a_tube_that_stays_behind_holds_nothing_of_them() -> None:
    stuck = np.where(np.arange(LENGTH)[:, None] < 10, PLACES, PLACES[10])
    values = appearance_similarity(scene(PLACES, ALWAYS), quads_at(stuck))[0]
    assert values[:9].min() > 0.8
    assert values[-10:].max() < 0.2


def test_an_athlete_who_is_hidden_is_missed_only_meanwhile() -> None:
    seen = ALWAYS.copy()
    seen[12:20] = False
    values = appearance_similarity(scene(PLACES, seen), quads_at(PLACES))[0]
    assert values[14:18].max() < 0.2
    assert min(values[:10].min(), values[23:].min()) > 0.8


def test_quads_outside_the_picture_hold_nothing() -> None:
    far = PLACES.copy()
    far[15:] = [9000, 9000]
    values = appearance_similarity(scene(PLACES, ALWAYS), quads_at(far))[0]
    assert np.isfinite(values).all()
    assert values[-10:].max() < 0.2


def test_a_quad_like_its_surroundings_says_nothing() -> None:
    values = appearance_similarity(scene(PLACES, ~ALWAYS), quads_at(PLACES))
    assert np.isfinite(values).all()


def test_each_athlete_has_a_row() -> None:
    other = PLACES[::-1].copy()
    frames = scene(PLACES, ALWAYS)
    both = appearance_similarity(frames, np.concatenate([quads_at(PLACES), quads_at(other)]))
    np.testing.assert_allclose(both[0], appearance_similarity(frames, quads_at(PLACES))[0])
