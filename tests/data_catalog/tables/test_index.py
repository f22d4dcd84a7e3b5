"""The index: derived, never trusted over the files, rebuilt by itself."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_catalog.catalog import Workspace
from data_catalog.store import ArtifactDamaged, Store
from data_catalog.tables import index as index_module
from data_catalog.tables.index import ArtifactIndex, record_of
from tests.support.artifact_files import arrays, flip_bit, lineage, truncate

KEYS = [f"{number:02x}" * 20 for number in range(4)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "artifacts")
    for number, key in enumerate(KEYS):
        store.write(lineage(key, clip_id=f"clip {number}", created=f"2026-01-0{number + 1}"), arrays())
    return store


def saved_index(store: Store, table: Path) -> ArtifactIndex:
    index = ArtifactIndex(store, table)
    assert index.check("track", KEYS) == (set(KEYS), {})
    index.save()
    return index


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "catalog" / "artifacts.parquet"


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    reads: list[str] = []
    verify = Store.verify

    def counted(self: Store, stage: str, key: str) -> object:
        reads.append(key)
        return verify(self, stage, key)

    monkeypatch.setattr(Store, "verify", counted)
    return reads


def test_unchanged_files_are_not_read_again(store: Store, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved_index(store, table)
    reads = count_reads(monkeypatch)
    again = ArtifactIndex(store, table)
    assert again.check("track", KEYS) == (set(KEYS), {})
    assert reads == []
    assert again.check("track", KEYS, verify=True) == (set(KEYS), {})
    assert sorted(reads) == KEYS


def test_a_touched_but_whole_file_is_read_once(store: Store, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved_index(store, table)
    store.path("track", KEYS[1]).touch()
    reads = count_reads(monkeypatch)
    index = ArtifactIndex(store, table)
    assert index.check("track", KEYS) == (set(KEYS), {})
    index.save()
    assert ArtifactIndex(store, table).check("track", KEYS) == (set(KEYS), {})
    assert reads == [KEYS[1]]


@pytest.mark.parametrize("damage", ["flip", "flip keeping times", "truncate", "empty", "swap"])
def test_damage_is_found_and_only_that(store: Store, table: Path, damage: str) -> None:
    saved_index(store, table)
    path = store.path("track", KEYS[2])
    if damage == "truncate":
        truncate(path, 700)
    elif damage == "empty":
        truncate(path, 0)
    elif damage == "swap":
        shutil.copy2(store.path("track", KEYS[0]), path)
    else:
        flip_bit(path, 1500, bit=3, keep_times=damage.endswith("times"))
    whole, damaged = ArtifactIndex(store, table).check("track", KEYS)
    assert whole == set(KEYS) - {KEYS[2]}
    assert list(damaged) == [KEYS[2]]
    assert str(path) in str(damaged[KEYS[2]])


def test_a_deleted_file_is_missing_whatever_the_table_says(store: Store, table: Path) -> None:
    saved_index(store, table)
    store.remove("track", KEYS[0])
    assert ArtifactIndex(store, table).check("track", KEYS) == (set(KEYS[1:]), {})


@pytest.mark.parametrize("damage", ["flip", "truncate", "garbage", "delete"])
def test_a_damaged_table_is_rebuilt_by_itself_and_says_so(store: Store, table: Path, damage: str) -> None:
    before = saved_index(store, table).rows
    if damage == "flip":
        flip_bit(table, 150)  # in a page of values
    elif damage == "truncate":
        truncate(table, table.stat().st_size // 2)
    elif damage == "garbage":
        table.write_bytes(b"not a table")
    else:
        table.unlink()
    said: list[str] = []
    index = ArtifactIndex(store, table, said.append)
    assert index.rows == before
    assert len(said) == 1
    assert str(table) in said[0]
    quiet: list[str] = []
    assert ArtifactIndex(store, table, quiet.append).rows == before
    assert quiet == []


def test_an_empty_workspace_has_an_empty_index_and_nothing_to_say(tmp_path: Path) -> None:
    said: list[str] = []
    assert ArtifactIndex(Store(tmp_path / "artifacts"), tmp_path / "a.parquet", said.append).rows == {}
    assert said == []


def test_every_bit_flip_in_the_table_is_noticed_or_changes_nothing(store: Store, table: Path) -> None:
    before = saved_index(store, table).rows
    content = table.read_bytes()
    rng = np.random.default_rng(5)
    for at in rng.choice(len(content), 120, replace=False).tolist():
        for bit in rng.choice(8, 2, replace=False).tolist():
            flip_bit(table, at, bit)
            assert ArtifactIndex(store, table, lambda sentence: None).rows == before, (at, bit)
            table.write_bytes(content)


def test_rebuild_reads_everything_from_the_files_and_gives_the_damaged(store: Store, table: Path) -> None:
    before = saved_index(store, table).rows
    flip_bit(store.path("track", KEYS[3]), 2000)
    index = ArtifactIndex(store, table)
    seen: list[tuple[int, int]] = []
    damaged = index.rebuild(lambda done, total: seen.append((done, total)))
    assert [problem.path for problem in damaged] == [store.path("track", KEYS[3])]
    assert isinstance(damaged[0], ArtifactDamaged)
    assert index.rows == {name: row for name, row in before.items() if name[1] != KEYS[3]}
    assert seen[-1] == (4, 4)


def test_saving_keeps_what_other_processes_saved(store: Store, table: Path) -> None:
    first, second = ArtifactIndex(store, table), ArtifactIndex(store, table)
    first.check("track", KEYS[:2])
    second.check("track", KEYS[2:])
    first.save()
    second.save()
    assert {key for _, key in ArtifactIndex(store, table).rows} == set(KEYS)
    assert {key for _, key in second.rows} == set(KEYS)
    forgetful = ArtifactIndex(store, table)
    forgetful.forget("track", KEYS[0])
    forgetful.save()
    assert {key for _, key in ArtifactIndex(store, table).rows} == set(KEYS[1:])


def _save_rows(root: Path, number: int) -> None:
    workspace = Workspace(root)
    for step in range(5):
        key = f"{number:02x}{step:02x}" * 10
        path = workspace.store.write(lineage(key), {"x": np.arange(3)})
        workspace.index.add(record_of(lineage(key), path.stat()))
        workspace.index.save()


def test_many_processes_save_at_once(tmp_path: Path) -> None:
    root = Workspace.open(tmp_path / "w").root
    # Never by fork: this process has threads (pyarrow, HDF5, a progress bar) whose locks a child would inherit held.
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_save_rows, args=(root, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(Workspace(root).index.rows) == 20


def test_a_row_is_what_the_file_says(store: Store) -> None:
    path = store.path("track", KEYS[0])
    row = record_of(store.lineage("track", KEYS[0]), path.stat())
    assert (row.stage, row.key, row.clip_id, row.stage_version) == ("track", KEYS[0], "clip 0", 3)
    assert row.stat == (path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.stat().st_ino)
    assert tuple(row._fields) == tuple(index_module.ARTIFACTS.names)


def test_ctime_cannot_be_put_back(store: Store) -> None:
    """What the index relies on: a write shows in the change time even where the modification time is restored."""
    path = store.path("track", KEYS[0])
    before = path.stat()
    flip_bit(path, 1000, keep_times=True)
    after = os.stat(path)
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert after.st_ctime_ns != before.st_ctime_ns
