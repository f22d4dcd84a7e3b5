"""Digests of source videos: computed once per file, and again whenever the file may be another one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from data_catalog.tables import sources as sources_module
from data_catalog.tables.sources import Sources, digest_source
from tests.support.artifact_files import flip_bit


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "catalog" / "sources.parquet"


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.mp4" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 1000)
    return paths


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []

    def counted(path: Path) -> str:
        seen.append(path)
        return digest_source(path)

    monkeypatch.setattr(sources_module, "digest_source", counted)
    return seen


def test_a_digest_is_that_of_the_content(table: Path, videos: list[Path]) -> None:
    found = Sources(table).digest(videos)
    assert found == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in videos}


def test_each_file_is_read_once_whoever_asks(
    table: Path, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = reads(monkeypatch)
    first = Sources(table).digest([*videos, videos[0]])
    assert sorted(seen) == sorted(videos)
    again = Sources(table)
    assert again.digest(videos) == first
    assert [again.known(path) for path in videos] == [first[path] for path in videos]
    assert len(seen) == 3
    again.digest(videos, verify=True)
    assert len(seen) == 6


def _replace_by_an_older_file(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"\xff" * path.stat().st_size)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(other, path)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: path.write_bytes(b"x" * 1000), id="same size, new time"),
        pytest.param(lambda path: path.write_bytes(b"x" * 999), id="new size"),
        pytest.param(_replace_by_an_older_file, id="same size and time, new inode"),
    ],
)
def test_a_changed_file_is_read_again(table: Path, videos: list[Path], change: object) -> None:
    before = Sources(table).digest(videos)
    os.utime(videos[1], ns=(1, 1))
    Sources(table).digest(videos)
    assert callable(change)
    change(videos[1])
    sources = Sources(table)
    assert sources.known(videos[1]) is None
    after = sources.digest(videos)
    assert after[videos[1]] != before[videos[1]]
    assert after[videos[0]] == before[videos[0]]


def test_a_change_that_hides_is_found_by_verify(table: Path, videos: list[Path]) -> None:
    before = Sources(table).digest(videos)
    flip_bit(videos[0], 10, keep_times=True)
    assert Sources(table).digest(videos) == before  # documented: size, time and inode are trusted
    assert Sources(table).digest(videos, verify=True)[videos[0]] != before[videos[0]]


def test_a_missing_file_has_no_digest_and_is_no_error(table: Path, videos: list[Path]) -> None:
    sources = Sources(table)
    videos[0].unlink()
    assert sorted(sources.digest(videos)) == sorted(videos[1:])
    assert sources.known(videos[0]) is None


def frame_folder(folder: Path, names: Iterable[str]) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(name.encode() * 100)
    return folder


def test_a_folder_is_its_names_and_contents(tmp_path: Path) -> None:
    first = frame_folder(tmp_path / "a", ["1.jpg", "2.jpg"])
    assert digest_source(first) == digest_source(frame_folder(tmp_path / "b", ["2.jpg", "1.jpg"]))
    (tmp_path / "b" / "2.jpg").rename(tmp_path / "b" / "3.jpg")
    assert digest_source(first) != digest_source(tmp_path / "b")


def test_a_frame_replaced_by_an_older_one_of_the_same_size_is_noticed(table: Path, tmp_path: Path) -> None:
    """Their sum of sizes and the newest time are the same as before, and so is the folder's own time."""
    folder = frame_folder(tmp_path / "frames", ["1.jpg", "2.jpg", "3.jpg"])
    sources = Sources(table)
    before = sources.digest([folder])
    with (folder / "2.jpg").open("r+b") as file:
        file.write(b"other")
    os.utime(folder / "2.jpg", ns=(5, 5))
    assert sources.known(folder) is None
    assert sources.digest([folder]) != before


def test_a_damaged_table_is_said_once_and_computed_again(table: Path, videos: list[Path]) -> None:
    before = Sources(table).digest(videos)
    table.write_bytes(table.read_bytes()[:-20])
    said: list[str] = []
    sources = Sources(table, said.append)
    assert sources.digest(videos) == before
    assert len(said) == 1
    assert str(table) in said[0]
    assert Sources(table, said.append).known(videos[0]) == before[videos[0]]
    assert len(said) == 1


def test_two_writers_keep_each_others_digests(table: Path, videos: list[Path]) -> None:
    first, second = Sources(table), Sources(table)
    first.digest(videos[:1])
    second.digest(videos[1:])
    assert all(Sources(table).known(path) for path in videos)
