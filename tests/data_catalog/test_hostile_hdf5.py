"""Artifacts and packs with a right seal that read other files, fill the memory, or are mutants of real ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from data_catalog.catalog import Workspace
from data_catalog.indexed_read import NoArtifact, open_artifact
from data_catalog.pack.file import DamagedPack, PackReader
from data_catalog.store import ArtifactDamaged, Store, content_digest, create_file, read_lineage, seal
from tests.support.artifact_files import KEY, arrays, lineage
from tests.support.limited_process import MEMORY, SECONDS_A_FILE, read_mutants, was_opened, watch
from tests.support.tiny_workspace import copy_workspace

Change = Callable[[h5py.File, Path], None]


def external_link(file: h5py.File, secret: Path) -> None:
    del file["quads"]
    file["quads"] = h5py.ExternalLink(str(secret / "other.h5"), "quads")


def soft_link(file: h5py.File, secret: Path) -> None:
    del file["quads"]
    file["quads"] = h5py.SoftLink("/lost")


def external_storage(file: h5py.File, secret: Path) -> None:
    del file["frames"]
    file.create_dataset("frames", shape=(6,), dtype="u1", external=[(str(secret / "words.txt"), 0, 6)])


def virtual(file: h5py.File, secret: Path) -> None:
    del file["quads"]
    layout = h5py.VirtualLayout((2, 7, 4, 2), "f4")
    layout[...] = h5py.VirtualSource(str(secret / "other.h5"), "quads", (2, 7, 4, 2))
    file.create_virtual_dataset("quads", layout)


def deeper_link(file: h5py.File, secret: Path) -> None:
    file["deep/link"] = h5py.ExternalLink(str(secret / "other.h5"), "/")


def terabytes(file: h5py.File, secret: Path) -> None:
    del file["number"]
    file.create_dataset("number", shape=(2**40,), dtype="f8", chunks=(1024,), compression="gzip")


def plug_in(file: h5py.File, secret: Path) -> None:
    del file["number"]
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((4,))
    made.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"number", h5py.h5t.IEEE_F64LE, space, made)


CHANGES: list[Change] = [external_link, soft_link, external_storage, virtual, deeper_link, terabytes, plug_in]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A folder that no artifact has to read."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "words.txt").write_text("secret")
    with h5py.File(folder / "other.h5", "w") as file:
        file["quads"] = np.full((2, 7, 4, 2), 42, "f4")
    return folder


def remade(path: Path, change: Change, secret: Path) -> None:
    """The file again, changed and sealed as right as any."""
    changed = path.with_suffix(".new")
    with h5py.File(path, "r") as old, create_file(changed) as new:
        for name in old:
            old.copy(name, new)
        new.attrs.update(dict(old.attrs))
        change(new, secret)
    seal(changed)
    os.replace(changed, path)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_sealed_artifact_that_refers_elsewhere_is_damaged_for_every_reader(
    tmp_path: Path, secret: Path, change: Change
) -> None:
    store = Store(tmp_path / "artifacts")
    path = store.write(lineage(), arrays())
    remade(path, change, secret)
    watched = watch(secret)
    readers: list[Callable[[], object]] = [
        lambda: store.read("track", KEY),
        lambda: store.read("track", KEY, ["text"]),
        lambda: store.verify("track", KEY),
        lambda: store.lineage("track", KEY),
        lambda: read_lineage(path),
    ]
    for read in readers:
        with pytest.raises(ArtifactDamaged, match=r"holds '|keeps '|announces .* more than it can hold"):
            read()
    with pytest.raises(OSError, match=r"holds '|keeps '|announces "):
        content_digest(path)
    assert not was_opened(watched)


def test_the_viewer_and_the_index_refuse_it_too(finished_workspace: Path, secret: Path, tmp_path: Path) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "w")
    seen, checked = sorted(root.glob("artifacts/track/??/*.h5"))[:2]
    for path in (seen, checked):
        remade(path, external_link, secret)
    workspace = Workspace(root)
    watched = watch(secret)
    with pytest.raises(NoArtifact), open_artifact(workspace, "track", seen.stem) as file:
        file["quads"][...]
    assert not seen.exists()  # so that the next run makes it again
    _, damaged = workspace.index.check("track", [checked.stem])
    assert "holds 'quads' as a link" in str(damaged[checked.stem])
    remade_pack = sorted(root.glob("artifacts/pack/??/*.h5"))[0]
    remade(remade_pack, pack_elsewhere, secret)
    with pytest.raises(DamagedPack, match="keeps 'coverage' in another file"):
        PackReader(remade_pack)
    assert not was_opened(watched)


def pack_elsewhere(file: h5py.File, secret: Path) -> None:
    shape, dtype = file["coverage"].shape, file["coverage"].dtype
    del file["coverage"]
    size = int(np.prod(shape)) * dtype.itemsize
    file.create_dataset("coverage", shape=shape, dtype=dtype, external=[(str(secret / "words.txt"), 0, size)])


@pytest.mark.parametrize(
    "count", [200, pytest.param(2_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])], ids=["few", "many"]
)
def test_sealed_mutants_are_read_or_damaged(tmp_path: Path, secret: Path, count: int) -> None:
    store = Store(tmp_path / "artifacts")
    (tmp_path / "corpus").mkdir()
    for number, change in enumerate([*CHANGES, lambda file, folder: None]):
        path = store.write(lineage(), arrays())
        remade(path, change, secret)
        os.replace(path, tmp_path / "corpus" / str(number))
    outcome = read_mutants("hdf5", tmp_path, count)
    assert outcome.read + outcome.refused == count
    assert outcome.refused > count / 4
    assert outcome.slowest < SECONDS_A_FILE
    assert outcome.memory < MEMORY
    assert outcome.opened == []
