"""track: the stage's arrays and its errors."""

import numpy as np
import pytest

from models.trackers import build_tracker
from tasks.errors import BadClip
from tasks.track import track_clip, tube_arrays


def test_two_athletes_make_two_tubes() -> None:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 60, (80, 120, 3), np.uint8)
    people = [rng.integers(120, 256, (24, 16, 3), np.uint8) for _ in range(2)]
    frames = np.stack([scene] * 6)
    for t in range(6):
        frames[t, 20:44, 10 + 3 * t : 26 + 3 * t] = people[0]
        frames[t, 40:64, 90 - 3 * t : 106 - 3 * t] = people[1]
    boxes = np.asarray([[10, 20, 26, 44], [90, 40, 106, 64]], np.float32)
    arrays = tube_arrays(track_clip(frames, boxes, build_tracker("mil")), (120, 80))
    assert {name: (a.shape, a.dtype.name) for name, a in arrays.items()} == {
        "quads": ((2, 6, 4, 2), "float32"), "scores": ((2, 6), "float32"), "lost": ((2, 6), "bool"),
        "border": ((2, 6), "bool"), "sudden": ((2, 6), "bool"),
    }  # fmt: skip
    np.testing.assert_array_equal(arrays["quads"][:, 0, 0], boxes[:, :2])
    np.testing.assert_allclose(arrays["quads"][0, :, 0, 0], 10 + 3 * np.arange(6), atol=6)
    np.testing.assert_allclose(arrays["quads"][1, :, 0, 0], 90 - 3 * np.arange(6), atol=6)
    assert not arrays["lost"].any()


def test_a_box_with_nothing_to_follow_is_a_bad_clip() -> None:
    frames = np.zeros((3, 80, 120, 3), np.uint8)
    with pytest.raises(BadClip, match=r"cannot be followed: first box \(200, 10, 220, 30\)") as caught:
        track_clip(frames, np.asarray([[200, 10, 220, 30]], np.float32), build_tracker("mil"))
    assert "first-frame box" in caught.value.remedy
