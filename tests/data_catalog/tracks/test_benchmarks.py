"""Clips with ground truth in the layouts of tracking benchmarks."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from data_catalog.tracks.benchmarks import find_tracking_clips, mask_boxes
from data_catalog.tracks.text import TrackFileError
from tasks.assessment.one_pass import EvaluationConfig, load_sample


def images(folder: Path, count: int = 3, end: str = "jpg") -> None:
    folder.mkdir(parents=True)
    for k in range(count):
        cv2.imwrite(str(folder / f"{k + 1:04d}.{end}"), np.full((40, 60, 3), 40 * k, np.uint8))


def test_csv_with_rotated_boxes_and_masks(tmp_path):
    images(tmp_path / "run")
    header = "frame,x,y,w,h,x1,y1,x2,y2,x3,y3,x4,y4"
    quad = "5,5,5,15,15,15,15,5"   # counter-clockwise
    (tmp_path / "run_gt.csv").write_text(f"{header}\n0,5,5,10,10,{quad}\n1,,,,,,,,,,,,\n2,7,5,10,10,{quad}\n")
    mask = np.zeros((3, 40, 60), bool)
    mask[0, 5:15, 5:15] = True
    np.savez(tmp_path / "run_mask.npz", bits=np.packbits(mask, axis=-1), shape=mask.shape)
    [clip] = find_tracking_clips(tmp_path)
    assert (clip.name, clip.source) == ("run", tmp_path / "run")
    np.testing.assert_array_equal(clip.boxes, [[5, 5, 10, 10], [np.nan] * 4, [7, 5, 10, 10]])
    assert clip.quads[0].tolist() == [[15, 5], [15, 15], [5, 15], [5, 5]]
    np.testing.assert_array_equal(clip.read_masks(), mask)


def test_otb_counts_from_one(tmp_path):
    images(tmp_path / "Walk" / "img")
    (tmp_path / "Walk" / "groundtruth_rect.txt").write_text("1,1,20,10\n3\t1\t20\t10\n0,0,0,0\n")
    [clip] = find_tracking_clips(tmp_path)
    assert clip.source == tmp_path / "Walk" / "img"
    np.testing.assert_array_equal(clip.boxes, [[0, 0, 20, 10], [2, 0, 20, 10], [np.nan] * 4])
    np.testing.assert_array_equal(clip.quads[1], [[2, 0], [22, 0], [22, 10], [2, 10]])
    assert np.isnan(clip.quads[2]).all()
    assert clip.read_masks is None


def test_otb_tells_of_several_targets_in_files_of_their_own(tmp_path):
    images(tmp_path / "Jogging" / "img")
    for number in (1, 2):
        (tmp_path / "Jogging" / f"groundtruth_rect.{number}.txt").write_text(f"{number},1,20,10\n" * 3)
    clips = find_tracking_clips(tmp_path)
    assert [clip.name for clip in clips] == ["Jogging-1", "Jogging-2"]
    assert [clip.boxes[0, 0] for clip in clips] == [0, 1]
    assert {clip.source for clip in clips} == {tmp_path / "Jogging" / "img"}


@pytest.mark.parametrize(("begins", "first"), [(298, 2), (300, 0)])
def test_otb_tells_of_a_part_of_some_sequences(tmp_path, begins, first):
    """David's truth begins with image 300, whether or not the images before it are there."""
    folder = tmp_path / "David" / "img"
    folder.mkdir(parents=True)
    for k in range(begins, 306):
        cv2.imwrite(str(folder / f"{k:04d}.png"), np.full((40, 60, 3), k - 290, np.uint8))
    (tmp_path / "David" / "groundtruth_rect.txt").write_text("5,5,20,10\n" * 4)   # of images 300 to 303
    [clip] = find_tracking_clips(tmp_path)
    assert (clip.first, clip.part) == (first, True)
    sample = load_sample(clip, EvaluationConfig(length=4, size_wh=None))
    assert sample.frames[:, 0, 0, 0].tolist() == [10, 11, 12, 13]
    (tmp_path / "David" / "groundtruth_rect.txt").write_text("5,5,20,10\n" * 7)
    [longer] = find_tracking_clips(tmp_path)
    with pytest.raises(ValueError, match="'David' has 6 frames and ground truth for 7"):
        load_sample(longer, EvaluationConfig(length=4, size_wh=None))
    for image in sorted(folder.iterdir())[: first + 1]:
        image.unlink()
    with pytest.raises(TrackFileError, match="has no image number 300, with which the ground truth of OTB's David"):
        find_tracking_clips(tmp_path)


def test_vot_polygons_and_tags(tmp_path):
    images(tmp_path / "ball" / "color")
    (tmp_path / "ball" / "groundtruth.txt").write_text("10,0,20,10,10,20,0,10\n10,0,20,10,10,20,0,10\n0\n")
    (tmp_path / "ball" / "occlusion.tag").write_text("0\n1\n0\n")
    (tmp_path / "ball" / "camera_motion.label").write_text("0\n0\n0\n")
    [clip] = find_tracking_clips(tmp_path)
    assert clip.attributes == {"occlusion"}
    np.testing.assert_array_equal(clip.boxes[0], [0, 0, 20, 20])
    assert clip.quads[0].tolist() == [[10, 0], [20, 10], [10, 20], [0, 10]]
    assert np.isnan(clip.boxes[2]).all()


