"""track: the stage's arrays and its errors."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from data_catalog.catalog import Workspace
from models.geometry import box_to_quad
from models.geometry.rle import unpack_runs
from models.trackers import TRACKERS, ManyTracker, Tube, build_tracker
from tasks.engine.errors import BadClip
from tasks.engine.job import Context, Job, Product
from tasks.track import STAGE, TrackConfig, track_clip, track_clips, tube_arrays


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


class Together:
    """Counts how often it is asked; fails for boxes of another clip."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def init(self, frame, box) -> None: ...

    def update(self, frame): ...

    def track(self, frames, boxes): ...

    def track_many(self, clips):
        self.asked.append(len(clips))
        outcomes = []
        for frames, boxes in clips:
            quads = np.repeat(box_to_quad(boxes)[:, None], len(frames), axis=1)
            if boxes[0, 0] < 0:
                outcomes.append(ValueError("first box (-9, 0, -1, 5) has less than 4 px of a side"))
                continue
            if boxes[0, 0] > 50:
                quads = quads * np.nan
            ones = np.ones(len(frames), np.float32)
            masks = [np.eye(80, 120, dtype=bool), *[None] * (len(frames) - 1)]
            outcomes.append([Tube(quad, ones, ones < 0, masks) for quad in quads.astype(np.float32)])
        return outcomes


def test_clips_of_a_shard_go_through_together_and_fail_apart() -> None:
    frames = np.zeros((3, 80, 120, 3), np.uint8)
    boxes = [[[10, 10, 30, 30]], [[-9, 0, -1, 5]], [[60, 10, 80, 30]]]
    tracker = Together()
    assert isinstance(tracker, ManyTracker)
    good, outside, nonsense = track_clips([(frames, np.asarray(box, np.float32)) for box in boxes], tracker)
    assert tracker.asked == [3]
    assert isinstance(outside, BadClip)
    assert "first-frame box" in outside.remedy
    assert isinstance(nonsense, BadClip)
    assert "not numbers" in nonsense.reason
    arrays = tube_arrays(good, (120, 80))
    assert arrays["rle_offsets"].tolist() == [0, 161, 161, 161]
    mask = unpack_runs(arrays["rle"], arrays["rle_offsets"], 0, (80, 120))
    np.testing.assert_array_equal(mask, np.eye(80, 120, dtype=bool))


def test_flags_are_of_every_tracker() -> None:
    quads = box_to_quad(np.asarray([[10, 10, 30, 30], [12, 10, 32, 30], [100, 10, 121, 30]], np.float32))
    tube = Tube(quads, np.ones(3, np.float32), np.zeros(3, bool))
    arrays = tube_arrays([tube], (120, 80))
    assert arrays["border"].tolist() == [[False, False, True]]
    assert arrays["sudden"].tolist() == [[False, False, True]]
    assert "rle" not in arrays


def test_the_stage_gives_each_clip_its_own_outcome(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three clips can be read, one cannot: a product, a bad clip, a bad clip, the trouble."""
    frames = np.zeros((3, 80, 120, 3), np.uint8)
    boxes = {"good": [10, 10, 30, 30], "outside": [-9, 0, -1, 5], "nonsense": [60, 10, 80, 30]}

    def read(job: Job, context: Context) -> tuple[np.ndarray, np.ndarray]:
        if job.clip_id == "gone":
            raise OSError(5, "Input/output error")
        return frames, np.asarray([boxes[job.clip_id]], np.float32)

    tracker = Together()
    monkeypatch.setattr("tasks.track._read_clip", read)
    monkeypatch.setattr("tasks.track._tracker", lambda config, context: tracker)
    jobs = [Job("track", name, "mine", name, {}, {}, {}) for name in ("gone", *boxes)]
    outcomes = {job.clip_id: result for job, result in STAGE.compute(jobs, TrackConfig(), Context(Workspace(tmp_path)))}
    assert {name: type(result) for name, result in outcomes.items()} == {
        "gone": OSError, "good": Product, "outside": BadClip, "nonsense": BadClip,
    }  # fmt: skip
    assert tracker.asked == [3]
    product = outcomes["good"]
    assert isinstance(product, Product)
    assert product.arrays["quads"].shape == (1, 3, 4, 2)
    assert product.attrs == {"width": 120, "height": 80}


def test_a_tracker_that_has_changed_makes_its_own_tubes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of trackers that are what they were stay, to the letter."""
    before = {name: TrackConfig(tracker=name).key_view() for name in ("mil", "published", "siammask")}
    assert before["mil"] == {"tracker": "mil", "preset": None}
    assert before["published"] == {"tracker": "published", "preset": None}
    assert before["siammask"] == {"tracker": "siammask", "preset": None, "tracker_version": 3}
    monkeypatch.setitem(TRACKERS, "mil", dataclasses.replace(TRACKERS["mil"], version=5))
    assert TrackConfig(tracker="mil").key_view()["tracker_version"] == 5
    assert TrackConfig(tracker="siammask").key_view() == before["siammask"]
