"""Poses from a folder to the clip page: in pixels of its frames, what is missing and what is beside the tube told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from data_catalog.catalog import Workspace
from data_catalog.synthetic.sport import read_ground_truth
from flows.datasets.ingest import check_dataset, ingest
from flows.report.clip_page import write_page
from flows.runs.clip_poses import COCO_BONES, off_tube
from flows.runs.clip_tube import find_clip
from tests.support.tiny_workspace import DATASET, copy_workspace, plan

CLIP = "diving_0003"
GONE, ASTRAY = range(10, 20), range(40, 45)


def bodies(videos: Path) -> np.ndarray:
    """Seventeen joints (T, 17, 2) spread within the athlete's true quad of each frame of the video."""
    quads = read_ground_truth(videos / "ground_truth" / f"{CLIP}.npz").quads[0]
    share = np.random.default_rng(0).dirichlet(np.full(4, 0.5), 17)
    return np.einsum("jk,tkc->tjc", share, quads)


def write_alphapose(path: Path, joints: np.ndarray) -> None:
    rows = []
    for frame, pose in enumerate(joints):
        if frame in GONE:
            continue
        keypoints = np.concatenate([pose + 1000 * (frame in ASTRAY), np.full((17, 1), 0.8)], axis=1)
        rows.append({"image_id": f"{frame}.jpg", "keypoints": keypoints.ravel().round(3).tolist(), "score": 2.0})
    path.write_text(json.dumps(rows))


@pytest.fixture(scope="module")
def posed(tiny_videos: Path, finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished workspace with poses of the held-out clip: no key is another one."""
    folder = tmp_path_factory.mktemp("posed")
    root = copy_workspace(finished_workspace, folder / "ws")
    poses = folder / "alphapose"
    poses.mkdir()
    write_alphapose(poses / f"{CLIP}.json", bodies(tiny_videos))
    before = {name: {job.key for job in stage.jobs.values()} for name, stage in plan(root).items()}
    listing = ingest(Workspace.open(root), DATASET, "procedural", tiny_videos, poses=poses)
    assert any("poses of 1 clips, 17 joints" in note for note in listing.notes)
    assert {name: {job.key for job in stage.jobs.values()} for name, stage in plan(root).items()} == before
    return root


def test_the_clips_page_has_them_in_its_own_pixels(posed: Path, tiny_videos: Path, tmp_path: Path) -> None:
    workspace = Workspace(posed)
    tube, plans, config = find_clip(workspace, CLIP, DATASET, None, [])
    text = write_page(workspace, tube, plans, config, tmp_path).read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))  # type: ignore[union-attr]
    source = workspace.store.read("normalize", plans["normalize"].jobs[CLIP].key)
    index, true = source.arrays["source_index"], bodies(tiny_videos)
    scale = np.array([data["width"], data["height"]]) / [source.attrs["source_width"], source.attrs["source_height"]]
    joints, off = data["poses"]["joints"], data["poses"]["off_tube"]
    gone = [frame for frame, row in enumerate(index) if row in GONE]
    astray = [frame for frame, row in enumerate(index) if row in ASTRAY]
    assert gone
    assert astray
    assert [frame for frame, found in enumerate(joints) if found is None] == gone
    for frame, row in enumerate(index):
        if frame not in (*gone, *astray):
            np.testing.assert_allclose(np.array(joints[frame])[:, :2], true[row] * scale, atol=0.01)
    assert {frame for frame in astray if off[frame]} == set(astray)
    assert f"{len(index) - len(gone)} of {len(index)} frames, {sum(off)} off the tube" in text
    assert data["poses"]["bones"] == [list(bone) for bone in COCO_BONES]


def test_a_clip_without_poses_has_no_layer(posed: Path, tmp_path: Path) -> None:
    workspace = Workspace(posed)
    tube, plans, config = find_clip(workspace, "diving_0002", DATASET, None, [])
    text = write_page(workspace, tube, plans, config, tmp_path).read_text()
    assert '"poses":null' in text
    assert "off the tube<" not in text


def test_the_dataset_is_read_again_with_them(posed: Path) -> None:
    """As it was ingested; and where the folder is gone, it is said."""
    _, listing = check_dataset(Workspace(posed), DATASET)
    assert any("clips have no poses in alphapose/" in warning for warning in listing.warnings)


def test_a_pose_is_off_the_tube_where_the_middle_of_its_seen_joints_is() -> None:
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
    quads = np.stack([[square, square, square, square], [square + 50] * 4])
    pose = np.array([[2, 2, 1], [8, 8, 1]], np.float32)
    unseen = np.array([[2, 2, 1], [900, 900, 0]], np.float32)
    beside, second = (pose + np.array(move) for move in ((20, 0, 0), (50, 50, 0)))
    joints = np.stack([pose, beside, second, unseen]).astype(np.float32)
    assert off_tube(joints, quads).tolist() == [False, True, False, False]
    joints[1] = np.nan
    assert not off_tube(joints, quads).any()
