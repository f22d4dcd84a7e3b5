"""Replacing files: whole or not at all, and nothing left of writers that died."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from data_catalog import system
from data_catalog.atomic import replacing, sweep
from data_catalog.json_file import read_record, sealed, write_json, write_record
from data_catalog.store import ArtifactDamaged


def test_the_new_content_appears_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text(str(1 // (temporary.write_text("ne") - 2)))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_sweep_takes_files_of_the_dead_and_spares_the_living(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from data_catalog.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary: print(temporary, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a" / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        temporary = Path(writer.stdout.readline().strip())
        assert sweep(tmp_path) == []
        assert temporary.exists()
        os.kill(writer.pid, signal.SIGKILL)
    assert sweep(tmp_path) == [temporary]
    assert not temporary.exists()


def test_a_file_swept_before_it_was_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, swept = system.fcntl.flock, []

    def late(file: object, operation: int) -> None:
        if not swept:
            swept.extend(path.unlink() for path in tmp_path.glob(".*.tmp"))
        flock(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(system.fcntl, "flock", late)
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("x")
    assert swept == [None]
    assert (tmp_path / "file").read_text() == "x"


def test_writers_and_sweepers_together_lose_nothing(tmp_path: Path) -> None:
    stop = threading.Event()

    def keep_sweeping() -> None:
        while not stop.is_set():
            sweep(tmp_path)

    sweeper = threading.Thread(target=keep_sweeping)
    sweeper.start()
    try:
        for number in range(200):
            write_json(tmp_path / f"{number % 5}.json", number)
    finally:
        stop.set()
        sweeper.join()
    assert sorted(json.loads(path.read_text()) for path in tmp_path.iterdir()) == list(range(195, 200))


def test_json_refuses_what_json_has_no_word_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"score": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_read_back_and_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path, record = tmp_path / "r.json", {"root": "/videos/ü", "clips": 3, "options": {"a": None}}
    write_record(path, record)
    assert read_record(path) == record
    content = path.read_bytes()
    for at in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[at] ^= 1 << bit
            path.write_bytes(changed)
            with contextlib.suppress(ArtifactDamaged):
                assert read_record(path) == record, (at, bit)


def test_a_seal_covers_every_value() -> None:
    assert sealed({"a": 1})["sha256"] != sealed({"a": 2})["sha256"]
    assert sealed({"a": 1, "b": 2})["sha256"] == sealed({"b": 2, "a": 1})["sha256"]
