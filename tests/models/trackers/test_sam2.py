"""SAM 2 with random weights: the real architecture, loaded from files, against ultralytics' own predictor.

The public weights are not here; what they would follow is not tested, only that the tracker does with any weights what
ultralytics does with them.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.geometry import polygon_iou, quad_to_box
from models.trackers import TRACKERS, Tracker, build_tracker
from models.trackers.sam2 import Sam2Tracker, _predictor
from models.trackers.sam2_network import build_sam2, load_sam2

INPUT_PX = 128   # an eighth of what the weights are made for: seconds instead of minutes
BOXES = np.asarray([[20, 20, 60, 70], [70, 10, 100, 60]], np.float32)


def write_weights(path: Path, newer: bool, present: float) -> Path:
    """The tiny SAM 2 with random weights; `present`: logit with which it holds every object to be in the frame."""
    torch.manual_seed(3)
    network = build_sam2("build_sam2_t", newer)
    with torch.no_grad():
        head = network.sam_mask_decoder.pred_obj_score_head.layers[-1]
        head.weight.zero_()
        head.bias.fill_(present)
    torch.save({"model": network.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("sam2") / "tiny.pt", newer=True, present=2.0)


def clip(length: int) -> NDArray[np.uint8]:
    """Two textured patches that drift over a textured scene: (L, 90, 120, 3)."""
    rng = np.random.default_rng(5)
    scene = cv2.resize(rng.integers(0, 110, (9, 12, 3), np.uint8), (120, 90), interpolation=cv2.INTER_CUBIC)
    people = [rng.integers(120, 256, (int(y2 - y1), int(x2 - x1), 3), np.uint8) for x1, y1, x2, y2 in BOXES]
    frames = np.stack([scene] * length)
    for t in range(length):
        for person, (x1, y1, x2, y2) in zip(people, BOXES.astype(int), strict=True):
            frames[t, y1:y2, x1 + t : x2 + t] = person
    return frames


def test_masks_and_quads_of_two_athletes(weights: Path) -> None:
    tracker = Sam2Tracker([weights], input_px=INPUT_PX)
    assert isinstance(tracker, Tracker)
    frames = clip(3)
    tubes = tracker.track(frames, BOXES)
    for tube, box in zip(tubes, BOXES, strict=True):
        np.testing.assert_array_equal(quad_to_box(tube.quads[0]), box)
        np.testing.assert_allclose(tube.scores, [1, *[1 / (1 + np.exp(-2.0))] * 2], rtol=1e-5)
        assert tube.masks is not None
        for quad, lost, mask in zip(tube.quads[1:], tube.lost[1:], tube.masks[1:], strict=True):
            assert lost == (mask is None)
            if mask is not None:
                piece = largest_piece(mask)
                corners = np.concatenate([piece + corner for corner in ((0, 0), (1, 0), (1, 1), (0, 1))])
                around = cv2.boxPoints(cv2.minAreaRect(corners.astype(np.float32)))
                assert polygon_iou(quad, around) > 0.9
    assert any(mask is not None for tube in tubes for mask in tube.masks[1:])
    both = [tube.masks[0] for tube in tubes]
    assert both[0] is None or both[1] is None or not (both[0] & both[1]).any()


def largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """x, y of the pixels of the largest connected piece, by its outline's area."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(max(contours, key=cv2.contourArea).reshape(-1, 2), np.float32)


def test_frame_by_frame_is_the_same_as_the_whole_clip_and_a_clip_leaves_nothing_behind(weights: Path) -> None:
    tracker = Sam2Tracker([weights], input_px=INPUT_PX)
    frames = clip(3)
    tracker.track(frames[::-1], BOXES)
    [tube] = tracker.track(frames, BOXES[:1])
    tracker.init(frames[0], BOXES[0])
    steps = [tracker.update(frame) for frame in frames[1:]]
    np.testing.assert_array_equal(np.stack([step.quad for step in steps]), tube.quads[1:])
    for step, mask in zip(steps, (tube.masks or [])[1:], strict=True):
        np.testing.assert_array_equal(step.mask, mask)


def test_who_is_not_seen_is_lost_and_keeps_the_last_quad(tmp_path: Path) -> None:
    """The older version, with weights that hold every object to be away."""
    file = write_weights(tmp_path / "away.pt", newer=False, present=-3.0)
    [tube] = Sam2Tracker([file], input_px=INPUT_PX).track(clip(2), BOXES[:1])
    assert tube.lost.tolist() == [False, True]
    assert tube.scores[1] == pytest.approx(1 / (1 + np.exp(3.0)))
    np.testing.assert_array_equal(tube.quads[1], tube.quads[0])
    assert tube.masks is not None
    assert tube.masks[1] is None


@pytest.mark.slow
@pytest.mark.parametrize("newer", [True, False])
def test_it_gives_the_masks_that_ultralytics_gives_for_the_video(tmp_path: Path, newer: bool) -> None:
    """ultralytics opens the file and tracks by itself; the frames that it sees are given to ours."""
    file = write_weights(tmp_path / "tiny.pt", newer, present=2.0)
    video = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 25, (120, 90))
    for frame in clip(18):   # more than the 16 from which on the length of a clip does not matter
        writer.write(frame[..., ::-1])
    writer.release()
    theirs = _predictor(load_sam2(file), "cpu", INPUT_PX)
    results = list(theirs(source=str(video), bboxes=BOXES.tolist(), stream=True))
    frames = np.stack([result.orig_img[..., ::-1] for result in results])
    tubes = Sam2Tracker([file], input_px=INPUT_PX).track(frames, BOXES)
    compared = 0
    for index, result in enumerate(results):
        found = {int(who): mask for who, mask in zip(result.boxes.cls, result.masks.data.numpy(), strict=True)}
        for who, tube in enumerate(tubes):
            mask = (tube.masks or [])[index]
            if mask is not None:
                assert (mask != found[who].astype(bool)).mean() < 0.001, (index, who)
                compared += 1
            else:
                assert who not in found or found[who].sum() < 16
    assert compared > 10


def test_files_that_are_no_sam2(tmp_path: Path, weights: Path) -> None:
    other = tmp_path / "other.pt"
    torch.save({"model": {"conv.weight": torch.zeros(3, 3)}}, other)
    with pytest.raises(ValueError, match=r"other\.pt does not hold a SAM 2: its image encoder has 0 blocks of 0 ch"):
        load_sam2(other)
    program = tmp_path / "program.pt"
    torch.save({"model": torch.nn.Linear(2, 2)}, program)   # a pickled module: opening it would run its code
    with pytest.raises(ValueError, match="is refused because opening it would run its code"):
        load_sam2(program)
    tensors = torch.load(weights, weights_only=True)["model"]
    del tensors["maskmem_tpos_enc"]
    torch.save(tensors, tmp_path / "part.pt")
    with pytest.raises(ValueError, match=r"not hold the weights of SAM 2\.1: 1 missing \(maskmem_tpos_enc\)"):
        load_sam2(tmp_path / "part.pt")


def test_by_name_and_without_weights(tmp_path: Path) -> None:
    assert TRACKERS["sam2"].segments
    with pytest.raises(ValueError, match=r"tracker sam2 needs .*sam2\.1_t\.pt.*github\.com/ultralytics/assets"):
        build_tracker("sam2")
