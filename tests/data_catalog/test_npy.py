import gc
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from data_catalog.npy import read_npz


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "arrays.npz"
    np.savez_compressed(
        path, quads=np.arange(24.0).reshape(3, 4, 2), turned=np.asfortranarray(np.arange(6).reshape(2, 3)),
        empty=np.zeros((0, 4), bool), number=np.float32(7), words=np.array(["a", "bc"]),
    )
    return path


def test_it_reads_what_numpy_reads(file: Path) -> None:
    ours = read_npz(file)
    with np.load(file) as theirs:
        assert list(ours) == list(theirs)
        for name, array in theirs.items():
            np.testing.assert_array_equal(ours[name], array, strict=True)
    ours["quads"][0] = 1  # writable, as NumPy's are


def test_python_objects_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, bad=np.array([print, {}], object))
    with pytest.raises(ValueError, match=r"bad\.npy holds Python objects"):
        read_npz(path)


def test_an_array_longer_than_its_file_is_refused_before_memory_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "announced.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("bits.npy", "w") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**15,)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(1000))
    with pytest.raises(ValueError, match=r"bits\.npy announces 1000000000000000 bytes and holds 1000"):
        read_npz(path)


@pytest.fixture
def eager_collector() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)
    gc.callbacks[:] = [callback for callback in gc.callbacks if callback.__name__ != "begin_another"]


@pytest.mark.usefixtures("eager_collector")
def test_no_header_begins_while_another_is_parsed(file: Path) -> None:
    """The collector hands the interpreter on in the middle of a parse, as a callback of it or a destructor may."""
    second = threading.Thread(target=read_npz, args=(file,))
    overtaken: list[bool] = []

    def begin_another(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and not overtaken and _parsing():
            overtaken.append(False)
            second.start()
            second.join(0.5)
            overtaken[0] = not second.is_alive()

    gc.callbacks.append(begin_another)
    read_npz(file)
    second.join()
    assert overtaken == [False], "the other thread read its headers in between, or the collector never ran in a parse"


def _parsing() -> bool:
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "literal_eval":
            return True
    return False
