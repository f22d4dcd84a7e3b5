"""Poses from a folder to the pages of a clip: in pixels of its frames, what is missing and beside the tube told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from data_catalog.catalog import Workspace
from flows.datasets.ingest import check_dataset
from flows.draw.paint import caption_words, paint_frame
from flows.draw.poses import COCO_BONES, POSE_COLOUR
from flows.report.clip_page import write_page
from flows.runs.clip_poses import off_tube, pose_stamps
from flows.runs.clip_tube import find_clip
from tests.support.tiny_poses import ASTRAY, CLIP, GONE, bodies, posed_workspace
from tests.support.tiny_workspace import DATASET, plan, run
from tests.support.view_pages import pages_of


@pytest.fixture(scope="module")
def posed(tiny_videos: Path, finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished workspace with poses of the held-out clip: no key is another one."""
    root, listing = posed_workspace(finished_workspace, tiny_videos, tmp_path_factory.mktemp("posed"))
    assert any("poses of 1 clips, 17 joints" in note for note in listing.notes)
    before, now = ({name: [job.key for job in stage.jobs.values()] for name, stage in plan(at).items()}
                   for at in (finished_workspace, root))  # fmt: skip
    assert now == before
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


def test_the_viewer_has_the_same(posed: Path) -> None:
    workspace = Workspace(posed)
    tube, *_ = find_clip(workspace, CLIP, DATASET, None, [])
    assert tube.view.poses is not None
    with pages_of(posed) as pages:
        found = pages.get("/api/clip", dataset=DATASET, clip=CLIP)["poses"]
        assert found == json.loads(json.dumps(tube.view.poses.as_json()))
        assert pages.get("/api/clip", dataset=DATASET, clip="diving_0002")["poses"] is None
    assert found["sentence"] == f"{sum(map(bool, found['joints']))} of 24 frames, {sum(found['off_tube'])} off the tube"


def test_pictures_draw_them_and_say_what_is_amiss(posed: Path) -> None:
    tube, *_ = find_clip(Workspace(posed), CLIP, DATASET, None, [])
    view, poses = tube.view, tube.view.poses
    assert poses is not None
    gone, off = int(np.flatnonzero(poses.missing)[0]), int(np.flatnonzero(poses.off_tube)[0])
    there = int(np.flatnonzero(~poses.missing & ~poses.off_tube)[0])
    for index, words in ((gone, "no pose"), (off, "pose off the tube"), (there, None)):
        said = [text for text, _ in caption_words(view, index)]
        assert [text for text in said if "pose" in text] == ([] if words is None else [words])
    green = [bool((paint_frame(view, index, 912) == POSE_COLOUR).all(axis=-1).any()) for index in (gone, off, there)]
    assert green == [False, False, True]


def test_the_report_shows_and_counts_them_and_is_drawn_anew_for_other_ones(posed: Path) -> None:
    summary = run(posed)
    assert summary.results_of is None  # that of the run before knew no poses
    text = Path(str(summary.report)).read_text()
    tube, *_ = find_clip(Workspace(posed), CLIP, DATASET, None, [])
    assert f"poses in {tube.view.poses.sentence}" in text  # type: ignore[union-attr]
    (pose_file,) = (posed.parent / "alphapose").glob("*.json")
    stamps = [pose_stamps(Workspace(posed), DATASET, [CLIP, "diving_0002"])]
    pose_file.touch()
    stamps.append(pose_stamps(Workspace(posed), DATASET, [CLIP, "diving_0002"]))
    assert len(stamps[0]) == 1
    assert stamps[0] != stamps[1]


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
