"""Damaged and hostile files of tracks: each is one sentence with the file's name, and nothing is allocated for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_catalog.tracks.formats import FORMATS, read_videos, write_videos
from data_catalog.tracks.text import TrackFileError
from tests.data_catalog.tracks.test_formats import OF_VIDEOS, place, upright_clip

BOMB = """<?xml version="1.0"?>
<!DOCTYPE annotations [<!ENTITY a "athlete"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c SYSTEM "file:///etc/passwd">]>
<annotations><track id="0" label="&b;"><box frame="0" xtl="0" ytl="0" xbr="&c;" ybr="1"/></track></annotations>"""
TRACK = '<annotations><track id="0" label="a">{}</track></annotations>'
BOX = '<box frame="{}" outside="0" xtl="{}" ytl="0" xbr="9" ybr="9"/>'


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (BOMB, "it has a document type, in which entities could be hidden; remove the DOCTYPE line"),
        ("<a>" * 40, "it nests elements deeper than 32"),
        ("<annotations><track", "is no whole XML file"),
        ("not XML", "is no whole XML file"),
        ("<html/>", "has no tracks and no task of CVAT"),
        ('<annotations><image id="0"/></annotations>', 'export the task from CVAT as "CVAT for video 1.1"'),
        (TRACK.format(BOX.format(10**8, 1)), "up to 1000000 frames are read"),
        (TRACK.format(BOX.format(-1, 1)), "has frame = -1, which is no whole number from 0"),
        (TRACK.format(BOX.format(0, "nan")), "has xtl = nan, which can't be"),
        (TRACK.format(BOX.format(0, "x")), "has no number 'xtl' but 'x'"),
        (TRACK.format('<polygon frame="0" points="1,2;3"/>'), "has 3 numbers, and a polygon two for each of three"),
        (TRACK.format('<mask frame="0" rle="1" left="0" top="0" width="99999" height="99999"/>'), "which can't be"),
    ],
)
def test_a_bad_xml_is_one_sentence(content: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.xml"
    file.write_text(content)
    with pytest.raises(TrackFileError, match=r"bad\.xml|video 'bad'") as caught:
        read_videos(file, "cvat_xml")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "root:" not in str(caught.value)


@pytest.mark.parametrize("style", [name for name in OF_VIDEOS if name not in ("cvat_xml", "mot")])
@pytest.mark.parametrize("content", ["", "[", "{}", "[]", "null", "7", '{"frames": 3}', "[" * 100_000, '"text"'])
def test_a_bad_json_is_one_sentence(style: str, content: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content)
    if (style, content) == ("cvat_json", "[]"):  # a task without jobs
        with pytest.raises(TrackFileError, match="video 'bad' has 0 targets in 0 frames"):
            read_videos(file, style)
        return
    with pytest.raises(TrackFileError, match=r"bad\.json"):
        read_videos(file, style)


def spoilt(value: Any, depth: int) -> Any:
    """The same with one value replaced: the first leaf `depth` levels down."""
    if isinstance(value, dict) and value:
        name = list(value)[-1]
        return {**value, name: spoilt(value[name], depth - 1)} if depth else {**value, name: "spoilt"}
    if isinstance(value, list) and value:
        return [spoilt(value[0], depth - 1), *value[1:]] if depth else ["spoilt", *value[1:]]
    return "spoilt"


@pytest.mark.parametrize("style", ["cvat_json", "label_studio", "coco_vid", "youtube_vis", "fiftyone"])
@pytest.mark.parametrize("depth", range(6))
def test_a_wrong_value_anywhere_is_a_sentence_or_harmless(style: str, depth: int, tmp_path: Path) -> None:
    files = write_videos(place(tmp_path, style), [upright_clip()], style)
    file = next(one for one in files if one.suffix == ".json")
    file.write_text(json.dumps(spoilt(json.loads(file.read_text()), depth)))
    said = ""
    try:
        read_videos(file, style, (320, 240))
    except TrackFileError as exc:
        said = str(exc)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("", "has no lines"),
        ("1,1,2\n", "has 3 numbers a line"),
        ("1,1,a,2,3,4,1\n", "is not made of lines"),
        ("0,1,5,5,10,10,1,1,1\n", "has a frame 0; frames are counted from 1"),
        ("1,1,5,5,-10,10,1,1,1\n", "a size negative"),
        ("1,1,5,5,nan,10,1,1,1\n", "a number is missing"),
        ("99999999,1,5,5,10,10,1,1,1\n", "up to 1000000 frames are read"),
    ],
)
def test_a_bad_mot_file_is_one_sentence(lines: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text(lines)
    with pytest.raises(TrackFileError, match=r"^bad\.txt") as caught:
        read_videos(tmp_path / "bad.txt", "mot")
    assert why in str(caught.value)


def test_mot_rows_that_are_not_to_be_considered_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_text("1,1,1,1,10,20,1,1,1\n2,1,3,1,10,20,0,1,1\n")
    (clip,) = read_videos(tmp_path / "gt.txt", "mot")
    assert clip.quads[0, 0].tolist() == [[0, 0], [10, 0], [10, 20], [0, 20]]
    assert not clip.present[:, 1:].any()


def test_a_manifest_names_nothing_outside_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"index": [{"data": "v.mp4", "labels": "../../secret.json"}]}))
    with pytest.raises(TrackFileError, match=r"names labels outside of its folder: \.\./\.\./secret\.json"):
        read_videos(tmp_path, "fiftyone", (10, 10))


def test_a_clip_is_no_way_out_of_the_folder(tmp_path: Path) -> None:
    for style in OF_VIDEOS:
        with pytest.raises(TrackFileError, match="cannot be a file name; rename the clip"):
            write_videos(place(tmp_path, style), [upright_clip("../up")], style)


def test_an_unknown_format_is_corrected(tmp_path: Path) -> None:
    with pytest.raises(TrackFileError, match=r"^unknown track format 'cvat_xlm'; use pysot, .*did you mean 'cvat_xml'"):
        read_videos(tmp_path, "cvat_xlm")
    assert set(OF_VIDEOS) < set(FORMATS)


@pytest.mark.parametrize("style", OF_VIDEOS)
def test_nothing_there_is_one_sentence(style: str, tmp_path: Path) -> None:
    with pytest.raises(TrackFileError, match="there is no file or folder"):
        read_videos(tmp_path / "nowhere", style)
    with pytest.raises(TrackFileError):  # an empty folder
        read_videos(tmp_path, style)
