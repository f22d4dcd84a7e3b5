"""Videos of kinds that people really have (`tests/data/video`), each with what is right for it."""

from dataclasses import dataclass

import numpy as np
import pytest

from data_catalog.media.video import probe, read_frames
from tasks.engine.errors import BadClip
from tasks.normalize import NormalizeConfig, normalize_clip
from tests.support.drawn_numbers import CORNERS, corners, shown
from tests.support.video_cases import VIDEOS, WHOLE


@dataclass(frozen=True)
class Case:
    """What is right: how many frames, what the first and last of them show, what is noted; or why it is set aside."""

    count: int = 0
    first: int = 0
    last: int = 0
    missing: int = 0
    tone_mapped: str = ""
    deinterlaced: bool = False
    refused: str = ""


CASES = {
    "plain.mp4": Case(count=200, last=199),
    "whole.mkv": Case(count=200, last=199),
    "whole.webm": Case(count=120, last=119),
    "qt_trim.mov": Case(count=60, first=60, last=119),
    "qt_trim_head.mov": Case(count=110, first=90, last=199),
    "dropped.avi": Case(count=180, last=199, missing=20),
    "midlong.mkv": Case(count=550, first=50, last=599),
    "midlong.ts": Case(count=550, first=50, last=599),
    "lost.ts": Case(count=185, last=199, missing=15),
    "hlg.mov": Case(count=120, last=119, tone_mapped="hlg"),
    "mbaff.ts": Case(count=200, last=199, deinterlaced=True),
    "mpeg2i.ts": Case(count=200, last=199, deinterlaced=True),
    "cut.mkv": Case(refused=r"truncated: 3\.00 seconds are there, its header announces 6\.67"),
    "cut.webm": Case(refused=r"truncated: 1\.60 seconds are there, its header announces 4\.00"),
    "rot.mp4": Case(refused="damaged after 92 decoded frames"),
}
USED = [name for name, case in CASES.items() if not case.refused]


def test_every_file_has_its_case() -> None:
    assert {path.name for path in VIDEOS.iterdir()} == set(CASES)


@pytest.mark.parametrize("name", USED)
def test_frames_are_what_the_file_shows(name: str) -> None:
    case, path = CASES[name], VIDEOS / name
    numbers = shown(read_frames(path, np.arange(probe(path).num_frames)))
    assert (len(numbers), numbers[0], numbers[-1]) == (case.count, case.first, case.last)
    if not case.missing:
        assert numbers == list(range(case.first, case.last + 1))
    assert all(np.diff(numbers) >= 0)


@pytest.mark.parametrize("name", USED)
def test_frame_k_is_the_same_from_wherever_reading_begins(name: str) -> None:
    path = VIDEOS / name
    whole = read_frames(path, np.arange(probe(path).num_frames))
    for start in (10, 50, 70, 100, 140, 150, 200, 400):
        stop = min(start + 8, len(whole))
        if start < stop:
            np.testing.assert_array_equal(read_frames(path, np.arange(start, stop)), whole[start:stop])


@pytest.mark.parametrize("name", USED)
def test_a_clip_of_it_looks_right_and_says_what_it_lacks(name: str) -> None:
    case = CASES[name]
    clip = normalize_clip(VIDEOS / name, WHOLE)
    attributes = clip.attributes()
    assert attributes["source_frames"] == case.count
    assert attributes["missing_frames"] == case.missing
    assert attributes["tone_mapped"] == case.tone_mapped
    assert attributes["deinterlaced"] == case.deinterlaced
    assert [str(case.missing) in note for note in clip.notes("clip 'a'")] == [True] * bool(case.missing)
    for colour, right in zip(corners(clip.frames[0]), CORNERS, strict=True):
        assert np.abs(np.subtract(colour, right)).max() <= 30


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.refused])
def test_what_is_not_whole_is_set_aside(name: str) -> None:
    with pytest.raises(BadClip, match=CASES[name].refused):
        normalize_clip(VIDEOS / name, WHOLE)


def test_damaged_packets_are_skipped_where_that_is_asked_for() -> None:
    with pytest.raises(BadClip, match="damaged") as caught:
        normalize_clip(VIDEOS / "rot.mp4", WHOLE)
    assert "normalize.damaged=skip" in caught.value.remedy
    clip = normalize_clip(VIDEOS / "rot.mp4", NormalizeConfig(damaged="skip"))
    assert (clip.source_frames, clip.damaged_packets, clip.missing_frames) == (199, 1, 1)
    assert clip.source_index[-1] == 198
    assert "1 damaged packet is skipped" in clip.notes("a")[1]


def test_a_cut_file_is_no_better_for_skipping() -> None:
    with pytest.raises(BadClip, match="truncated"):
        normalize_clip(VIDEOS / "cut.mkv", NormalizeConfig(damaged="skip"))


def test_hdr_and_fields_can_be_kept() -> None:
    kept = normalize_clip(VIDEOS / "hlg.mov", NormalizeConfig(hdr="keep"))
    assert kept.tone_mapped == ""
    assert np.abs(np.subtract(corners(kept.frames[0])[0], CORNERS[0])).max() > 60
    both = normalize_clip(VIDEOS / "mbaff.ts", NormalizeConfig(interlaced="keep"))
    whole = normalize_clip(VIDEOS / "mbaff.ts", NormalizeConfig())
    assert (both.deinterlaced, whole.deinterlaced) == (False, True)
    assert not np.array_equal(both.frames, whole.frames)


def test_new_fields_enter_keys_only_when_they_change_something() -> None:
    before = {"length", "width", "height", "window", "jpeg_quality"}
    assert set(NormalizeConfig().key_view()) == before
    assert set(NormalizeConfig(damaged="skip").key_view()) == before | {"damaged"}
