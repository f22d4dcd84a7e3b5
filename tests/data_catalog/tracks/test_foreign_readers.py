"""Other people's readers on the files that we write, and ours on what they make."""

from __future__ import annotations

import json
from pathlib import Path

import motmetrics
import numpy as np
import pytest
from label_studio_tools.postprocessing.video import extract_key_frames
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from data_catalog.tracks.coco_shapes import run_length_mask, segmentation_quad
from data_catalog.tracks.foreign_files import Fields
from data_catalog.tracks.formats import read_videos, write_videos
from data_catalog.tracks.video_tracks import VideoTracks, quad_boxes
from tests.data_catalog.tracks.test_formats import sheared_clip, turned_clip, upright_clip


def test_motmetrics_reads_our_boxes_from_zero(tmp_path: Path) -> None:
    """Its loader takes 1 off x and y, as the benchmark counts pixels from 1."""
    clip = upright_clip()
    write_videos(tmp_path, [clip], "mot")
    table = motmetrics.io.loadtxt(str(tmp_path / clip.name / "gt" / "gt.txt"), fmt="mot15-2D")
    boxes = quad_boxes(clip.quads)
    for (frame, target), row in table.iterrows():
        np.testing.assert_allclose(row[["X", "Y", "Width", "Height"]], boxes[target - 1, frame - 1], atol=1e-3)
    assert len(table) == clip.present.sum()


def test_label_studios_own_interpolation_agrees_with_ours(tmp_path: Path) -> None:
    whole = upright_clip()
    clip = VideoTracks(whole.name, whole.quads, whole.labels, np.arange(20) % 4 == 0, (320, 240), 25.0, "d.mp4")
    write_videos(tmp_path / "ls.json", [clip, turned_clip()], "label_studio", "polygon")
    tasks = json.loads((tmp_path / "ls.json").read_text())
    for task, ours in zip(tasks, read_videos(tmp_path / "ls.json", "label_studio"), strict=True):
        frames = extract_key_frames(task["predictions"][0]["result"])
        for region, quads in zip(frames, ours.quads, strict=True):
            theirs = {row["frame"]: row for row in region["value"]["sequence"]}
            assert set(theirs) == set((np.flatnonzero(np.isfinite(quads[:, 0, 0])) + 1).tolist())
            for frame, row in theirs.items():
                corner = np.array([row["x"] * 3.2, row["y"] * 2.4])
                np.testing.assert_allclose(quads[frame - 1, 0], corner, atol=1e-3)
                side = np.linalg.norm(quads[frame - 1, 1] - quads[frame - 1, 0])
                assert side == pytest.approx(row["width"] * 3.2, abs=1e-3)


def test_pycocotools_reads_our_coco_file_and_finds_the_same_area(tmp_path: Path) -> None:
    clip = sheared_clip()
    write_videos(tmp_path / "vid.json", [clip], "coco_vid", "polygon")
    coco = COCO(str(tmp_path / "vid.json"))
    annotations = coco.loadAnns(coco.getAnnIds())
    assert len(annotations) == clip.present.sum()
    for one in annotations[::7]:
        frame = coco.loadImgs(one["image_id"])[0]["frame_id"]
        quad = clip.quads[0, frame]
        inside = (quad >= 0).all() and (quad <= [400, 200]).all()
        corners = np.roll(quad, -1, axis=0)
        area = abs((quad[:, 0] * corners[:, 1] - corners[:, 0] * quad[:, 1]).sum()) / 2
        if inside:  # pixels of the drawn polygon, off by about its outline
            assert coco.annToMask(one).sum() == pytest.approx(area, rel=0.06)


def test_pycocotools_takes_youtube_vis_polygons(tmp_path: Path) -> None:
    write_videos(tmp_path / "vis.json", [turned_clip()], "youtube_vis", "polygon")
    (track,) = json.loads((tmp_path / "vis.json").read_text())["annotations"]
    for polygons, area in list(zip(track["segmentations"], track["areas"], strict=True))[::9]:
        drawn = coco_mask.decode(coco_mask.frPyObjects(polygons, 240, 320))
        assert 0 < drawn.sum() < area * 1.2


@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_are_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((50 + seed, 70), np.uint8)
    mask[10 : 20 + 5 * seed, 15:44] = 1
    mask ^= rng.random(mask.shape) < 0.02
    packed = coco_mask.encode(np.asfortranarray(mask))
    given = {"size": packed["size"], "counts": packed["counts"].decode()}
    np.testing.assert_array_equal(run_length_mask(Fields(given, "here")), mask.astype(bool))
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], mask.T.ravel(), [2]]))))
    counts = runs.tolist() if mask[0, 0] == 0 else [0, *runs.tolist()]
    np.testing.assert_array_equal(run_length_mask(Fields(given | {"counts": counts}, "here")), mask.astype(bool))


def test_a_segmentation_becomes_the_box_around_its_pixels() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:50] = 1
    packed = coco_mask.encode(np.asfortranarray(mask))
    quad = segmentation_quad({"size": packed["size"], "counts": packed["counts"].decode()}, "here")
    assert quad is not None
    assert (quad.min(axis=0).tolist(), quad.max(axis=0).tolist()) == ([20, 10], [50, 30])
