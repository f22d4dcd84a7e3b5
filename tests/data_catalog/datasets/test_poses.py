"""Poses as other programs write them: one array whatever the format, and what is missing or wrong counted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from data_catalog.datasets import DatasetError
from data_catalog.datasets.poses.pose_files import BadPoses, read_poses
from data_catalog.datasets.poses.pose_layer import add_poses, pose_file
from data_catalog.datasets.records import ClipRecord, Listing

JOINTS = 17


def pose(number: int) -> NDArray[np.float32]:
    return np.random.default_rng(number).uniform(1, 99, (JOINTS, 3)).astype(np.float32)


def keypoints(number: int) -> list[float]:
    return [float(value) for value in pose(number).ravel()]


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def alphapose(folder: Path) -> Path:
    """Frames 0, 2 and 3; in frame 2 three persons, the second of them the surest."""
    rows = [(0, 0, 2.1), (2, 7, 1.0), (2, 2, 2.9), (2, 8, 0.4), (3, 3, 2.0)]
    return write(folder / "a.json", [
        {"image_id": f"{frame}.jpg", "category_id": 1, "keypoints": keypoints(drawn), "score": score, "box": [0] * 4}
        for frame, drawn, score in rows
    ])  # fmt: skip


def coco(folder: Path) -> Path:
    """The same as a COCO dataset, whose images are numbered anyhow and named in order."""
    images = [{"id": 70 - 7 * frame, "file_name": f"a/{frame + 1:06d}.png"} for frame in (2, 0, 3, 1)]
    number = {image["file_name"]: image["id"] for image in images}
    people = [
        {"image_id": number[f"a/{frame + 1:06d}.png"], "keypoints": keypoints(drawn), "score": score}
        for frame, drawn, score in ((0, 0, 0.5), (2, 7, 0.2), (2, 2, 0.9), (2, 8, 0.1), (3, 3, 0.5))
    ]
    return write(folder / "b.json", {"images": images, "annotations": people, "categories": []})


def array(folder: Path) -> Path:
    found = np.stack([pose(0), np.full((JOINTS, 3), np.nan), pose(2), pose(3)])
    np.save(folder / "c.npy", found)
    return folder / "c.npy"


@pytest.mark.parametrize("written", [alphapose, coco, array])
def test_every_format_is_the_same_array(tmp_path: Path, written: Any) -> None:
    track = read_poses(written(tmp_path), tmp_path)
    assert track.joints.dtype == np.float32
    assert track.there.tolist() == [True, False, True, True]
    for frame in (0, 2, 3):
        np.testing.assert_array_equal(track.joints[frame], pose(frame))
    assert track.crowded == (0 if written is array else 1)


def test_arrays_without_confidence_are_sure_of_all_joints(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(24, dtype=np.int64).reshape(3, 4, 2))
    track = read_poses(tmp_path / "a.npy", tmp_path)
    assert track.joints.shape == (3, 4, 3)
    assert (track.joints[..., 2] == 1).all()
    assert track.joints[1, 0].tolist() == [8, 9, 1]


BROKEN: dict[str, tuple[Any, str]] = {
    "text": ("{", "damaged or no JSON"),
    "nothing": ([], "holds no pose"),
    "no number": ([{"image_id": "a.jpg", "keypoints": [1, 2, 3]}], "isn't understood as poses"),
    "no triples": ([{"image_id": "1.jpg", "keypoints": [1, 2]}], "isn't understood as poses"),
    "words": ([{"image_id": "1.jpg", "keypoints": ["a", "b", "c"]}], "isn't understood as poses"),
    "no list": ([7], "isn't understood as poses"),
    "a number": (7, "isn't understood as poses"),
    "no images": ({"annotations": []}, "isn't understood as poses"),
    "far away": ([{"image_id": "999999999.jpg", "keypoints": [1, 2, 3]}], "1000000000 frames of 1 joints"),
    "two kinds": ([{"image_id": n, "keypoints": [1, 2, 3] * n} for n in (1, 2)], "of 1 and of 2 joints"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_no_file_of_poses_is_one_sentence(tmp_path: Path, how: str) -> None:
    content, why = BROKEN[how]
    (tmp_path / "a.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(BadPoses, match=why) as told:
        read_poses(tmp_path / "a.json", tmp_path)
    assert str(told.value).startswith("a.json")


def test_arrays_of_another_shape_and_files_elsewhere_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 17, 4), np.float32))
    with pytest.raises(BadPoses, match=r"float32 of shape \(4, 17, 4\); save AlphaPose"):
        read_poses(tmp_path / "a.npy", tmp_path)
    np.save(tmp_path / "b.npy", np.array([[{"a": 1}]], object), allow_pickle=True)
    with pytest.raises(BadPoses, match="holds Python objects and was not opened"):
        read_poses(tmp_path / "b.npy", tmp_path)
    inside = tmp_path / "poses"
    inside.mkdir()
    alphapose(tmp_path)
    os.symlink(tmp_path / "a.json", inside / "a.json")
    with pytest.raises(BadPoses, match="is a link that leaves the folder"):
        read_poses(inside / "a.json", inside)
    os.mkfifo(inside / "pipe.json")
    with pytest.raises(BadPoses, match="pipe"):
        read_poses(inside / "pipe.json", inside)


def test_missing_and_wrong_ones_are_counted(tmp_path: Path) -> None:
    alphapose(tmp_path)
    np.save(tmp_path / "b.npy", np.full((5, JOINTS, 2), 3.0))
    np.save(tmp_path / "c.npy", np.zeros((5, 3, 2)))
    (tmp_path / "d.json").write_text("{")
    clips = tuple(ClipRecord(name, f"{name}.mp4", "train", extra={"kept": 1}) for name in "abcdef")
    listing = add_poses(Listing(clips[:5], missing=clips[5:]), tmp_path)
    assert {clip.clip_id: pose_file(clip) for clip in listing.annotated} == {
        "a": "a.json", "b": "b.npy", "c": None, "d": None, "e": None, "f": None
    }  # fmt: skip
    assert all((clip.extra or {})["kept"] == 1 for clip in listing.annotated)
    assert listing.notes == (f"poses of 2 clips, 17 joints in 9 frames, were read from {tmp_path.name}/",)
    assert list(listing.warnings) == [
        f"2 of 6 clips have no poses in {tmp_path.name}/: e, f",
        "the poses of 2 clips are left out; the first, clip 'd': d.json is damaged or no JSON; save it again",
        "1 of 9 frames have no pose, in 1 clips; most of them, 1, in clip 'a'",
        "in 1 frames more than one person was found; the surest was taken, whoever it is",
    ]


def test_a_folder_without_a_clips_file_is_refused(tmp_path: Path) -> None:
    clips = Listing((ClipRecord("a", "a.mp4", "train"),))
    with pytest.raises(DatasetError, match=r"no file of .* is called as a clip is; name them .* a\.json"):
        add_poses(clips, tmp_path)
    with pytest.raises(DatasetError, match="there is no folder"):
        add_poses(clips, tmp_path / "elsewhere")
