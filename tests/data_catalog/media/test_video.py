"""Reading videos and frame folders, good and bad, each a real file."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from data_catalog.errors import BadVideo
from data_catalog.media.frame_folder import natural_key
from data_catalog.media.video import ShortDecode, probe, read_frames, resize_frame
from tests.support.video_files import numbered_frames, numbers_of, set_display_matrix, write_folder, write_video


def all_frames(path: Path) -> NDArray[np.uint8]:
    return read_frames(path, np.arange(probe(path).num_frames))


def test_counts_times_and_reads_every_frame_in_order(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(40))   # libx264 reorders with B frames
    info = probe(path)
    assert (info.num_frames, info.width, info.height, info.fps) == (40, 64, 48, Fraction(25))
    assert info.times_sec is not None
    np.testing.assert_allclose(info.times_sec, np.arange(41) / 25, atol=1e-9)
    assert numbers_of(all_frames(path)) == list(range(40))


def test_repeated_and_skipped_numbers_come_back_as_asked(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(40))
    assert numbers_of(read_frames(path, np.asarray([3, 3, 3, 17, 39, 39]), (32, 24))) == [3, 3, 3, 17, 39, 39]


@pytest.mark.parametrize("indices", [[], [-1, 2], [3, 2]])
def test_numbers_that_make_no_sense_are_refused(tmp_path: Path, indices: list[int]) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(5))
    with pytest.raises(ValueError, match="indices"):
        read_frames(path, np.asarray(indices, np.int64))


def test_a_cut_far_inside_seeks_and_gives_the_same_frames(tmp_path: Path) -> None:
    frames = [numbered_frames(40)[i % 40] for i in range(300)]
    path = write_video(tmp_path / "long.mp4", frames, options={"g": "30", "crf": "4"})
    assert numbers_of(read_frames(path, np.arange(230, 260))) == [i % 40 for i in range(230, 260)]


def test_nothing_after_the_last_wanted_frame_is_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", _noise(60), faststart=True, options={"g": "10", "crf": "4", "bf": "0"})
    whole = read_frames(path, np.arange(20))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)   # the second half of the pictures is destroyed
    path.write_bytes(bytes(data))
    np.testing.assert_array_equal(read_frames(path, np.arange(20)), whole)
    with pytest.raises(BadVideo, match=r"a\.mp4"):
        read_frames(path, np.arange(60))


def _noise(count: int, size_wh: tuple[int, int] = (64, 48)) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8) for _ in range(count)]


@pytest.mark.parametrize(
    ("matrix", "bright_corner", "size_wh"),
    [
        ((1, 0, 0, 1), (0, 0), (64, 48)),
        ((0, 1, -1, 0), (0, -1), (48, 64)),     # a quarter turn clockwise: top left goes to top right
        ((-1, 0, 0, -1), (-1, -1), (64, 48)),
        ((0, -1, 1, 0), (-1, 0), (48, 64)),
        ((-1, 0, 0, 1), (0, -1), (64, 48)),     # mirrored left to right
        ((1, 0, 0, -1), (-1, 0), (64, 48)),
        ((0, 1, 1, 0), (0, 0), (48, 64)),       # mirrored along the diagonal
    ],
)
def test_frames_come_out_upright(
    tmp_path: Path, matrix: tuple[int, int, int, int], bright_corner: tuple[int, int], size_wh: tuple[int, int]
) -> None:
    image = np.full((48, 64, 3), 30, np.uint8)
    image[:12, :16] = 220
    image[:4, 32:] = 120   # along the top edge, to tell a turn from a mirroring
    path = write_video(tmp_path / "phone.mp4", [image] * 5)
    stored = read_frames(path, np.asarray([0]))[0]
    set_display_matrix(path, *matrix)
    info = probe(path)
    frame = read_frames(path, np.asarray([0]))[0]
    assert (info.width, info.height) == size_wh == frame.shape[1::-1]
    assert frame[bright_corner].mean() > 200
    # Independent: send each stored pixel where the matrix says, then shift the image into the positive quadrant.
    a, b, c, d = matrix
    y, x = np.mgrid[:48, :64]
    shown_x, shown_y = a * x + c * y, b * x + d * y
    expected = np.empty_like(frame)
    expected[shown_y - shown_y.min(), shown_x - shown_x.min()] = stored
    np.testing.assert_array_equal(frame, expected)


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [*range(0, 200, 20), *range(200, 1200, 100)]
    info = probe(write_video(tmp_path / "vfr.mkv", numbered_frames(20), times_ms=times))
    assert info.num_frames == 20
    assert info.times_sec is not None
    np.testing.assert_allclose(info.times_sec[:-1], np.asarray(times) / 1000, atol=1e-3)
    assert info.times_sec[-1] > info.times_sec[-2]


def test_odd_sizes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd.mkv", numbered_frames(7, (53, 37)), codec="ffv1", pixels="yuv444p")
    assert (probe(path).width, probe(path).height) == (53, 37)
    assert numbers_of(read_frames(path, np.arange(7), (455, 256))) == list(range(7))


def test_grayscale_is_repeated_over_the_colours(tmp_path: Path) -> None:
    frames = all_frames(write_video(tmp_path / "gray.mkv", _noise(3), codec="ffv1", pixels="gray"))
    assert frames.shape == (3, 48, 64, 3)
    np.testing.assert_array_equal(frames[..., 0], frames[..., 2])
    assert frames.std() > 10


def test_avi(tmp_path: Path) -> None:
    path = write_video(tmp_path / "old.avi", numbered_frames(30), codec="ffv1", pixels="yuv444p")
    assert probe(path).num_frames == 30
    assert numbers_of(all_frames(path)) == list(range(30))


def test_colours_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 255
    for source in (
        write_video(tmp_path / "red.mp4", [red] * 3),
        write_folder(tmp_path / "red", [red] * 2, ["1.png", "2.jpg"]),
    ):
        r, g, b = read_frames(source, np.asarray([1]))[0].mean(axis=(0, 1))
        assert r > 230, source
        assert max(g, b) < 30, source


def test_resizing_shrinks_by_area_and_keeps_edges_in_place() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 240
    small = resize_frame(image, (50, 40))
    assert small.shape == (40, 50, 3)
    assert set(np.unique(small[:, :25])) == {0}
    assert set(np.unique(small[:, 25:])) == {240}
    assert resize_frame(image, (300, 150)).shape == (150, 300, 3)
    assert resize_frame(image, (200, 100)) is image


# ---- frame folders ----


def test_folder_frames_are_ordered_by_number(tmp_path: Path) -> None:
    numbers = [1, 2, 9, 10, 11, 99, 100]
    names = [f"img_{n}.png" for n in numbers]
    folder = write_folder(tmp_path / "frames", numbered_frames(7), names)
    (folder / "notes.txt").write_text("not a frame")
    (folder / "._img_1.png").write_text("what macOS leaves behind")
    info = probe(folder)
    assert (info.num_frames, info.width, info.height, info.fps, info.times_sec) == (7, 64, 48, None, None)
    assert numbers_of(all_frames(folder)) == list(range(7))


def test_natural_order_of_mixed_names() -> None:
    names = ["a10.png", "a2.png", "01_100.png", "01_99.png", "b.png"]
    assert sorted(names, key=natural_key) == ["01_99.png", "01_100.png", "a2.png", "a10.png", "b.png"]


def test_folder_of_two_sizes_is_bad(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "f", [*numbered_frames(2), *numbered_frames(1, (32, 32))], ["1.png", "2.png", "3.png"]
    )
    with pytest.raises(BadVideo, match=r"3\.png is 32x32 pixels.*64x48"):
        all_frames(folder)


def test_damaged_image_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", numbered_frames(3), ["1.png", "2.png", "3.png"])
    (folder / "2.png").write_bytes(b"\x89PNG nothing more")
    with pytest.raises(BadVideo, match=r"2\.png cannot be decoded"):
        all_frames(folder)


# ---- bad files: one sentence each, with the file's name and a remedy ----


def check(path: Path, reason: str) -> BadVideo:
    with pytest.raises(BadVideo, match=reason) as caught:
        all_frames(path)
    assert str(path) in caught.value.reason
    assert caught.value.reason.endswith(".")
    assert "\n" not in str(caught.value)
    assert len(caught.value.remedy) > 10
    return caught.value


def test_missing_file(tmp_path: Path) -> None:
    check(tmp_path / "absent.mp4", "does not exist")


def test_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "letter.mp4"
    path.write_text("Dear judges,\n" * 100)
    check(path, "not a video")


def test_text_that_ffmpeg_would_draw_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear judges,\n" * 100)
    check(path, "not a video")


def test_playlist_is_not_followed(tmp_path: Path) -> None:
    write_video(tmp_path / "a.ts", numbered_frames(30))
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\na.ts\n#EXT-X-ENDLIST\n")
    check(path, "not a video")


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    check(path, "empty file")


def test_truncated_mp4_without_index(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mp4", _noise(30))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    check(path, r"truncated MP4: its index \(moov\) is missing")


def test_truncated_mp4_with_index_says_how_many_frames_decode(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mp4", _noise(30), faststart=True, options={"bf": "0", "crf": "10"})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    error = check(path, r"truncated: (\d+) frames can be decoded, its header announces 30")
    decoded = int(error.reason.split("truncated: ")[1].split()[0])
    assert 10 <= decoded <= 20


def test_truncated_avi(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.avi", _noise(30), codec="mpeg4")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    check(path, "truncated.*announces 30")


def test_no_video_stream(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    check(path, "no video stream")


def test_zero_frames(tmp_path: Path) -> None:
    path = tmp_path / "none.avi"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        file.start_encoding()
    check(path, "zero frames|not a video")
    (tmp_path / "empty_folder").mkdir()
    check(tmp_path / "empty_folder", "zero frames")


def test_asking_beyond_the_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(10))
    with pytest.raises(ShortDecode) as caught:
        read_frames(path, np.asarray([2, 12]))
    assert caught.value.decoded == 10


def test_unreadable_file_stays_an_os_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(3))
    path.chmod(0)
    try:
        path.open("rb").close()
    except PermissionError:
        with pytest.raises(PermissionError):
            probe(path)
    else:
        pytest.skip("runs as root, whom no permission stops")
