"""Folders of images: which files are frames, in which order, and which files are never opened."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from data_catalog.datasets.paths import VideoFinder, VideoPath
from data_catalog.errors import BadVideo
from data_catalog.media.frame_folder import list_images
from data_catalog.media.regular_file import open_regular
from data_catalog.media.video import Reading, probe, read_frames
from data_catalog.tables.sources import NOT_REGULAR, digest_source
from tests.support.video_files import numbered_frames, numbers_of, write_folder, write_video


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "TIFF"])
def test_kinds_of_images(tmp_path: Path, suffix: str) -> None:
    folder = write_folder(tmp_path / "f", numbered_frames(12), [f"img_{n}.{suffix}" for n in range(12)])
    assert probe(folder).num_frames == 12
    assert numbers_of(read_frames(folder, np.arange(12))) == list(range(12))
    assert VideoFinder(tmp_path).find("f") == VideoPath("f")


def test_a_preview_beside_jpeg_frames_is_no_frame(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", numbered_frames(4), ["0.jpg", "1.jpg", "2.png", "1a.webp"])
    assert [image.name for image in list_images(folder)] == ["0.jpg", "1.jpg", "2.png"]


def test_frames_one_level_deeper(tmp_path: Path) -> None:
    write_folder(tmp_path / "f" / "img", numbered_frames(11), [f"{n}.png" for n in range(11)])
    (tmp_path / "f" / "notes").mkdir()
    (tmp_path / "f" / "notes" / "a.txt").write_text("no frame")
    assert numbers_of(read_frames(tmp_path / "f", np.arange(11))) == list(range(11))
    assert VideoFinder(tmp_path).find("f") == VideoPath("f")
    before = digest_source(tmp_path / "f")
    write_folder(tmp_path / "f" / "img", numbered_frames(8)[-1:], ["5.png"])
    assert digest_source(tmp_path / "f") != before


def test_frames_in_several_folders_are_not_guessed_at(tmp_path: Path) -> None:
    for name in ("rgb", "flow"):
        write_folder(tmp_path / "f" / name, numbered_frames(2), ["0.png", "1.png"])
    with pytest.raises(BadVideo, match=r"holds images in 2 folders \(flow, rgb\)"):
        probe(tmp_path / "f")


def frames_and(folder: Path) -> Path:
    """Two frames, `0.png` and `2.png`, between which something is to be put."""
    return write_folder(folder, numbered_frames(2), ["0.png", "2.png"])


def test_no_pipe_no_device_no_folder(tmp_path: Path) -> None:
    pipe, device, inner = (frames_and(tmp_path / name) for name in ("pipe", "device", "inner"))
    os.mkfifo(pipe / "1.png")
    (device / "1.png").symlink_to("/dev/zero")
    (inner / "1.png").mkdir()
    for folder in (pipe, device, inner):
        digest_source(folder)
        with pytest.raises(BadVideo, match=r"1\.png is (not a regular file|a link that leaves)"):
            read_frames(folder, np.arange(3))


def test_a_pipe_in_a_video_s_place_blocks_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert digest_source(tmp_path / "a.mp4") == NOT_REGULAR
    with pytest.raises(BadVideo, match="not a regular file"):
        probe(tmp_path / "a.mp4")


def test_links_stay_inside(tmp_path: Path) -> None:
    secret = write_folder(tmp_path / "secret", numbered_frames(1), ["s.png"]) / "s.png"
    root = tmp_path / "root"
    folder = frames_and(root / "clip")
    (folder / "1.png").symlink_to(secret)
    with pytest.raises(BadVideo, match=r"1\.png is a link that leaves"):
        read_frames(folder, np.arange(3))
    (folder / "1.png").unlink()
    (folder / "1.png").symlink_to("0.png")
    assert numbers_of(read_frames(folder, np.arange(3))) == [0, 0, 1]
    other = write_folder(root / "other", numbered_frames(1), ["o.png"]) / "o.png"
    (folder / "1.png").unlink()
    (folder / "1.png").symlink_to(other)
    assert numbers_of(read_frames(folder, np.arange(3), how=Reading(root=root))) == [0, 0, 1]


def test_a_video_behind_a_link_that_leaves_the_root(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.mp4", numbered_frames(3))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.mp4").symlink_to(tmp_path / "secret.mp4")
    with pytest.raises(BadVideo, match="leaves the folder"):
        probe(tmp_path / "root" / "a.mp4", Reading(root=tmp_path / "root"))
    assert probe(tmp_path / "root" / "a.mp4").num_frames == 3


def test_what_was_opened_is_checked_not_only_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder on the way becomes a link to outside between the check and the opening."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "clips", outside):
        folder.mkdir(parents=True)
        (folder / "a").write_text(folder.name)
    real_lstat = os.lstat

    def swap(path: str, **options: int) -> os.stat_result:
        status = real_lstat(path, **options)
        if str(path) == str(root / "clips" / "a") and not (root / "old").exists():
            (root / "clips").rename(root / "old")
            (root / "clips").symlink_to(outside)
        return status

    monkeypatch.setattr(os, "lstat", swap)
    with pytest.raises(BadVideo, match="leaves the folder"):
        open_regular(root / "clips" / "a", root)


def _png(width: int, height: int) -> bytes:
    """A PNG of black pixels that is a thousand times smaller than they are."""
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes((width + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_picture_that_is_far_too_large(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "0.png").write_bytes(_png(9000, 9000))
    with pytest.raises(BadVideo, match=r"9000x9000 pixels, too many"):
        probe(tmp_path / "f")


def test_a_name_that_is_a_pattern_opens_nothing_else(tmp_path: Path) -> None:
    names = ["p000.png", "p001.png", "p002.png", "p%03d.png"]
    folder = write_folder(tmp_path, numbered_frames(4), names)
    with pytest.raises(BadVideo, match="not a video but a single picture"):
        probe(folder / "p%03d.png")
    video = write_video(tmp_path / "v.mp4", numbered_frames(5))
    video.rename(tmp_path / "p%03d.jpg")
    assert probe(tmp_path / "p%03d.jpg").num_frames == 5
