"""Packages of the tools themselves, on what we write, and ours on what they write or ship.

`cvat-sdk` is CVAT's client, whose classes refuse what its server would; `trackeval` is the evaluation of MOTChallenge
and YouTube-VIS; `sahi` writes COCO-VID; `motmetrics` ships sequences of MOTChallenge. Larger ones: test_tools_apart.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import motmetrics
import numpy as np
import pytest
from cvat_sdk import models
from cvat_sdk.api_client import Configuration, exceptions
from cvat_sdk.api_client.model_utils import validate_and_convert_types
from pycocotools import mask as coco_mask
from sahi.utils import coco as sahi_coco
from trackeval import datasets as trackeval_datasets

from data_catalog.tracks.formats import read_videos, write_videos
from data_catalog.tracks.video_tracks import box_quads, quad_boxes
from tests.data_catalog.tracks.test_formats import sheared_clip, turned_clip, upright_clip

SHIPPED = Path(motmetrics.__file__).parent / "data"


def as_cvat_takes_it(content: Any) -> Any:
    """The same as CVAT's own classes; its REST API wants labels by number, of its own."""
    for track in content["tracks"]:
        track["label_id"] = len(track.pop("label"))
    wanted = (models.LabeledDataRequest,)
    return validate_and_convert_types(content, wanted, ["content"], True, True, Configuration(host="http://nowhere"))


def test_cvats_own_classes_take_what_we_write(tmp_path: Path) -> None:
    clips = [upright_clip(), turned_clip(), sheared_clip()]
    for file, kind in zip(write_videos(tmp_path, clips, "cvat_json", "polygon"), ("rectangle", "rectangle", "polygon"),
                          strict=True):  # fmt: skip
        (content,) = json.loads(file.read_text())
        assert {shape.type.value for track in as_cvat_takes_it(content).tracks for shape in track.shapes} == {kind}
    (content,) = json.loads((tmp_path / "dive_0001.json").read_text())
    content["tracks"][0]["shapes"][0]["type"] = "box"  # which it is called in the XML
    with pytest.raises(exceptions.ApiValueError, match="must be one of"):
        as_cvat_takes_it(content)


def cvat_shape(frame: int, left: float, *, outside: bool = False, turn: float = 0.0) -> models.TrackedShapeRequest:
    return models.TrackedShapeRequest(
        type="rectangle", frame=frame, points=[left, 10.0, left + 20, 40.0], outside=outside, rotation=turn
    )


def test_what_cvats_classes_write_is_read_by_its_rules(tmp_path: Path) -> None:
    """A task that begins at frame 10 of the video and takes every fifth: 0, 1, … of the task are 10, 15, … of it."""
    shapes = [cvat_shape(1, 0.0, turn=350), cvat_shape(3, 40.0, turn=10), cvat_shape(4, 40.0, outside=True)]
    track = models.LabeledTrackRequest(label_id=7, frame=1, group=0, source="manual", shapes=shapes, attributes=[])
    (tmp_path / "annotations.json").write_text(
        json.dumps(models.LabeledDataRequest(version=3, tags=[], shapes=[], tracks=[track]).to_dict())
    )
    said = {"name": "dive", "data": {"start_frame": 10, "stop_frame": 34, "frame_filter": "step=5"}}
    (tmp_path / "task.json").write_text(json.dumps(said))
    (clip,) = read_videos(tmp_path, "cvat_json")
    assert (clip.name, clip.labels, clip.quads.shape[1]) == ("dive", ("7",), 35)
    assert np.flatnonzero(clip.present[0]).tolist() == list(range(15, 30))  # hidden from frame 4 · 5 + 10 on
    np.testing.assert_allclose(clip.quads[0, 15:25].mean(axis=1)[:, 0], 10 + 40 * np.arange(10) / 10)
    # From 350° to 10° is 20° on: in the middle, frame 20, it stands upright; 350° leans its upper side up to the right.
    np.testing.assert_allclose(clip.quads[0, 20], box_quads([20.0, 10.0, 40.0, 40.0]), atol=1e-9)
    assert clip.quads[0, 15, 0, 1] > clip.quads[0, 15, 1, 1]


