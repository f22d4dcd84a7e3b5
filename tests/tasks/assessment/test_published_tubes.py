"""Published boxes on the way to the normalised frames: corners, gaps, scale, frame counts, names."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_catalog.tracks.files import TrackFile
from models.geometry import coverage
from tasks.assessment.published_tubes import published_tracks, published_tube, track_of
from tasks.engine.errors import BadClip
from tasks.normalize import select_frames

SOURCE_WH, FRAME_WH = (640, 360), (455, 256)


def square(frame: int, side: float = 40.0) -> np.ndarray:
    x, y = 100.0 + frame, 50.0
    return np.asarray([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], np.float32)


def squares(count: int) -> np.ndarray:
    return np.stack([square(frame) for frame in range(count)])


def test_quads_follow_the_frames_that_normalize_chose_and_their_size() -> None:
    chosen = np.asarray([500, 500, 504, 509])
    found = published_tube(squares(10), chosen, (500, 10), SOURCE_WH, FRAME_WH)
    scale = np.asarray([455 / 640, 256 / 360])
    expected = np.stack([square(frame) * scale for frame in (0, 0, 4, 9)])
    np.testing.assert_allclose(found.tube.quads, expected, rtol=1e-6)
    assert found.tube.quads.dtype == np.float32
    assert (found.repaired, found.absent) == ((), ())
    assert found.tube.scores.tolist() == [1, 1, 1, 1]


def test_a_quad_a_normalised_frame_needs_no_index() -> None:
    found = published_tube(squares(4), np.asarray([0, 30, 60, 90]), (0, 120), FRAME_WH, FRAME_WH)
    np.testing.assert_allclose(found.tube.quads, squares(4))


def test_a_window_that_begins_before_the_clip_repeats_its_first_quad() -> None:
    found = published_tube(squares(3), np.asarray([7, 8, 10, 11, 12]), (10, 3), FRAME_WH, FRAME_WH)
    np.testing.assert_allclose(found.tube.quads[:, 0, 0], [100, 100, 100, 101, 102])


@pytest.mark.parametrize(("start", "count", "length"), [(500, 130, 109), (40, 105, 109), (500, 130, 130)])
def test_the_papers_103_boxes_lie_on_the_last_103_frames(start: int, count: int, length: int) -> None:
    """Each box on the source frame that it was made on, which a window of 103 shows; nothing is known before them."""
    end = start + count
    own, chosen = (select_frames(start, end, frames, "tail") for frames in (103, length))
    boxes = squares(103)
    found = published_tube(boxes, chosen, (start, count), FRAME_WH, FRAME_WH, ends_with_clip=True)
    for place, frame in enumerate(chosen):
        known = np.flatnonzero(own == frame)
        assert found.tube.lost[place] == (not known.size)
        box = int(known[0]) if known.size else 0
        np.testing.assert_allclose(found.tube.quads[place], boxes[box])
    assert found.tube.lost.sum() == length - 103
    with pytest.raises(ValueError, match="it has 103 frames"):
        published_tube(boxes, chosen, (start, count), FRAME_WH, FRAME_WH)


def test_any_other_number_of_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="it has 9 frames, the clip 10 and normalised 4"):
        published_tube(squares(9), np.asarray([0, 3, 6, 9]), (0, 10), SOURCE_WH, FRAME_WH)


def test_crossed_and_reversed_corners_are_ordered_and_counted() -> None:
    track = squares(5)
    track[0] = track[0][[0, 1, 3, 2]]  # Z order, as FRFS_Boxes.json has its first frames
    track[3] = track[3][::-1]
    found = published_tube(track, np.arange(5), (0, 5), FRAME_WH, FRAME_WH)
    assert found.repaired == (0, 3)
    grid, size = (8, 12), FRAME_WH
    np.testing.assert_allclose(coverage(found.tube.quads, grid, size), coverage(squares(5), grid, size), atol=1e-6)
    x, y = np.moveaxis(found.tube.quads.astype(float), -1, 0)
    area = (x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(1) / 2
    np.testing.assert_allclose(area, 1600)  # clockwise, y down


def test_frames_without_a_quad_repeat_the_one_before_and_are_lost() -> None:
    track = squares(5)
    track[[0, 2]] = np.nan
    found = published_tube(track, np.arange(5), (0, 5), FRAME_WH, FRAME_WH)
    assert found.absent == (0, 2)
    assert found.tube.lost.tolist() == [True, False, True, False, False]
    assert found.tube.scores.tolist() == [0, 1, 0, 1, 1]
    np.testing.assert_allclose(found.tube.quads[:, 0, 0], [101, 101, 101, 103, 104])
    with pytest.raises(ValueError, match="none of its 5 frames has a box"):
        published_tube(np.full((5, 4, 2), np.nan, np.float32), np.arange(5), (0, 5), FRAME_WH, FRAME_WH)


@pytest.mark.parametrize(("clip", "name"), [("01_07", "1_7"), ("308-1", "308-1"), ("diving_001", "diving_1")])
def test_clips_are_found_by_number(clip: str, name: str) -> None:
    tracks = TrackFile({name: squares(2), "other": squares(3)})
    assert len(track_of(tracks, clip, "f.json")) == 2


def test_a_clip_that_is_not_there_or_twice() -> None:
    tracks = TrackFile({"1_7": squares(2), "1-7": squares(2)}, {"x": "its frames are not 8 numbers each"})
    for clip, told in (("01_07", "are ambiguous: 1_7 and 1-7"), ("y", "not among the 2 there"), ("x", "8 numbers")):
        with pytest.raises(BadClip) as caught:
            track_of(tracks, clip, "f.json")
        assert told in caught.value.reason
        assert "f.json" in caught.value.reason


def test_a_file_that_is_damaged_is_the_clips_fault(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text("{")
    attrs = {"source_frames": 2, "source_width": 640, "source_height": 360, "width": 455, "height": 256}
    with pytest.raises(BadClip, match=r"boxes\.json can't be read"):
        published_tracks(path, "a", np.arange(2), None, attrs)
    path.write_text(json.dumps({"a": squares(2).reshape(2, 8).tolist()}))
    assert published_tracks(path, "a", np.arange(2), None, attrs).tube.quads.shape == (2, 4, 2)
    with pytest.raises(BadClip, match="it has 2 frames, the clip 3"):
        published_tracks(path, "a", np.arange(4), None, attrs | {"source_frames": 3})
