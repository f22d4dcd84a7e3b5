"""normalize: the index rules, and whole clips from real files."""

from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from data_catalog.media.frame_codec import decode_frames
from tasks.engine.errors import BadClip
from tasks.normalize import NormalizeConfig, is_constant_rate, normalize_clip, select_frames
from tests.support.video_files import numbered_frames, numbers_of, write_folder, write_video

counts = st.integers(2, 2000)
lengths = st.integers(1, 300)


# ---- the rules ----


@given(counts, lengths, st.integers(0, 500))
def test_uniform_takes_the_middle_of_equal_slices(count: int, length: int, start: int) -> None:
    index = select_frames(start, start + count, length, "uniform")
    assert index.tolist() == [start + floor((2 * i + 1) * count / (2 * length)) for i in range(length)]


@given(counts, lengths)
def test_uniform_is_symmetric_in_time(count: int, length: int) -> None:
    # The slice middles are symmetric; floor breaks a tie downwards, so mirrored numbers may differ by that one frame.
    index = select_frames(0, count, length, "uniform")
    mirrored = count - 1 - index[::-1]
    ties = (2 * np.arange(length) + 1) * count % (2 * length) == 0
    np.testing.assert_array_equal(index - mirrored, ties.astype(int))


@given(counts, lengths)
def test_uniform_spreads_evenly(count: int, length: int) -> None:
    index = select_frames(0, count, length, "uniform")
    assert 0 <= index[0] <= index[-1] <= count - 1
    steps = np.diff(index)
    assert all(step in (count // length, count // length + 1) for step in steps)
    if count <= length:
        assert set(index) == set(range(count))   # a short clip repeats frames and loses none
    if count == length:
        assert index.tolist() == list(range(count))


@given(counts, lengths, st.integers(0, 500))
def test_tail_ends_with_the_clip(count: int, length: int, start: int) -> None:
    end = start + count
    index = select_frames(start, end, length, "tail")
    assert index[-1] == end - 1
    assert index.tolist() == [max(end - length + i, 0) for i in range(length)]


@given(st.integers(2, 200), lengths, st.fractions(1, 120))
def test_even_times_give_the_plain_rule(count: int, length: int, fps: float) -> None:
    times = np.round(np.arange(count + 1) / float(fps), 3)   # as Matroska rounds them
    assert is_constant_rate(np.arange(count + 1) / float(fps))
    if is_constant_rate(times):
        np.testing.assert_array_equal(
            select_frames(0, count, length, "uniform", times), select_frames(0, count, length, "uniform")
        )


@given(st.lists(st.integers(1, 50), min_size=2, max_size=60), st.integers(1, 80))
def test_uneven_times_give_the_frame_on_screen(durations: list[int], length: int) -> None:
    times = np.concatenate([[0], np.cumsum(durations)]).astype(float)
    index = select_frames(0, len(durations), length, "uniform", times)
    if is_constant_rate(times):
        return
    for i, chosen in enumerate(index):
        middle = (i + 0.5) * times[-1] / length
        assert times[chosen] <= middle + 1e-6
        assert middle - 1e-6 <= times[chosen + 1]


# ---- clips ----


def small(**changes: object) -> NormalizeConfig:
    return NormalizeConfig.model_validate({"length": 12, "width": 48, "height": 32} | changes)


def test_a_video_becomes_l_frames_of_one_size(tmp_path: Path) -> None:
    clip = normalize_clip(write_video(tmp_path / "a.mp4", numbered_frames(30)), small())
    assert clip.frames.shape == (12, 32, 48, 3)
    assert numbers_of(clip.frames) == clip.source_index.tolist() == [floor((i + 0.5) * 30 / 12) for i in range(12)]
    assert clip.attributes() == {
        "source_width": 64, "source_height": 48, "source_frames": 30, "fps": "25", "width": 48, "height": 32,
        "rotation_deg": 0, "tone_mapped": "", "deinterlaced": 0, "missing_frames": 0, "damaged_packets": 0,
    }  # fmt: skip
    arrays = clip.arrays()
    assert numbers_of(decode_frames(arrays)) == clip.source_index.tolist()
    assert arrays["source_index"].dtype == np.int64


def test_short_clips_repeat_frames(tmp_path: Path) -> None:
    clip = normalize_clip(write_video(tmp_path / "a.mp4", numbered_frames(5)), small())
    assert numbers_of(clip.frames) == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4]


def test_default_is_the_paper_s_size(tmp_path: Path) -> None:
    frames = numbered_frames(3, (64, 36))
    clip = normalize_clip(write_video(tmp_path / "a.mp4", frames), NormalizeConfig())
    assert clip.frames.shape == (103, 256, 455, 3)


def test_start_and_end_cut(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(40))
    assert numbers_of(normalize_clip(path, small(), 10, 22).frames) == list(range(10, 22))
    assert numbers_of(normalize_clip(path, small(window="tail"), 15, 20).frames) == list(range(8, 20))
    assert numbers_of(normalize_clip(path, small(window="tail"), 2, 5).frames) == [0] * 8 + [1, 2, 3, 4]


def test_variable_frame_rate_is_sampled_in_time(tmp_path: Path) -> None:
    # 10 frames of 20 ms, then 9 of 100 ms and, as the encoder's nominal 25 fps says, a last one of 40 ms.
    times = [*range(0, 200, 20), *range(200, 1200, 100)]
    clip = normalize_clip(write_video(tmp_path / "vfr.mkv", numbered_frames(20), times_ms=times), small())
    middles = [(i + 0.5) * 1140 / 12 for i in range(12)]
    expected = [max(n for n, time in enumerate(times) if time <= middle) for middle in middles]
    assert numbers_of(clip.frames) == clip.source_index.tolist() == expected
    assert expected != select_frames(0, 20, 12, "uniform").tolist()


def test_folder_and_video_of_the_same_frames_agree(tmp_path: Path) -> None:
    frames = numbered_frames(20)
    video = normalize_clip(write_video(tmp_path / "a.mp4", frames), small())
    folder = normalize_clip(write_folder(tmp_path / "a", frames, [f"{i}.png" for i in range(20)]), small())
    np.testing.assert_array_equal(video.source_index, folder.source_index)
    assert numbers_of(video.frames) == numbers_of(folder.frames)


def test_twice_the_same(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(30))
    first, second = normalize_clip(path, small()).arrays(), normalize_clip(path, small()).arrays()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_one_frame_is_no_clip(tmp_path: Path) -> None:
    for source in (
        write_video(tmp_path / "one.mp4", numbered_frames(1)),
        write_folder(tmp_path / "one", numbered_frames(1), ["1.png"]),
    ):
        with pytest.raises(BadClip, match="one frame, a clip needs at least two"):
            normalize_clip(source, small())


@pytest.mark.parametrize("cut", [(-1, 5), (5, 5), (0, 31), (30, None)])
def test_a_cut_outside_the_video(tmp_path: Path, cut: tuple[int, int | None]) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(30))
    with pytest.raises(BadClip, match="which has 30") as caught:
        normalize_clip(path, small(), *cut)
    assert "start_frame" in caught.value.remedy


def test_what_is_wrong_with_a_video_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(BadClip, match=r"absent\.mp4 does not exist") as caught:
        normalize_clip(tmp_path / "absent.mp4", small())
    assert caught.value.remedy


def test_config_refuses_unknown_keys_and_nonsense() -> None:
    for wrong in ({"lenght": 3}, {"length": 0}, {"window": "head"}, {"width": "wide"}):
        with pytest.raises(ValidationError):
            NormalizeConfig.model_validate(wrong)


@pytest.mark.parametrize(("name", "count"), [("tennis", 70), ("Crossing", 120)])
def test_real_clips(shared: Path, name: str, count: int) -> None:
    clip = normalize_clip(shared / "real" / f"{name}.mp4", NormalizeConfig())
    assert clip.frames.shape == (103, 256, 455, 3)
    assert clip.source_index.tolist() == [floor((i + 0.5) * count / 103) for i in range(103)]
    arrays = clip.arrays()
    error = decode_frames(arrays, [0, 51, 102]).astype(float) - clip.frames[[0, 51, 102]]
    assert 10 * np.log10(255**2 / (error**2).mean()) > 40
    assert arrays["frames"].nbytes < clip.frames.nbytes / 5
