"""Opens annotation pickles that came from the network: nothing outside a short allow-list is ever imported."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy._core import multiarray

from data_catalog.errors import DatasetError

# What plain numpy arrays need. NumPy 2 renamed numpy.core to numpy._core; files of both ages are around.
_ARRAY_PARTS: dict[str, object] = {"_reconstruct": multiarray._reconstruct, "scalar": multiarray.scalar}
ALLOWED: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(f"numpy.{core}.multiarray", name): part for core in ("core", "_core") for name, part in _ARRAY_PARTS.items()},
}
MAX_BYTES = 256 * 2**20  # the largest published annotation has a few megabytes

Content = TypeVar("Content")


class UnsafePickle(DatasetError):
    """The pickle asks for a global that plain data does not need; nothing of it was run."""


class BrokenPickle(DatasetError):
    """The file is not a whole pickle."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(io.BytesIO(content))
        self._name = name

    def find_class(self, module: str, name: str) -> object:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise UnsafePickle(
                f"{self._name} asks for '{module}.{name}', which no annotation needs, and was not opened; "
                "download it again from the dataset's own site"
            ) from None

    def persistent_load(self, pid: object) -> object:
        raise UnsafePickle(
            f"{self._name} refers to objects outside itself and was not opened; "
            "download it again from the dataset's own site"
        )


def load_pickle(path: Path) -> object:
    """The plain data of `path`: dict, list, tuple, numbers, text, None and numpy arrays (protocols 3 and 4).

    Raises:
        UnsafePickle: the file asks for any other global; its name is in the message.
        BrokenPickle: the file is truncated, too large or no pickle.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BrokenPickle(f"{path.name} has {size} bytes, far more than an annotation; check which file it is")
    try:
        return _Unpickler(path.read_bytes(), path.name).load()
    except UnsafePickle:
        raise
    # A damaged pickle makes the opcodes, and NumPy's, fail in any way there is; none of them is a fault of ours.
    except Exception as exc:
        raise BrokenPickle(f"{path.name} is damaged or no pickle ({type(exc).__name__}); download it again") from exc


def load_annotation(path: Path, kind: type[Content], remedy: str) -> Content:
    """`load_pickle` of an annotation that has to be a `kind`.

    Raises:
        DatasetError: it is something else; the message ends with `remedy`.
        UnsafePickle, BrokenPickle, OSError: see `load_pickle`.
    """
    content = load_pickle(path)
    if not isinstance(content, kind):
        raise DatasetError(f"{path.name} holds a {type(content).__name__}, not a {kind.__name__}; {remedy}")
    return content
