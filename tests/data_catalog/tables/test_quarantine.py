"""Quarantine rows: one file a key, so that they survive, and damage costs one more try."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_catalog.tables.quarantine import Quarantine, QuarantineRow
from tests.support.artifact_files import flip_bit, truncate

ROW = QuarantineRow("mine", "clip é", "detect", "ab" * 20, "Nobody is in it.", "Give a box.", "2026-01-01")


def path_of(root: Path) -> Path:
    return root / "detect" / f"{ROW.key}.json"


def test_a_row_persists(tmp_path: Path) -> None:
    Quarantine(tmp_path).add(ROW)
    again = Quarantine(tmp_path)
    assert again.keys("detect") == {ROW.key}
    assert again.get("detect", ROW.key) == ROW
    assert again.keys("track") == set()
    assert again.get("track", ROW.key) is None


def test_removed_is_forgotten(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    quarantine.add(ROW)
    quarantine.remove("detect", ROW.key)
    quarantine.remove("detect", ROW.key)
    assert quarantine.keys("detect") == set()


@pytest.mark.parametrize("damage", ["flip in the reason", "flip in the key", "truncate", "empty", "binary"])
def test_a_damaged_row_is_said_and_its_clip_tried_again(tmp_path: Path, damage: str) -> None:
    said: list[str] = []
    quarantine = Quarantine(tmp_path, said.append)
    quarantine.add(ROW)
    path = path_of(tmp_path)
    content = path.read_bytes()
    if damage.startswith("flip"):
        flip_bit(path, content.index(b"Nobody" if damage.endswith("reason") else b"abab"), bit=1)
    elif damage == "truncate":
        truncate(path, len(content) // 2)
    else:
        path.write_bytes(b"" if damage == "empty" else b"\xff\xfe\x00")
    assert quarantine.get("detect", ROW.key) is None
    assert len(said) == 1
    assert str(path) in said[0]
    assert quarantine.keys("detect") == set()


def test_a_row_under_another_name_does_not_count(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    quarantine.add(ROW)
    path_of(tmp_path).rename(path_of(tmp_path).with_name("cd" * 20 + ".json"))
    assert quarantine.get("detect", "cd" * 20) is None