def test_coco_vid_that_sahi_wrote(tmp_path: Path) -> None:
    t = np.arange(5)
    boxes = np.stack([30 + 6 * t, 20 + 2 * t, 40 + t, 80 - t], axis=1)  # x, y, width, height
    written = sahi_coco.CocoVid(name="set")
    written.add_categories_from_coco_category_list([{"id": 1, "name": "athlete", "supercategory": "person"}])
    for name in ("dive.v2", "dive_b"):
        video = sahi_coco.CocoVideo(name=name, width=320, height=240)
        for frame in t.tolist():
            image = sahi_coco.CocoVidImage(f"{frame:06d}.jpg", height=240, width=320, frame_id=frame)
            for instance in (4, 9)[: 2 if frame in (2, 3) else 1]:
                box = [*(boxes[frame, :2] + instance).tolist(), *boxes[frame, 2:].tolist()]
                image.add_annotation(sahi_coco.CocoVidAnnotation(1, "athlete", box, instance_id=instance))
            video.add_cocovidimage(image)
        written.add_video(video)
    (tmp_path / "vid.json").write_text(json.dumps(written.json))
    clips = read_videos(tmp_path / "vid.json", "coco_vid")
    assert [clip.name for clip in clips] == ["dive.v2", "dive_b"]
    for clip in clips:
        assert (clip.labels, clip.frame_wh, clip.fps) == (("athlete", "athlete"), (320, 240), None)
        np.testing.assert_allclose(quad_boxes(clip.quads[0]), boxes + np.array([4, 4, 0, 0]))
        assert np.flatnonzero(clip.present[1]).tolist() == [2, 3]


@pytest.mark.parametrize("name", ["TUD-Campus", "TUD-Stadtmitte"])
@pytest.mark.parametrize("file", ["gt", "test"])
def test_sequences_that_motmetrics_ships(name: str, file: str) -> None:
    """Truth and a tracker's results of MOT15, ten columns each; motmetrics takes 1 off x and y as we do."""
    path = SHIPPED / name / f"{file}.txt"
    (clip,) = read_videos(path, "mot")
    table = motmetrics.io.loadtxt(str(path), fmt="mot15-2D")
    assert clip.present.sum() == len(table)
    for (frame, target), row in table.iterrows():
        quad = clip.quads[clip.labels.index(str(target)), frame - 1]
        np.testing.assert_allclose(quad_boxes(quad), row[["X", "Y", "Width", "Height"]].astype(float), atol=1e-9)


def test_trackeval_reads_our_motchallenge(tmp_path: Path) -> None:
    clips = [upright_clip(), upright_clip("dive 0009")]
    write_videos(tmp_path / "gt", clips, "mot")
    (tmp_path / "trackers").mkdir()
    dataset = trackeval_datasets.MotChallenge2DBox({
        "GT_FOLDER": str(tmp_path / "gt"), "TRACKERS_FOLDER": str(tmp_path / "trackers"), "SKIP_SPLIT_FOL": True,
        "SEQ_INFO": {clip.name: None for clip in clips}, "PRINT_CONFIG": False, "TRACKERS_TO_EVAL": [],
    })  # fmt: skip
    for clip in clips:
        raw = dataset._load_raw_file("", clip.name, is_gt=True)
        assert raw["num_timesteps"] == clip.quads.shape[1]  # out of seqinfo.ini
        for frame, (ids, boxes) in enumerate(zip(raw["gt_ids"], raw["gt_dets"], strict=True)):
            there = np.flatnonzero(clip.present[:, frame])
            assert ids.tolist() == (there + 1).tolist()
            np.testing.assert_allclose(boxes, quad_boxes(clip.quads[there, frame]) + np.array([1, 1, 0, 0]), atol=1e-4)
            assert raw["gt_extras"][frame]["zero_marked"].all()  # 1: to be considered


def test_trackeval_reads_our_youtube_vis(tmp_path: Path) -> None:
    clips = [turned_clip(), upright_clip()]
    write_videos(tmp_path / "gt" / "youtube_vis_train" / "all.json", clips, "youtube_vis", "polygon")
    (tmp_path / "trackers" / "youtube_vis_train").mkdir(parents=True)
    dataset = trackeval_datasets.YouTubeVIS({
        "GT_FOLDER": f"{tmp_path}/gt/", "TRACKERS_FOLDER": f"{tmp_path}/trackers/",
        "SPLIT_TO_EVAL": "train", "PRINT_CONFIG": False, "TRACKERS_TO_EVAL": [],
    })  # fmt: skip
    assert dataset.seq_list == [clip.name for clip in clips]
    for clip in clips:
        raw = dataset._load_raw_file("", clip.name, is_gt=True)
        assert [len(ids) for ids in raw["gt_ids"]] == clip.present.sum(axis=0).tolist()
        middle = coco_mask.decode(raw["gt_dets"][8][0])[..., 0]
        assert middle.shape == (240, 320)
        x, y = clip.quads[0, 8].mean(axis=0)
        rows, columns = np.nonzero(middle)
        assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((x, y), abs=0.6)
