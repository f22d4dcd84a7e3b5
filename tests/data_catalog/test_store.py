"""The store: an artifact is there, whole and verified, or it is not."""

from __future__ import annotations

import fcntl
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_catalog import store as store_module
from data_catalog.store import (
    USERBLOCK,
    ArtifactDamaged,
    Lineage,
    Store,
    content_digest,
    create_file,
    seal,
    verify_file,
)
from tests.support.artifact_files import KEY, arrays, flip_bit, lineage, truncate

OTHER = "ab" + "0" * 38


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "artifacts")


def test_what_is_written_is_read_back_exactly(store: Store) -> None:
    store.write(lineage(), arrays(), {"width": 455, "fps": "30000/1001"})
    found = store.read("track", KEY)
    assert sorted(found.arrays) == sorted(arrays())
    for name, array in arrays().items():
        assert found.arrays[name].shape == array.shape
        assert np.array_equal(found.arrays[name], array.astype(found.arrays[name].dtype))
        assert array.dtype.kind in "UO" or found.arrays[name].dtype == array.dtype
    assert found.attrs["width"] == 455
    assert found.attrs["fps"] == "30000/1001"
    assert found.lineage == lineage()


def test_only_the_named_arrays_are_read(store: Store) -> None:
    store.write(lineage(), arrays())
    assert list(store.read("track", KEY, ["lost"]).arrays) == ["lost"]


def test_lineage_survives_its_attributes() -> None:
    assert Lineage.from_attributes(lineage().attributes()) == lineage()


def test_h5dump_shows_the_lineage_and_the_coordinates(store: Store) -> None:
    path = store.write(lineage(), arrays())
    with h5py.File(path, "r") as file:
        assert file.attrs["clip_id"] == "über/clip'1"
        assert '"tracker": "mil"' in file.attrs["config"]
        assert "pixel i spans [i, i+1)" in file.attrs["coordinates"]


def test_every_numeric_dataset_has_a_checksum(store: Store) -> None:
    path = store.write(lineage(), arrays())
    with h5py.File(path, "r") as file:
        with_checksum = {name for name in ("quads", "lost", "frames", "deep/er") if file[name].fletcher32}
    assert with_checksum == {"quads", "lost", "frames", "deep/er"}


def test_same_content_gives_the_same_bytes_but_for_lineage(store: Store) -> None:
    first = store.write(lineage(), arrays()).read_bytes()
    assert store.write(lineage(), arrays()).read_bytes() == first


def test_content_digest_sees_content_and_key_and_not_where_and_when(store: Store) -> None:
    digest = content_digest(store.write(lineage(), arrays()))
    assert content_digest(store.write(lineage(seconds=9.0, host="elsewhere", created="later"), arrays())) == digest
    changed = arrays()
    changed["quads"][0, 0, 0, 0] = np.nextafter(changed["quads"][0, 0, 0, 0], np.float32(9))
    assert content_digest(store.write(lineage(), changed)) != digest
    assert content_digest(store.write(lineage(OTHER), arrays())) != digest
    renamed = arrays()
    renamed["quad"] = renamed.pop("quads")
    assert content_digest(store.write(lineage(), renamed)) != digest


def _positions(size: int) -> list[int]:
    rng = np.random.default_rng(1)
    return [0, 20, 60, 100, USERBLOCK - 1, USERBLOCK, size - 1, *rng.integers(USERBLOCK, size, 40).tolist()]


def test_a_flipped_bit_anywhere_is_noticed(store: Store) -> None:
    path = store.write(lineage(), arrays())
    whole = path.read_bytes()
    padding = range(len(whole[:USERBLOCK].rstrip(b"\0")), USERBLOCK)
    for at in _positions(len(whole)):
        flip_bit(path, at, bit=at % 8)
        if at in padding:  # says nothing: either refused, or read as it was written
            continue
        with pytest.raises(ArtifactDamaged, match="it will be made again"):
            store.read("track", KEY)
        with pytest.raises(ArtifactDamaged):
            store.verify("track", KEY)
        path.write_bytes(whole)
    store.verify("track", KEY)


@pytest.mark.parametrize("keep", [0, 1, 100, USERBLOCK - 1, USERBLOCK, USERBLOCK + 1, 3000, -1])
def test_truncation_is_noticed(store: Store, keep: int) -> None:
    path = store.write(lineage(), arrays())
    truncate(path, keep % path.stat().st_size)
    with pytest.raises(ArtifactDamaged, match=str(path)):
        store.read("track", KEY)
    with pytest.raises(ArtifactDamaged):
        verify_file(path)


def test_bytes_appended_are_noticed(store: Store) -> None:
    path = store.write(lineage(), arrays())
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactDamaged, match="bytes of"):
        store.verify("track", KEY)


def test_a_whole_file_under_another_name_is_noticed(store: Store) -> None:
    right = store.write(lineage(), arrays())
    wrong = store.path("track", OTHER)
    shutil.copy(right, wrong)
    for check in (store.read, store.verify):
        with pytest.raises(ArtifactDamaged, match="another key"):
            check("track", OTHER)


