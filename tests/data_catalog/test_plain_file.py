"""Only plain files are opened in a workspace: nothing else is followed, waited for or mistaken for one."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from data_catalog.plain_file import clear, file_digest, is_plain, open_plain, read_plain
from data_catalog.store import ArtifactDamaged


def folder(path: Path) -> None:
    path.mkdir()
    (path / "something").write_text("in it")


def link(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"whole")
    path.symlink_to(other)


def broken_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))  # as /dev/null
    except PermissionError:
        pytest.skip("only root makes devices")


KINDS: dict[str, Callable[[Path], None]] = {
    "a folder": folder,
    "a link": link,
    "a link to nothing": broken_link,
    "a pipe": os.mkfifo,
    "a socket": listening,
    "a device": device,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_plain_file_is_damage_and_can_be_cleared(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may have a hundred letters
    path = Path("file")
    KINDS[kind](path)
    assert not is_plain(path)
    problems: list[Exception] = []

    def read() -> None:
        for function in (open_plain, read_plain, file_digest):
            try:
                function(path)
            except Exception as exc:
                problems.append(exc)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(5)
    assert not reader.is_alive(), "it waits for a writer"
    assert [type(problem) for problem in problems] == [ArtifactDamaged] * 3
    assert str(problems[0]) == f"file is {kind.removesuffix(' to nothing')}, not a file; it will be made again."
    clear(path)
    assert not os.path.lexists(path)
    if kind == "a link":
        assert Path("other").read_bytes() == b"whole"


def test_a_plain_file_is_read_and_a_missing_one_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"whole")
    assert is_plain(tmp_path / "file")
    assert read_plain(tmp_path / "file") == b"whole"
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "none")
