"""detect: annotation boxes, choosing among a detector's people, and clips without any."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from data_catalog.datasets.records import ClipRecord
from data_catalog.media.video import read_frames
from models.detectors import Detections, build_detector
from tasks import detect
from tasks.detect import STAGE, DetectConfig, DetectResult, FirstFrame, detect_athletes
from tasks.engine.errors import BadClip

FRAME = np.zeros((256, 455, 3), np.uint8)


class Listed:
    """A detector that finds the same people in every frame of a batch, or nobody in a black one."""

    def __init__(self, boxes: Sequence[Sequence[float]], scores: Sequence[float]) -> None:
        self.found = Detections(np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(scores, np.float32))
        self.calls = 0

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        self.calls += 1
        nobody = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        return [self.found if frame.any() else nobody for frame in frames]


def first(clip_id: str = "c1", boxes: list[list[float]] | None = None, lit: bool = True) -> FirstFrame:
    annotated = None if boxes is None else np.asarray(boxes, np.float64)
    return FirstFrame(clip_id, FRAME + 9 if lit else FRAME, (910, 512), annotated)


def annotate(boxes: list[list[float]] | None) -> DetectResult | BadClip:
    (result,) = detect_athletes([first(boxes=boxes)], DetectConfig(detector="annotation"))
    return result


def test_annotation_is_scaled_from_source_to_frame_pixels() -> None:
    result = annotate([[100, 50, 300, 250], [910 - 40, 512 - 60, 910, 512]])
    assert isinstance(result, DetectResult)
    np.testing.assert_allclose(result.boxes, [[50, 25, 150, 125], [435, 226, 455, 256]])
    assert result.chosen.tolist() == [0, 1]   # all labelled people are athletes
    assert (result.chosen_by, result.boxes.dtype, result.scores.tolist()) == ("annotation", np.float32, [1, 1])
    np.testing.assert_array_equal(result.chosen_boxes, result.boxes)


def test_annotation_is_cut_to_the_frame() -> None:
    result = annotate([[-100, -20, 200, 300]])
    assert isinstance(result, DetectResult)
    np.testing.assert_allclose(result.boxes, [[0, 0, 100, 150]])


@pytest.mark.parametrize(
    "boxes", [[[1000, 10, 1200, 90]], [[50, 50, 50, 90]], [[float("nan"), 0, 9, 9]], [[90, 90, 10, 10]]]
)
def test_annotation_without_a_usable_part(boxes: list[list[float]]) -> None:
    result = annotate(boxes)
    assert isinstance(result, BadClip)
    assert "clip 'c1'" in result.reason
    assert "910x512" in result.reason
    assert "labels" in result.remedy


@pytest.mark.parametrize("boxes", [None, []])
def test_missing_annotation_names_the_remedy(boxes: list[list[float]] | None) -> None:
    result = annotate(boxes)
    assert isinstance(result, BadClip)
    assert "'c1' has no first-frame box" in result.reason
    assert "detect.detector" in result.remedy


def test_choice_follows_the_policy_and_nobody_is_a_bad_clip() -> None:
    detector = Listed([[0, 0, 20, 20], [200, 100, 250, 150], [300, 0, 400, 200], [5, 5, 7, 200]], [0.9, 0.5, 0.3, 0.2])
    clips = [first("a"), first("b", lit=False), first("c")]
    for policy, expected in (("score", 0), ("central", 1), ("largest", 2)):
        config = DetectConfig(detector="yolo", select=policy, min_score=0.1)  # type: ignore[arg-type]
        a, b, c = detect_athletes(clips, config, detector)
        assert isinstance(a, DetectResult)
        assert isinstance(c, DetectResult)
        assert a.chosen.tolist() == c.chosen.tolist() == [expected]
        assert a.chosen_by == "model"
        assert isinstance(b, BadClip)
        assert "clip 'b'" in b.reason
        assert "Lower `detect.min_score`" in b.remedy
    assert detector.calls == 3   # one call a batch


def test_boxes_that_a_person_drew_win_over_the_detector() -> None:
    drawn = replace(first("b"), annotated_boxes=np.array([[20.0, 10, 60, 90]]), by_person=True)
    detector = Listed([[0, 0, 20, 20]], [0.9])
    a, b, c = detect_athletes([first("a"), drawn, first("c")], DetectConfig(detector="yolo"), detector)
    assert [getattr(one, "chosen_by", None) for one in (a, b, c)] == ["model", "person", "model"]
    assert detector.calls == 1
    config = DetectConfig(detector="yolo")
    labelled = ClipRecord("b", "b.mp4", "train", boxes=((20, 10, 40, 80),))
    assert STAGE.inputs(labelled, config) == {}  # labels' own boxes don't matter to a detector
    assert STAGE.inputs(replace(labelled, boxes_by_person=True), config) == {"boxes": [[20, 10, 40, 80]]}


def test_several_athletes_and_boxes_too_thin_to_follow() -> None:
    detector = Listed([[5, 5, 7, 200], [0, 0, 20, 20], [200, 100, 250, 150]], [0.9, 0.8, 0.5])
    (result,) = detect_athletes([first()], DetectConfig(detector="yolo", athletes=2), detector)
    assert isinstance(result, DetectResult)
    assert result.chosen.tolist() == [1, 2]
    thin = Listed([[5, 5, 7, 200]], [0.9])
    assert isinstance(detect_athletes([first()], DetectConfig(detector="yolo"), thin)[0], BadClip)


def test_a_model_that_was_not_built_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="must be built"):
        detect_athletes([first()], DetectConfig(detector="yolo"))


def test_nanodet_finds_the_tennis_player(shared: Path) -> None:
    real = shared / "real"
    frame = read_frames(real / "tennis.mp4", np.asarray([0]), (455, 256))[0]
    detector = build_detector("nanodet", weights=real / "nanodet_m.onnx", min_score=0.25)
    clip = FirstFrame("tennis", frame, (854, 480))
    (result,) = detect_athletes([clip], DetectConfig(detector="nanodet"), detector)
    assert isinstance(result, DetectResult)
    x, y, w, h = 306, 113, 162, 247   # what SOURCE.md says, in source pixels
    expected = np.asarray([x, y, x + w, y + h]) * np.tile([455 / 854, 256 / 480], 2)
    np.testing.assert_allclose(result.chosen_boxes[0], expected, atol=4)


# ---- select ----


def test_followed_chooses_by_the_heat_and_keeps_every_box() -> None:
    boxes = [[20, 60, 60, 160], [200, 80, 240, 190], [300, 80, 302, 190]]
    heat = np.zeros((256, 455), np.float32)
    heat[80:190, 200:240] = 0.9
    config = DetectConfig(detector="athlete-n", select="followed", min_score=0.05)
    (result,) = detect_athletes([replace(first(), heat=heat)], config, Listed(boxes, [0.9, 0.2, 0.1]))
    assert isinstance(result, DetectResult)
    assert (result.chosen.tolist(), len(result.boxes), result.chosen_by) == ([1], 3, "model")


def test_only_followed_reads_later_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    monkeypatch.setattr(detect, "decode_frames", lambda arrays, indices: (seen.append(list(indices)), clip[indices])[1])
    clip = np.random.default_rng(0).integers(0, 255, (13, 64, 96, 3), np.uint8)
    attrs = {"source_width": 96, "source_height": 64}
    parent = SimpleNamespace(arrays={"frame_offsets": np.arange(14)}, attrs=attrs)
    monkeypatch.setattr(detect, "read_parent", lambda job, stage, context: parent)
    job = SimpleNamespace(clip=None, clip_id="c1")
    read = [
        detect._first_frame(job, DetectConfig(detector="athlete-n", select=select), None)  # type: ignore[arg-type]
        for select in ("score", "followed", "annotation")
    ]
    assert seen == [[0], [0, 3, 6, 9, 12], [0]]
    assert [one.heat is not None for one in read] == [False, True, False]
    np.testing.assert_array_equal(read[1].frame, clip[0])


def test_both_ways_to_ask_for_the_labels_are_one() -> None:
    ways = [DetectConfig(), DetectConfig(detector="athlete-n", select="annotation")]
    results = [detect_athletes([first(boxes=[[100, 50, 300, 250]])], way)[0] for way in ways]
    assert all(isinstance(one, DetectResult) and one.chosen_by == "annotation" for one in results)
    assert ways[0].key_view() == ways[1].key_view()
    assert STAGE.weights(ways[1], Path("nowhere")) == {}
    nobody = DetectConfig(detector="none", select="annotation")
    assert nobody.key_view() != ways[0].key_view()
    assert not nobody.labels_decide


def test_athlete_n_has_its_own_weights_and_their_digest_counts() -> None:
    files = STAGE.weights(DetectConfig(detector="athlete-n"), Path("nowhere"))
    assert list(files) == ["athlete_n.pth"]
    assert STAGE.weights(DetectConfig(detector="hog"), Path("nowhere")) == {}


def test_the_first_detector_whose_weights_are_there_is_taken(tmp_path: Path) -> None:
    """Before the weights were pulled, artifacts are those of athlete-n alone; afterwards another key."""
    asked = DetectConfig(detector="faster_rcnn:fasterrcnn_coco, athlete-n", min_score=0.05)
    athlete = DetectConfig(detector="athlete-n", min_score=0.05)
    assert STAGE.settle(asked, tmp_path) == athlete
    assert STAGE.settle(athlete, tmp_path) == athlete
    (tmp_path / "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth").write_bytes(b"there")
    found = STAGE.settle(asked, tmp_path)
    assert (found.detector, found.weights, found.min_score) == ("faster_rcnn", "fasterrcnn_coco", 0.05)
    assert list(STAGE.weights(found, tmp_path)) == ["fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"]
    with pytest.raises(ValueError, match="of which detector"):
        DetectConfig(detector="yolo, athlete-n", weights="x.pt")
