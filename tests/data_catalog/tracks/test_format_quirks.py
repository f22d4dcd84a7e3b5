"""What files of the tools hold besides the plain case, each as the tool writes it; numbers are by hand."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_catalog.tracks.formats import read_videos, write_videos
from data_catalog.tracks.text import TrackFileError
from data_catalog.tracks.video_tracks import VideoTracks, quad_boxes
from tests.data_catalog.tracks.test_formats import OF_VIDEOS, place, upright_clip

TASK = (
    "<task><id>{id}</id><name>{name}</name><size>{size}</size><subset>{subset}</subset><start_frame>{start}</start_frame>"
    "<stop_frame>{stop}</stop_frame><frame_filter>{filter}</frame_filter><source>{name}.mp4</source>"
    "<original_size><width>640</width><height>360</height></original_size></task>"
)
BOX = '<box frame="{}" keyframe="{}" outside="{}" occluded="0" xtl="{}" ytl="5.00" xbr="{}" ybr="25.00"></box>'


def cvat_box(frame: int, left: float, *, keyframe: int = 1, outside: int = 0) -> str:
    return BOX.format(frame, keyframe, outside, left, left + 10)


def cvat_file(folder: Path, head: str, *tracks: str, name: str = "annotations.xml") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"<annotations><version>1.1</version><meta>{head}</meta>{''.join(tracks)}</annotations>")
    return file


def lefts(clip: VideoTracks, target: int = 0) -> dict[int, float]:
    """Frame → left edge, of the frames in which a target is there."""
    there = np.flatnonzero(clip.present[target]).tolist()
    return dict(zip(there, quad_boxes(clip.quads[target, there])[:, 0].round(6).tolist(), strict=True))


def test_a_cvat_task_of_a_part_of_the_video_and_every_third_frame(tmp_path: Path) -> None:
    """CVAT lists the frames that the task has, by their number in the video, keyframes or not."""
    head = TASK.format(id=5, name="v1", size=4, subset="default", start=10, stop=19, filter="step=3")
    boxes = cvat_box(10, 30), cvat_box(13, 60, keyframe=0), cvat_box(16, 90), cvat_box(19, 90, outside=1)
    (clip,) = read_videos(cvat_file(tmp_path, head, f'<track id="0" label="a">{"".join(boxes)}</track>'), "cvat_xml")
    assert (clip.name, clip.video, clip.frame_wh, clip.quads.shape[1]) == ("v1", "v1.mp4", (640, 360), 20)
    assert lefts(clip) == {10: 30, 11: 40, 12: 50, 13: 60, 14: 70, 15: 80, 16: 90, 17: 90, 18: 90}
    assert clip.drawn is not None
    assert np.flatnonzero(clip.drawn).tolist() == [10, 16, 19]


def test_a_cvat_job_says_its_size_behind_itself_and_no_name(tmp_path: Path) -> None:
    head = (
        "<job><id>7</id><size>5</size><start_frame>4</start_frame><stop_frame>8</stop_frame></job>"
        "<original_size><width>320</width><height>240</height></original_size>"
    )
    cvat_file(tmp_path / "dive_0001", head, f'<track id="0" label="a">{cvat_box(4, 1)}</track>')
    (clip,) = read_videos(tmp_path, "cvat_xml")
    assert (clip.name, clip.frame_wh) == ("dive_0001", (320, 240))
    assert list(lefts(clip)) == [4, 5, 6, 7, 8]


def test_tasks_of_a_cvat_project_are_numbered_one_behind_the_other(tmp_path: Path) -> None:
    """Within a subset: the second begins where start + step · size of the first ends; another subset begins anew."""
    tasks = [
        TASK.format(id=1, name="one", size=4, subset="train", start=2, stop=11, filter="step=3"),
        TASK.format(id=2, name="two", size=6, subset="train", start=0, stop=5, filter=""),
        TASK.format(id=3, name="three", size=6, subset="test", start=0, stop=5, filter=""),
    ]
    boxes = {1: cvat_box(5, 10), 2: cvat_box(14 + 3, 20), 3: cvat_box(2, 30)}
    tracks = [f'<track id="0" label="a" task_id="{task}" subset="s">{box}</track>' for task, box in boxes.items()]
    head = f"<project><id>9</id><tasks>{''.join(tasks)}</tasks></project>"
    one, two, three = read_videos(cvat_file(tmp_path, head, *tracks), "cvat_xml")
    assert (min(lefts(one)), min(lefts(two)), min(lefts(three))) == (5, 3, 2)
    assert [clip.quads.shape[1] for clip in (one, two, three)] == [12, 6, 6]
    early = tracks[1].replace('frame="17"', 'frame="3"')
    with pytest.raises(TrackFileError, match="frames are numbered from 14 on, a track has one before"):
        read_videos(cvat_file(tmp_path, head, tracks[0], early, name="early.xml"), "cvat_xml")


def test_cvat_skeletons_have_tracks_inside_of_theirs(tmp_path: Path) -> None:
    head = TASK.format(id=5, name="v1", size=2, subset="", start=0, stop=1, filter="")
    points = '<points frame="0" outside="0" occluded="0" keyframe="1" points="4.00,5.00" z_order="0"></points>'
    inside = f'<track id="0" label="knee">{points}</track>'
    skeleton = f'<track id="1" label="s"><skeleton frame="0" keyframe="1">{points}</skeleton>{inside}</track>'
    box = f'<track id="0" label="a">{cvat_box(0, 3)}</track>'
    (clip,) = read_videos(cvat_file(tmp_path, head, skeleton, box), "cvat_xml")
    assert clip.labels == ("a",)
    assert clip.notes == ("1 tracks of skeleton hold no box and were left out",)


def keyframe(frame: int, x: float, **others: Any) -> dict[str, Any]:
    return {"frame": frame, "enabled": True, "x": x, "y": 50, "width": 10, "height": 20, "rotation": 0} | others


def region(*sequence: dict[str, Any], count: int = 8) -> dict[str, Any]:
    value = {"sequence": list(sequence), "framesCount": count, "labels": ["athlete"]}
    return {"id": "q", "from_name": "box", "to_name": "video", "type": "videorectangle", "value": value}


def label_studio(folder: Path, *tasks: dict[str, Any]) -> VideoTracks:
    (folder / "ls.json").write_text(json.dumps(tasks))
    (clip,) = read_videos(folder / "ls.json", "label_studio", (200, 100))
    return clip


def test_label_studio_without_data_with_a_rectangle_that_was_drawn_upwards(tmp_path: Path) -> None:
    up = region(keyframe(2, 10, height=-20), keyframe(4, 20, height=-20, enabled=False), keyframe(7, 40))
    clip = label_studio(tmp_path, {"annotations": [{"id": "1", "result": [up]}]})
    assert (clip.name, lefts(clip)) == ("ls-0", {1: 20, 2: 30, 3: 40, 6: 80, 7: 80})
    assert clip.quads[0, 1].tolist() == [[20, 30], [40, 30], [40, 50], [20, 50]]  # clockwise from the upper left


def test_label_studios_angles_go_the_shorter_way(tmp_path: Path) -> None:
    """From 170° to -170° over 180°, about the corner: in the middle the rectangle lies to the upper left of it."""
    clip = label_studio(tmp_path, {"annotations": [
        {"result": [region(keyframe(1, 50, rotation=170), keyframe(3, 50, rotation=-170))]}
    ]})  # fmt: skip
    np.testing.assert_allclose(clip.quads[0, 1], [[100, 50], [80, 50], [80, 30], [100, 30]], atol=1e-9)


@pytest.mark.parametrize(
    "video", ["/data/upload/3/9f-dive%200001.mp4", "/data/local-files/?d=clips/9f-dive%200001.mp4", "9f-dive 0001.mp4"]
)
def test_label_studios_names_come_out_of_urls(video: str, tmp_path: Path) -> None:
    task = {"data": {"video": video}, "annotations": [{"result": [region(keyframe(1, 5))]}]}
    assert label_studio(tmp_path, task).name == "9f-dive 0001"


def test_label_studios_other_regions_are_counted(tmp_path: Path) -> None:
    outline = {"type": "videovector", "value": {"sequence": [{"frame": 1, "vertices": []}]}}
    result = [region(keyframe(1, 5)), outline, {"type": "choices", "value": {"choices": ["good"]}}]
    assert label_studio(tmp_path, {"annotations": [{"result": result}]}).notes == (
        "1 regions of type videovector were left out",
    )


def test_motchallenge_of_cvat_names_classes_and_counts_pixels_from_zero(tmp_path: Path) -> None:
    (tmp_path / "dive" / "gt").mkdir(parents=True)
    (tmp_path / "dive" / "gt" / "gt.txt").write_text("1,1,10.0,20.0,30.0,40.5,1,2,1.0\n3,2,9,2,3,4,0,1,1.0\n")
    (tmp_path / "dive" / "gt" / "labels.txt").write_text("coach\nathlete")
    for folder in (tmp_path, tmp_path / "dive"):
        (clip,) = read_videos(folder, "mot")
        assert (clip.name, clip.labels) == ("dive", ("athlete",))
        assert quad_boxes(clip.quads[0, 0]).tolist() == [10, 20, 30, 40.5]
    (tmp_path / "dive" / "gt" / "labels.txt").unlink()
    (clip,) = read_videos(tmp_path, "mot")
    assert (clip.labels, quad_boxes(clip.quads[0, 0]).tolist()) == (("1",), [9, 19, 30, 40.5])


@pytest.mark.parametrize(
    ("name", "lines", "found"),
    [
        ("gt.txt", "1,1,1,1,10,20,1,-1,-1,-1\n2,1,1,1,10,20,0,-1,-1,-1\n", [0]),  # truth of MOT15: ten columns
        ("result.txt", "1,1,1,1,10,20,1,-1,-1,-1\n2,1,1,1,10,20,0,-1,-1,-1\n", [0, 1]),  # a score of 0
        ("result.txt", "1,1,1,1,10,20,1\n2,-1,1,1,10,20,1\n", [0]),
    ],
)
def test_which_rows_of_motchallenge_count(name: str, lines: str, found: list[int], tmp_path: Path) -> None:
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / name).write_text(lines)
    (clip,) = read_videos(tmp_path / "gt" / name, "mot")
    assert np.flatnonzero(clip.present[0]).tolist() == found
    assert clip.notes == (("1 boxes of no target (id -1) were left out",) if "-1,1,1,10,20,1\n" in lines else ())


def coco_file(folder: Path, frames: list[dict[str, int]], boxes: list[dict[str, Any]], **video: Any) -> Path:
    images = [{"id": place, "video_id": 1, "width": 64, "height": 36} | one for place, one in enumerate(frames)]
    rows = [{"id": place, "category_id": 1, "bbox": [1, 2, 3, 4]} | one for place, one in enumerate(boxes)]
    videos = [{"id": 1, "name": "train/set/dive.v2", "fps": None, "width": None} | video]
    content = {"videos": videos, "images": images, "annotations": rows, "categories": [{"id": 1, "name": "a"}]}
    (folder / "vid.json").write_text(json.dumps(content))
    return folder / "vid.json"


@pytest.mark.parametrize(
    ("frames", "there"),
    [
        ([{"frame_id": 0}, {"frame_id": 1}], [1]),
        ([{"frame_id": 1}, {"frame_id": 2}], [1]),  # as converters of MOTChallenge count
        ([{"frame_id": 0, "frame_index": 390}, {"frame_id": 1, "frame_index": 420}], [420]),  # TAO
    ],
)
def test_coco_vids_frames(frames: list[dict[str, int]], there: list[int], tmp_path: Path) -> None:
    file = coco_file(tmp_path, frames, [{"image_id": 1, "track_id": 8, "iscrowd": False}])
    (clip,) = read_videos(file, "coco_vid")
    assert (clip.name, clip.frame_wh, clip.fps) == ("dive.v2", (64, 36), None)
    assert np.flatnonzero(clip.present[0]).tolist() == there


@pytest.mark.parametrize("style", ["coco_vid", "mot"])
def test_a_target_twice_in_a_frame_is_one_sentence(style: str, tmp_path: Path) -> None:
    file = coco_file(tmp_path, [{"frame_id": 0}], [{"image_id": 0, "instance_id": 8}] * 2)
    if style == "mot":
        file = tmp_path / "twice.txt"
        file.write_text("1,8,1,1,10,20,1\n1,8,1,1,12,20,1\n")
    said = {"coco_vid": r"^vid\.json, annotations 1 is a second box of instance_id 8 in one frame$",
            "mot": r"^twice\.txt has target 8 twice in frame 1$"}  # fmt: skip
    with pytest.raises(TrackFileError, match=said[style]):
        read_videos(file, style)


def test_detections_are_no_tracks_and_archives_no_files(tmp_path: Path) -> None:
    (tmp_path / "det.txt").write_text("1,-1,1,1,10,20,0.9,-1,-1,-1\n")
    with pytest.raises(TrackFileError, match=r"^det\.txt has boxes without identity \(id -1\): detections, not"):
        read_videos(tmp_path / "det.txt", "mot")
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as packed:
        packed.writestr("annotations.xml", "<annotations/>")
    with pytest.raises(TrackFileError, match=r"^task\.zip is an archive; unpack it and give what is inside$"):
        read_videos(tmp_path / "task.zip", "cvat_xml")


# As clips may be called: no separators, no control characters; 40 characters are at most 160 bytes of a file name.
NAMES = st.text(
    st.characters(exclude_characters="/\\", exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=40
).filter(lambda name: name not in (".", "..", "annotations", "task", "project", "manifest"))


@pytest.mark.parametrize("style", OF_VIDEOS)
@given(name=NAMES, label=NAMES)
@settings(deadline=None, max_examples=25)
def test_any_name_comes_back(style: str, name: str, label: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("names")
    clip = VideoTracks(name, upright_clip().quads[:, :6], (label, label), frame_wh=(320, 240), video=f"{name}.mp4")
    write_videos(place(folder, style), [clip], style)
    (back,) = read_videos(place(folder, style), style)
    assert back.name == name
    if style != "mot":  # whose targets are numbers
        assert back.labels == (label, label)
    np.testing.assert_allclose(back.quads, clip.quads, atol=0.0051)


@pytest.mark.parametrize("style", OF_VIDEOS)
@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "a\0b", "..", "a/b", "a\\b", ""])
def test_what_can_be_no_file_is_one_sentence(style: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(TrackFileError, match="cannot be a file name; rename the clip"):
        write_videos(place(tmp_path, style), [upright_clip(name)], style)
