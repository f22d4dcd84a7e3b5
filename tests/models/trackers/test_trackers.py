"""Trackers: the promises of the protocol, lost targets, and quality on the real clips."""

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from data_catalog.media.video import probe, read_frames
from models.geometry import coverage, quads_to_crop
from models.trackers import TRACKERS, FrameLoopTracker, Tracker, TrackStep, Tube, build_tracker, weights_files
from models.trackers.base import rectangle
from models.trackers.nano import NanoSettings, NanoTracker
from models.weight_files import WeightsNotFound
from tasks.normalize import select_frames

FRAME_WH = (455, 256)


def moving(length: int, step: tuple[int, int] = (4, 2)) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A textured person-sized patch on a textured scene: frames (L, 256, 455, 3) and true boxes (L, 4)."""
    rng = np.random.default_rng(7)
    scene = cv2.resize(rng.integers(0, 110, (32, 57, 3), np.uint8), FRAME_WH, interpolation=cv2.INTER_CUBIC)
    person = cv2.resize(rng.integers(100, 256, (12, 6, 3), np.uint8), (40, 80), interpolation=cv2.INTER_CUBIC)
    frames, boxes = np.stack([scene] * length), np.zeros((length, 4), np.float32)
    for t in range(length):
        x, y = 60 + step[0] * t, 60 + step[1] * t
        frames[t, y : y + 80, x : x + 40] = person
        boxes[t] = x, y, x + 40, y + 80
    return frames, boxes


def box_iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    overlap = np.clip(np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2]), 0, None)
    area = overlap.prod(axis=1)
    areas = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (first, second)]
    return np.asarray(area / (areas[0] + areas[1] - area), np.float64)


def boxes_of(tube: Tube) -> NDArray[np.float32]:
    return np.concatenate([tube.quads.min(axis=1), tube.quads.max(axis=1)], axis=1)


def nano(shared: Path, version: str) -> Tracker:
    return build_tracker("nano", weights=shared / "real" / f"nanotrack_{version}")


# ---- registry and weights ----


def test_unknown_tracker_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"there is no tracker 'kcf'; choose one of mil, nano"):
        build_tracker("kcf")


def test_weight_files_by_prefix(tmp_path: Path) -> None:
    names = ["my_backbone.onnx", "my_head.onnx"]
    for name in names:
        (tmp_path / name).touch()
    expected = [tmp_path / name for name in names]
    assert weights_files("nano", tmp_path / "my") == expected
    assert weights_files("mil", None) == []


@pytest.mark.parametrize("weights", [None, "", "absent", "folder/absent"])
@pytest.mark.parametrize("name", [name for name, entry in TRACKERS.items() if entry.suffixes])
def test_missing_weights_say_where_to_put_them(name: str, weights: str | None, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound) as caught:
        build_tracker(name, weights=weights and tmp_path / weights)
    message = str(caught.value)
    assert "\n" not in message
    assert f"tracker {name}" in message
    assert "github.com" in message
    if weights:
        assert str(tmp_path) in message


def test_weights_that_are_no_network(tmp_path: Path) -> None:
    for name in ("x_backbone.onnx", "x_head.onnx"):
        (tmp_path / name).write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"x_backbone\.onnx are not an ONNX network"):
        build_tracker("nano", weights=tmp_path / "x")


# ---- the frame loop ----


class Scripted(FrameLoopTracker):
    """Moves right by one pixel a frame and loses the target in frame 2."""

    def __init__(self) -> None:
        self.box, self.seen = np.zeros(4), 0

    def init(self, frame: NDArray[np.uint8], box: ArrayLike) -> None:
        self.box, self.seen = np.asarray(box, float), 0

    def update(self, frame: NDArray[np.uint8]) -> TrackStep:
        self.seen += 1
        if self.seen == 2:
            return TrackStep(rectangle(self.box), 0.1, lost=True)
        self.box = self.box + np.asarray([1, 0, 1, 0])
        return TrackStep(rectangle(self.box), 0.9)


def test_loop_starts_with_the_box_and_keeps_what_steps_say() -> None:
    frames = np.zeros((4, 20, 30, 3), np.uint8)
    first, second = Scripted().track(frames, np.asarray([[1, 2, 11, 12], [5, 5, 9, 9]], np.float32))
    assert first.quads[:, 0, 0].tolist() == [1, 2, 2, 3]
    assert second.quads[0].tolist() == [[5, 5], [9, 5], [9, 9], [5, 9]]   # clockwise, y down
    assert first.lost.tolist() == [False, False, True, False]
    np.testing.assert_allclose(first.scores, [1, 0.9, 0.1, 0.9])
    assert first.masks is None
    assert (first.quads.dtype, first.scores.dtype, first.lost.dtype) == (np.float32, np.float32, bool)


def test_single_frame_and_no_athlete() -> None:
    frames = np.zeros((1, 20, 30, 3), np.uint8)
    (tube,) = Scripted().track(frames, np.asarray([[1, 2, 11, 12]], np.float32))
    assert len(tube.quads) == 1
    assert Scripted().track(frames, np.zeros((0, 4), np.float32)) == []


def test_tube_refuses_arrays_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"scores \(L,\)"):
        Tube(np.zeros((3, 4, 2), np.float32), np.zeros(2, np.float32), np.zeros(3, bool))


# ---- each tracker ----


@pytest.fixture(params=["mil", "nano v2", "nano v3"])
def tracker(request: pytest.FixtureRequest) -> Tracker:
    name, _, version = request.param.partition(" ")
    return nano(request.getfixturevalue("shared"), version) if name == "nano" else build_tracker(name)


def test_follows_a_moving_person_and_changes_nothing(tracker: Tracker) -> None:
    frames, boxes = moving(20)
    before = frames.copy()
    (tube,) = tracker.track(frames, boxes[:1])
    np.testing.assert_array_equal(frames, before)
    overlaps = box_iou(boxes_of(tube), boxes)
    assert overlaps.mean() > 0.75
    assert overlaps.min() > 0.5
    assert ((tube.scores >= 0) & (tube.scores <= 1)).all()
    assert not tube.lost.any()


def test_same_frames_same_quads_whatever_ran_before(tracker: Tracker) -> None:
    frames, boxes = moving(8)
    (first,) = tracker.track(frames, boxes[:1])
    tracker.track(frames[::-1], boxes[-1:])
    cv2.setRNGSeed(99)
    (second,) = tracker.track(frames, boxes[:1])
    np.testing.assert_array_equal(first.quads, second.quads)
    np.testing.assert_array_equal(first.scores, second.scores)


def test_threads_do_not_disturb_each_other() -> None:
    frames, boxes = moving(8)
    alone = build_tracker("mil").track(frames, boxes[:1])[0].quads
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: build_tracker("mil").track(frames, boxes[:1])[0].quads, range(8)))
    for quads in together:
        np.testing.assert_array_equal(quads, alone)


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 455, 256), (415, 176, 455, 256), (-30, -40, 30, 40),
        (450, 100, 470, 180), (10, 252, 40, 256), (3, 3, 8, 8),
    ],
)
def test_boxes_at_the_border_and_tiny_ones(tracker: Tracker, box: Sequence[float]) -> None:
    frames, _ = moving(4)
    (tube,) = tracker.track(frames, np.asarray([box], np.float32))
    assert np.isfinite(tube.quads).all()
    assert (tube.quads[:, 2] > tube.quads[:, 0]).all()


@pytest.mark.parametrize("box", [(500, 10, 520, 60), (10, 10, 12, 60), (float("nan"), 0, 40, 40), (40, 40, 10, 10)])
def test_boxes_with_nothing_to_follow(tracker: Tracker, box: Sequence[float]) -> None:
    frames, _ = moving(2)
    with pytest.raises(ValueError, match="first box"):
        tracker.track(frames, np.asarray([box], np.float32))


def test_update_before_init(tracker: Tracker) -> None:
    with pytest.raises(RuntimeError, match="init"):
        tracker.update(np.zeros((64, 64, 3), np.uint8))


def test_mil_marks_a_vanished_person_lost_and_keeps_the_last_quad() -> None:
    frames, boxes = moving(10)
    frames[5:] = 250   # a flash: nothing of the person's colours is left
    (tube,) = build_tracker("mil").track(frames, boxes[:1])
    assert tube.lost.tolist() == [False] * 5 + [True] * 5
    assert (tube.quads[5:] == tube.quads[4]).all()
    assert (tube.scores[5:] < tube.scores[:5].min()).all()


def test_nano_marks_a_vanished_person_lost_and_keeps_the_last_quad(shared: Path) -> None:
    frames, boxes = moving(10)
    frames[5:] = np.random.default_rng(0).integers(0, 256, frames[5:].shape, np.uint8)
    (tube,) = nano(shared, "v3").track(frames, boxes[:1])
    assert tube.lost.tolist() == [False] * 5 + [True] * 5
    assert (tube.quads[5:] == tube.quads[4]).all()


# ---- the real clips ----


def real_clip(shared: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float64]]:
    """103 frames, true boxes (103, 4) and true quads (103, 4, 2) in pixels of the normalised frame."""
    info = probe(shared / "real" / f"{name}.mp4")
    index = select_frames(0, info.num_frames, 103, "uniform")
    with (shared / "real" / f"{name}_gt.csv").open() as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    scale = np.asarray(FRAME_WH) / [info.width, info.height]
    boxes = np.asarray([[r["x"], r["y"], r["x"] + r["w"], r["y"] + r["h"]] for r in rows])[index] * np.tile(scale, 2)
    if "x1" in rows[0]:
        quads = np.asarray([[[r[f"x{i}"], r[f"y{i}"]] for i in (1, 2, 3, 4)] for r in rows])[index] * scale
    else:
        quads = np.stack([rectangle(box) for box in boxes]).astype(float)
    return read_frames(info.path, index, FRAME_WH), boxes.astype(np.float32), quads


def success_auc(tube: Tube, boxes: NDArray[np.float32]) -> float:
    overlaps = box_iou(boxes_of(tube), boxes)
    return float(np.mean([(overlaps > threshold).mean() for threshold in np.linspace(0, 1, 21)]))


def grid_iou(tube: Tube, quads: NDArray[np.float64]) -> float:
    found, true = (
        coverage(quads_to_crop(corners, FRAME_WH, 224), (14, 14), (224, 224)) >= 0.5 for corners in (tube.quads, quads)
    )
    seen = true.any(axis=(1, 2))
    both, either = (found & true).sum(axis=(1, 2)), (found | true).sum(axis=(1, 2))
    return float((both[seen] / either[seen]).mean())


def test_own_v2_agrees_with_opencv_while_both_hold_the_target(shared: Path) -> None:
    frames, boxes, _ = real_clip(shared, "parkour")
    box = np.round(boxes[0])
    parameters = cv2.TrackerNano_Params()  # type: ignore[attr-defined]
    parameters.backbone = str(shared / "real" / "nanotrack_v2_backbone.onnx")
    parameters.neckhead = str(shared / "real" / "nanotrack_v2_head.onnx")
    opencv = cv2.TrackerNano_create(parameters)  # type: ignore[attr-defined]
    opencv.init(frames[0], tuple(int(v) for v in (*box[:2], *(box[2:] - box[:2]))))
    theirs = [box]
    for frame in frames[1:30]:
        _, (x, y, w, h) = opencv.update(frame)
        theirs.append(np.asarray([x, y, x + w, y + h], np.float32))
    # OpenCV swaps channels (RGB frames reach its network as BGR) and has its own rate and penalty.
    settings = replace(NanoSettings(), penalty=0.055, rate=0.37)
    files = weights_files("nano", shared / "real" / "nanotrack_v2")
    (tube,) = NanoTracker(files, settings=settings).track(frames[:30], box[None])
    overlaps = box_iou(boxes_of(tube), np.stack(theirs))
    assert overlaps[:10].mean() > 0.93
    assert overlaps.mean() > 0.85


def test_v3_on_one_real_clip(shared: Path) -> None:
    frames, boxes, quads = real_clip(shared, "breakdance")
    (tube,) = nano(shared, "v3").track(frames, boxes[:1])
    assert success_auc(tube, boxes) > 0.66    # measured elsewhere on unstretched frames: .686
    assert grid_iou(tube, quads) > 0.56       # .596


@pytest.mark.slow
@pytest.mark.parametrize(("version", "auc", "grid"), [("v2", 0.62, 0.62), ("v3", 0.66, 0.65)])
def test_nano_on_the_four_real_clips(shared: Path, version: str, auc: float, grid: float) -> None:
    results = []
    for name in ("parkour", "breakdance", "bmx-trees", "Crossing"):
        frames, boxes, quads = real_clip(shared, name)
        (tube,) = nano(shared, version).track(frames, boxes[:1])
        results.append((success_auc(tube, boxes), grid_iou(tube, quads)))
    means = np.mean(results, axis=0)
    assert means[0] >= auc
    assert means[1] >= grid
