"""NumPy's array files (.npy, .npz), read in many threads at once.

A header is a Python literal, and CPython (3.11.7) counts the depth of a literal's syntax tree in one place for all
threads: where the garbage collector runs Python code in the middle of one parse, another thread may begin its own, and
the first ends in "SystemError: AST constructor recursion depth mismatch". So headers are read one at a time; the values
behind them, which take the time, are not.
"""

from __future__ import annotations

import math
import threading
import zipfile
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

_HEADERS: Final = threading.Lock()


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype at the beginning of an .npy; the file then stands at the first value.

    Raises:
        ValueError, EOFError: the header is damaged; other errors, too, for what NumPy's parser makes of it.
    """
    with _HEADERS:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(file)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz by name, of the shape and dtype in their headers, each writable and of its own memory.

    Raises:
        OSError: the file can't be read.
        ValueError, EOFError, zipfile.BadZipFile, zlib.error: it is damaged, or holds Python objects.
    """
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist()]
        return {name.removesuffix(".npy"): _read_array(archive, name) for name in names}


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as file:
        shape, fortran, dtype = read_npy_header(file)
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects")
        size, there = math.prod(shape) * dtype.itemsize, archive.getinfo(name).file_size - file.tell()
        if size != there:  # said by the archive, so nothing is unpacked for it
            raise ValueError(f"{name} announces {size} bytes and holds {there}")
        values = bytearray(file.read())
    return np.ndarray(shape, dtype, values, order="F" if fortran else "C")
