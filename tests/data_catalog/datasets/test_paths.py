"""Names in labels and names on disk: the exact file wins, then the only one that differs in spelling alone."""

import os
from pathlib import Path

import pytest

from data_catalog.catalog import clips_table
from data_catalog.datasets import Listing, build_adapter
from data_catalog.datasets.label_rows import MAX_CLIP_ID_BYTES
from data_catalog.datasets.paths import SUGGESTIONS, VideoFinder, VideoPath
from data_catalog.foreign_text import visible
from tests.support.video_names import NAMES, NFC, NFD


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def read(root: Path, *rows: tuple[str, str]) -> Listing:
    lines = "".join(f'"{clip_id}","{video}",train,1\n' for clip_id, video in rows)
    (root.parent / "labels.csv").write_text("clip_id,video,split,score\n" + lines, encoding="utf-8")
    return build_adapter("folder").read(root, root.parent / "labels.csv")


@pytest.mark.parametrize(("said", "on_disk"), NAMES.values(), ids=NAMES)
def test_a_name_that_is_only_spelt_otherwise_is_used(tmp_path: Path, said: str, on_disk: str) -> None:
    root = make(tmp_path / "clips", on_disk, "other.mp4")
    listing = read(root, ("x", said))
    assert [clip.video for clip in listing.records] == [on_disk]
    assert len(listing.notes) == (said != on_disk)  # a name that is not exact is said
    assert clips_table(listing.records).num_rows == 1


def test_the_exact_name_wins_and_two_alike_are_named(tmp_path: Path) -> None:
    root = make(tmp_path / "clips", NFC, NFD, "A.mp4", "a.MP4", "day2\\dive.mp4", "day2/dive.mp4")
    exact = [NFC, NFD, "A.mp4", "day2\\dive.mp4"]
    assert [clip.video for clip in read(root, *((str(i), name) for i, name in enumerate(exact))).records] == exact
    (rejected,) = read(root, ("x", "a.mp4")).rejected
    assert rejected.reason == "the video 'a.mp4' may be 'A.mp4' or 'a.MP4'"


def test_another_extension_is_another_file_and_the_nearest_name_is_suggested(tmp_path: Path) -> None:
    root = make(tmp_path / "clips", "dive_04.mov", "sub/b.mp4")
    (rejected,) = read(root, ("x", "dive_04.mp4")).rejected
    assert rejected.remedy == "did you mean 'dive_04.mov'? Otherwise add the file or remove the row"
    finder = VideoFinder(root)
    assert finder.find("sub/b.mp4") == VideoPath("sub/b.mp4")
    answers = [finder.find(f"dive_{number}.mp4") for number in range(2 * SUGGESTIONS)]
    assert sum("did you mean" in getattr(answer, "remedy", "") for answer in answers) <= SUGGESTIONS


@pytest.mark.parametrize(
    "name", ["..\\secret.mp4", "clips\\..\\..\\secret.mp4", "LINK\\secret.mp4", "Out.mp4", "clips/../../secret"]
)
def test_no_spelling_leaves_the_folder(tmp_path: Path, name: str) -> None:
    root = make(tmp_path / "clips", "a.mp4")
    secret = make(tmp_path / "outside", "secret.mp4") / "secret.mp4"
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (root / "link").symlink_to(secret.parent)
    (root / "out.mp4").symlink_to(secret)
    listing = read(root, ("x", name))
    assert listing.records == ()
    assert len(listing.rejected) == 1


@pytest.mark.parametrize("name", ["a\x07.mp4", "a\x1b[31m.mp4", "a\x85.mp4", "a\x00.mp4"])
def test_control_characters_are_refused_and_never_printed(tmp_path: Path, name: str) -> None:
    root = make(tmp_path / "clips", "a.mp4")
    listing = read(root, ("x", name), (f"{name[:-4]}z", "a.mp4"), ("ok", "a.mp4"))
    assert [clip.clip_id for clip in listing.records] == ["ok"]
    assert all(str(row).isprintable() for row in listing.rejected)


def test_names_on_disk_that_are_not_utf8_are_shown_escaped(tmp_path: Path) -> None:
    root = make(tmp_path / "clips", os.fsdecode(b"dive_\xff1.mp4"))
    (rejected,) = read(root, ("x", "dive_1.mp4")).rejected
    assert rejected.remedy == "did you mean 'dive_\\udcff1.mp4'? Otherwise add the file or remove the row"
    assert visible("a\u202eb\nc\u200dd") == "a\\u202eb\\nc\u200dd"


def test_a_clip_id_that_is_kept_leaves_room_for_what_its_files_are_called(tmp_path: Path) -> None:
    root = make(tmp_path / "clips", "a.mp4")
    longest, longer = "é" * (MAX_CLIP_ID_BYTES // 2), "é" * (MAX_CLIP_ID_BYTES // 2) + "x"
    listing = read(root, (longest, "a.mp4"), (longer, "a.mp4"), ("ok", "a.mp4"))
    assert [clip.clip_id for clip in listing.records] == [longest, "ok"]
    (rejected,) = listing.rejected
    assert "too long for the names of its files; shorten it" in str(rejected)