def vot_mask(mask: np.ndarray, left: int, top: int, width: int, height: int) -> str:
    """A mask (H, W) as VOT writes what lies in a rectangle: runs row by row, beginning with zeros."""
    flat, runs, value = mask[top : top + height, left : left + width].ravel(), [0], False
    for pixel in flat:
        if bool(pixel) != value:
            runs.append(0)
            value = not value
        runs[-1] += 1
    return "m" + ",".join(map(str, [left, top, width, height, *runs]))


def test_vot_masks(tmp_path):
    images(tmp_path / "ball" / "color")
    mask = np.zeros((40, 60), bool)
    mask[10:20, 15:40] = True
    mask[12, 20] = False
    lines = [vot_mask(mask, 15, 10, 25, 10), vot_mask(mask, 10, 4, 45, 30), "m0,0,0,0"]
    (tmp_path / "ball" / "groundtruth.txt").write_text("\n".join(lines) + "\n")
    [clip] = find_tracking_clips(tmp_path)
    np.testing.assert_array_equal(clip.read_masks(), [mask, mask, np.zeros_like(mask)])
    np.testing.assert_array_equal(clip.boxes, [[15, 10, 25, 10], [15, 10, 25, 10], [np.nan] * 4])
    np.testing.assert_allclose(sorted(clip.quads[1].tolist()), [[15, 10], [15, 20], [40, 10], [40, 20]], atol=1e-4)
    assert np.isnan(clip.quads[2]).all()


def test_davis_masks(tmp_path):
    images(tmp_path / "JPEGImages" / "480p" / "dog")
    folder = tmp_path / "Annotations" / "480p" / "dog"
    folder.mkdir(parents=True)
    for k in range(3):
        mask = np.zeros((40, 60), np.uint8)
        mask[10:20, 5 + k : 25 + k] = 255 if k < 2 else 0
        cv2.imwrite(str(folder / f"{k:05d}.png"), mask)
    [clip] = find_tracking_clips(tmp_path)
    np.testing.assert_array_equal(clip.boxes, [[5, 10, 20, 10], [6, 10, 20, 10], [np.nan] * 4])
    np.testing.assert_allclose(sorted(clip.quads[0].tolist()), [[5, 10], [5, 20], [25, 10], [25, 20]], atol=1e-4)
    assert clip.read_masks().sum() == 400


def test_a_rotated_rectangle_holds_whole_pixels():
    mask = np.zeros((30, 30), bool)
    mask[4, 7] = True
    box, quad = mask_boxes(mask)
    assert box.tolist() == [7, 4, 1, 1]
    assert {tuple(corner) for corner in quad.round(4).tolist()} == {(7, 4), (8, 4), (8, 5), (7, 5)}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "holds no clips with ground truth"),
        ({"a_gt.csv": "frame,x,y,w,h\n0,1,2,3,4\n"}, "has no video beside it, such as a.mp4"),
        ({"a_gt.csv": "x,y,w,h\n", "a.mp4": ""}, "begins with the columns x, y, w, h, not frame"),
        ({"a_gt.csv": "frame,x,y,w,h\n0,1,2,3,4\n2,1,2,3,4\n", "a.mp4": ""}, "every frame in order"),
        ({"a_gt.csv": "frame,x,y,w,h\n0,1,2,three,4\n", "a.mp4": ""}, "not 5 numbers"),
        ({"s/groundtruth_rect.txt": "1,2,3\n"}, "has 3 numbers; 4"),
        ({"s/groundtruth.txt": "m1,2,3,four\n"}, "line 1 is no mask: 'm1,2,3,four'"),
        ({"s/groundtruth.txt": "m1,2,3,4,0,12\nm1,2,3,4,0,13\n"}, "line 2 has runs of 13 pixels in a rect"),
        ({"Annotations/480p/s/0.png": ""}, "have no images at"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, files, told):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(TrackFileError, match=told):
        find_tracking_clips(tmp_path)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(TrackFileError, match="there is no folder"):
        find_tracking_clips(tmp_path / "nowhere")


def test_the_real_clips(shared):
    clips = {clip.name: clip for clip in find_tracking_clips(shared / "real")}
    assert set(clips) == {"Crossing", "bmx-trees", "breakdance", "parkour"}
    for clip in clips.values():
        if clip.read_masks is None:
            continue
        mask = clip.read_masks()[0]
        box, quad = mask_boxes(mask)
        np.testing.assert_allclose(box, clip.boxes[0], atol=1e-6)
        wanted = clip.quads[0]
        assert min(np.abs(np.roll(quad, k, axis=0) - wanted).max() for k in range(4)) < 0.02, clip.name
