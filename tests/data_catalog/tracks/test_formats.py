"""Formats of annotation tools: round trips, files that those tools wrote, and their own readers on ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Polygon, box

from data_catalog.tracks.formats import FORMATS, read_videos, write_videos
from data_catalog.tracks.text import TrackFileError
from data_catalog.tracks.video_tracks import VideoTracks, between_keyframes, box_quads, rectangles, turned
from tests.support import REPO

DATA = REPO / "tests" / "data" / "tracks"
OF_VIDEOS = [name for name, one in FORMATS.items() if one.module]
FILE = {"coco_vid": "all.json", "youtube_vis": "all.json", "label_studio": "all.json"}
ROTATED = [name for name in OF_VIDEOS if name != "mot"]
HUNDREDTHS = {"cvat_xml": 0.0051, "cvat_json": 0.0051}  # what CVAT writes; the others have four digits or more


def upright_clip(name: str = "dive_0001") -> VideoTracks:
    """Two upright targets in 20 frames of 320x240; the second is there in frames 4 to 11 only."""
    t = np.arange(20.0)
    first = np.stack([10 + 3.25 * t, 20 + t, 50 + 3.25 * t, 90.5 + t], axis=1)
    second = np.stack([200 - t, 30 + 0 * t, 230.75 + 0 * t, 70 + 2 * t], axis=1)
    quads = np.stack([box_quads(first), box_quads(second)])
    quads[1, :4] = quads[1, 12:] = np.nan
    return VideoTracks(name, quads, ("athlete", "athlete"), frame_wh=(320, 240), fps=25.0, video=f"videos/{name}.mp4")


def turned_clip(name: str = "dive_0002") -> VideoTracks:
    """One rectangle that turns twice around itself, past 360 degrees, and moves."""
    t = np.arange(30.0)
    flat = box_quads(np.stack([60 + 2 * t, 80 + t, 100 + 2 * t, 170 + t], axis=1))
    quads = turned(flat, 24 * t + 5, flat.mean(axis=1))
    return VideoTracks(name, quads[None], ("athlete",), frame_wh=(320, 240), fps=30.0, video=f"{name}.mp4")


def sheared_clip(name: str = "dive_0003") -> VideoTracks:
    """A quad that is no rectangle, as a rotated box becomes in a frame that was scaled unevenly."""
    clip = turned_clip(name)
    return VideoTracks(name, clip.quads * [1.2, 0.8], clip.labels, frame_wh=(400, 200), video=clip.video)


def place(folder: Path, style: str) -> Path:
    return folder / FILE.get(style, "out")


def read_back(folder: Path, clips: list[VideoTracks], style: str, shape: str) -> dict[str, VideoTracks]:
    write_videos(place(folder, style), clips, style, shape)  # type: ignore[arg-type]
    return {clip.name: clip for clip in read_videos(place(folder, style), style)}


def corners(quads: np.ndarray) -> np.ndarray:
    """Quads with their corners in one order whatever corner they begin with, for comparing places only."""
    start = np.lexsort((quads[..., 1].round(1), quads[..., 0].round(1)), axis=-1)[..., 0]
    order = (start[..., None] + np.arange(4)) % 4
    return np.take_along_axis(quads, order[..., None], axis=-2)


@pytest.mark.parametrize("style", OF_VIDEOS)
def test_upright_boxes_come_back(style: str, tmp_path: Path) -> None:
    clips = [upright_clip(), upright_clip("dive_0009")]
    found = read_back(tmp_path, clips, style, "box")
    assert found.keys() == {clip.name for clip in clips}
    for clip in clips:
        back = found[clip.name]
        np.testing.assert_allclose(back.quads, clip.quads, atol=HUNDREDTHS.get(style, 1e-3))
        if style != "cvat_json":
            assert back.frame_wh == (320, 240)


@pytest.mark.parametrize("style", ROTATED)
def test_turned_rectangles_come_back_where_the_format_knows_them(style: str, tmp_path: Path) -> None:
    clip = turned_clip()
    (back,) = read_back(tmp_path, [clip], style, "polygon").values()
    # A turned rectangle of CVAT is at most the rounding of its angle away: 0.005° over half a diagonal of 49 pixels.
    np.testing.assert_allclose(corners(back.quads), corners(clip.quads), atol=0.02)
    np.testing.assert_allclose(back.quads.mean(axis=2), clip.quads.mean(axis=2), atol=0.011)


@pytest.mark.parametrize("style", [name for name in ROTATED if name != "label_studio"])
def test_other_quads_come_back_as_polygons(style: str, tmp_path: Path) -> None:
    clip = sheared_clip()
    (back,) = read_back(tmp_path, [clip], style, "polygon").values()
    np.testing.assert_allclose(back.quads, clip.quads, atol=HUNDREDTHS.get(style, 1e-3))


def test_label_studio_gets_the_smallest_rectangle_around_other_quads(tmp_path: Path) -> None:
    clip = sheared_clip()
    (back,) = read_back(tmp_path, [clip], "label_studio", "polygon").values()
    for ours, theirs in zip(clip.quads[0], back.quads[0], strict=True):
        quad, rectangle = Polygon(ours), Polygon(theirs)
        assert rectangle.buffer(0.01).contains(quad)
        assert rectangle.area == pytest.approx(quad.minimum_rotated_rectangle.area, rel=1e-3)


@pytest.mark.parametrize("style", OF_VIDEOS)
def test_only_what_was_tracked_is_a_keyframe_and_the_rest_comes_back(style: str, tmp_path: Path) -> None:
    """Every third frame tracked, corners linear between: tools that interpolate need no more."""
    whole = upright_clip()
    clip = VideoTracks(whole.name, whole.quads[:1], ("athlete",), np.arange(20) % 3 == 0, (320, 240), 25.0, "d.mp4")
    (back,) = read_back(tmp_path, [clip], style, "box").values()
    np.testing.assert_allclose(back.quads, clip.quads, atol=HUNDREDTHS.get(style, 1e-3))
    if style.startswith(("cvat", "label")):
        assert back.drawn is not None
        assert np.flatnonzero(back.drawn).tolist() == [*range(0, 19, 3), 19]


def test_mot_has_no_polygons(tmp_path: Path) -> None:
    with pytest.raises(TrackFileError, match="upright boxes only; export boxes, or choose another format"):
        write_videos(tmp_path / "out", [turned_clip()], "mot", "polygon")


@given(
    st.floats(1, 200), st.floats(1, 200), st.floats(-400, 800), st.floats(-300, 300), st.floats(-300, 300)
)
@settings(deadline=None, max_examples=60)
def test_turning_is_shapelys_and_the_smallest_rectangle_finds_it(
    width: float, height: float, degrees: float, x: float, y: float
) -> None:
    flat = box_quads([x, y, x + width, y + height])
    quad = turned(flat[None], [degrees], flat.mean(axis=0)[None])[0]
    theirs = affinity.rotate(box(x, y, x + width, y + height), degrees, origin="center")  # y down: clockwise
    apart = quad[:, None] - np.array(theirs.exterior.coords)[None, :4]
    assert np.linalg.norm(apart, axis=-1).min(axis=1).max() < 1e-6
    boxes, angle, error = rectangles(quad[None])
    assert error[0] < 1e-6 * (width + height + abs(x) + abs(y) + 1)
    assert np.prod(boxes[0, 2:] - boxes[0, :2]) == pytest.approx(width * height, rel=1e-6)
    assert 0 <= angle[0] < 360


def test_between_keyframes_by_hand() -> None:
    found = between_keyframes([2, 4, 6], [[0.0], [10.0], [20.0]], [True, False, True], 8)
    np.testing.assert_array_equal(found[:, 0], [np.nan, np.nan, 0, 5, np.nan, np.nan, 20, 20])
    shown = between_keyframes([2, 4, 6], [[0.0], [10.0], [20.0]], [True, False, True], 8, each_shown=True)
    np.testing.assert_array_equal(shown[:, 0], [np.nan, np.nan, 0, 5, 10, np.nan, 20, 20])


def expected_of_fiftyone() -> np.ndarray:
    """What make_with_fiftyone.py says, in numbers of its own."""
    t = np.arange(12.0)
    first = np.stack([100 + 4 * t, 50 + 2.5 * t, 140 + 4 * t, 130 + 2.5 * t], axis=1)
    second = np.stack([400 - 3 * t, 120 + 0 * t, 430 - 2 * t, 180 + 0 * t], axis=1)
    second[:3] = second[9:] = np.nan
    return np.stack([box_quads(first), box_quads(second)])


def test_a_cvat_file_that_fiftyone_wrote() -> None:
    (clip,) = read_videos(DATA / "cvat_video.xml", "cvat_xml")
    assert (clip.name, clip.frame_wh, clip.labels) == ("two_divers", (640, 360), ("athlete", "athlete"))
    np.testing.assert_allclose(clip.quads, expected_of_fiftyone(), atol=1.01)  # FiftyOne rounds to whole pixels


def test_labels_that_fiftyone_wrote() -> None:
    with pytest.raises(TrackFileError, match=r"two_divers\.json doesn't say how large the video is; give it"):
        read_videos(DATA / "fiftyone", "fiftyone")
    (clip,) = read_videos(DATA / "fiftyone", "fiftyone", (640, 360))
    quads = np.full((2, 12, 4, 2), np.nan)
    quads[:, : clip.quads.shape[1]] = clip.quads
    np.testing.assert_allclose(quads, expected_of_fiftyone(), atol=1e-3)
    assert json.loads((DATA / "fiftyone" / "manifest.json").read_text())["index"][0]["data"] == clip.video