def test_a_missing_artifact_is_missing_not_damaged(store: Store) -> None:
    assert not store.exists("track", KEY)
    for check in (store.read, store.verify, store.lineage):
        with pytest.raises(FileNotFoundError):
            check("track", KEY)


def test_damage_comes_back_whole_from_another_process(store: Store) -> None:
    problem = pickle.loads(pickle.dumps(ArtifactDamaged(Path("x.h5"), "is odd")))
    assert (str(problem), problem.path) == ("x.h5 is odd; it will be made again.", Path("x.h5"))


@pytest.mark.parametrize("where", ["write_array", "_seal_of"])
def test_a_write_that_fails_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, where, full)
    with pytest.raises(OSError, match="No space left"):
        store.write(lineage(), arrays())
    assert not store.exists("track", KEY)
    store.close()
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_rewriting_leaves_the_old_file_until_the_new_one_is_whole(store: Store) -> None:
    path = store.write(lineage(), arrays())
    with path.open("rb") as reader:
        store.write(lineage(), {"quads": np.zeros(3)})
        assert reader.read(10) == b"tubeflow-a"  # the open file is still the old one
    assert list(store.read("track", KEY).arrays) == ["quads"]


def test_a_file_without_a_user_block_is_not_adopted(store: Store, tmp_path: Path) -> None:
    with h5py.File(store.scratch("plain.h5"), "w") as file:
        file["x"] = [1]
        name = Path(file.filename)
    with pytest.raises(ValueError, match="no user block"):
        store.adopt(lineage(), name)


def test_scan_finds_the_artifacts_of_one_stage(store: Store) -> None:
    store.write(lineage(), arrays())
    store.write(lineage("ff" * 20), arrays())
    store.write(lineage(stage="masks"), arrays())
    store.work_folder("track", KEY).mkdir()
    assert sorted(store.scan("track")) == [KEY, "ff" * 20]
    assert store.scan("nothing") == {}


def test_scratch_of_many_threads_is_one_folder(store: Store) -> None:
    """Two folders would leave one without a lock, and a sweep of another process would take files in use."""
    barrier = threading.Barrier(8)
    paths: list[Path] = []

    def work() -> None:
        barrier.wait()
        paths.append(store.scratch("x.h5"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path.parent for path in paths}) == 1
    assert len(set(paths)) == 8


def test_sweep_spares_the_living_and_takes_the_dead(store: Store, tmp_path: Path) -> None:
    mine = store.scratch("mine.h5")
    mine.write_bytes(b"in use")
    script = (
        "import sys, os; from pathlib import Path; from data_catalog.store import Store\n"
        "store = Store(Path(sys.argv[1])); path = store.scratch('theirs.h5')\n"
        "path.write_bytes(b'x'); print(path, flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(store.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        other_store = Store(store.root)
        assert other_store.sweep() == []
        assert theirs.exists()
        assert mine.exists()
        other.kill()
    assert other_store.sweep() == [theirs]
    assert not theirs.parent.exists()
    assert mine.exists()


def test_sweep_takes_unfinished_checkpoints_unless_their_training_lives(store: Store) -> None:
    folder = store.work_folder("train", KEY)
    (folder / "checkpoints").mkdir(parents=True)
    half, whole = folder / "checkpoints" / "0-1.ckpt.tmp", folder / "checkpoints" / "0-1.ckpt"
    half.touch()
    whole.touch()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert store.sweep() == []
    assert store.sweep() == [half]
    assert whole.exists()


def test_close_removes_the_scratch_folder_and_the_store_goes_on(store: Store) -> None:
    store.write(lineage(), arrays())
    store.close()
    assert list((store.root / "tmp").iterdir()) == []
    store.write(lineage(OTHER), arrays())
    assert store.exists("track", OTHER)


def test_seal_covers_files_larger_than_its_blocks(tmp_path: Path) -> None:
    path = tmp_path / "big.h5"
    with create_file(path) as file:
        file["x"] = np.zeros(3_000_000)
    seal(path)
    verify_file(path)
    flip_bit(path, path.stat().st_size - 5, keep_times=True)
    with pytest.raises(ArtifactDamaged):
        verify_file(path)


def test_an_unreadable_artifact_is_damaged(store: Store, where_permissions_bite: Callable[..., Any]) -> None:
    path = store.write(lineage(), arrays())
    path.chmod(0)
    script = (
        "import sys; from pathlib import Path; from data_catalog.store import Store, ArtifactDamaged\n"
        "for name in ('read', 'verify'):\n"
        "    try: getattr(Store(Path(sys.argv[1])), name)('track', sys.argv[2])\n"
        "    except ArtifactDamaged as problem: print(problem)\n"
    )
    result = where_permissions_bite(sys.executable, "-c", script, str(store.root), KEY)
    said = f"{path} can't be read: permission denied; it will be made again."
    assert (result.stdout.splitlines(), result.stderr) == ([said, said], "")
