"""The arrays of a feature file by name, whatever its format: .npy, .npz, .h5, .pkl or .pt.

Every file is somebody else's. Nothing in it is run, and what it announces is compared with what it can hold before any
memory is filled: an .npz of a few kilobytes may announce terabytes.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data_catalog.errors import BadVideo
from data_catalog.media.regular_file import open_regular
from data_catalog.npy import read_npy_header
from data_catalog.safe_pickle import BrokenPickle, UnsafePickle, load_pickle
from data_catalog.self_contained import NotSelfContained, open_self_contained

MAX_ARRAY_BYTES = 4 * 2**30
"""Of one array; features of more clips than that go into several arrays, or into an .npy, which is mapped."""
MAX_PICKLE_BYTES = 2**30
MAX_LEVELS = 4
"""Of groups or dicts in each other."""
BARE = ""
"""Name of the array of a file that holds nothing but one."""

Array = NDArray[Any]


class BadFeatures(ValueError):
    """Features that can't be used.

    Args:
        reason: what is wrong, beginning with the file's name, without a full stop.
        remedy: what the user can do, an imperative sentence without a full stop.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


class FeatureArrays(Mapping[str, Array]):
    """Arrays by name, each read when it is asked for; the one read last is kept, for clips that share it.

    Names of nested groups are joined by "/"; the array of a file that holds only one without a name is `BARE`.
    """

    def __init__(self, readers: Mapping[str, Callable[[], Array]]) -> None:
        self._readers = readers
        self._last: tuple[str, Array] | None = None

    def __getitem__(self, name: str) -> Array:
        """The array of that name, any shape and dtype. Raises KeyError, BadFeatures."""
        if self._last is None or self._last[0] != name:
            self._last = name, self._readers[name]()
        return self._last[1]

    def __iter__(self) -> Iterator[str]:
        """The names, in the file's order."""
        return iter(self._readers)

    def __len__(self) -> int:
        """How many arrays there are."""
        return len(self._readers)

    def __contains__(self, name: object) -> bool:
        """Whether there is an array of that name; it isn't read."""
        return name in self._readers


def open_arrays(path: Path, root: Path | None = None) -> FeatureArrays:
    """What a feature file holds.

    Args:
        path: the file; its suffix says the format.
        root: the folder that it must not leave through a link; None allows every place.

    Raises:
        BadFeatures: it is of no format that is read, damaged, hostile, no regular file, or not there.
    """
    opener = FORMATS.get(path.suffix.lower())
    if opener is None:
        raise BadFeatures(f"{path.name} is of no format that features are read from", f"save it as {SUFFIXES_TEXT}")
    try:
        os.close(open_regular(path, root))
        return FeatureArrays(opener(path))
    except BadVideo as exc:
        raise BadFeatures(exc.reason.rstrip("."), exc.remedy.rstrip(".")) from exc
    except FileNotFoundError as exc:
        raise BadFeatures(f"{path.name} does not exist", "add the file or remove the row") from exc
    except OSError as exc:
        raise BadFeatures(f"{path.name} can't be read ({exc.strerror or exc})", "check the file") from exc


def _damaged(path: Path) -> BadFeatures:
    return BadFeatures(f"{path.name} is damaged or no {path.suffix} file", "save or download it again")


def _check_size(path: Path, shape: tuple[int, ...], item_bytes: int, there: int | None = None) -> None:
    """Refuse an array that is too large, or larger than the `there` bytes that the file has for it."""
    size = math.prod(shape) * item_bytes
    if there is not None and size > there:
        raise BadFeatures(f"{path.name} announces {size} bytes and holds {there}", "save or download it again")
    if size > MAX_ARRAY_BYTES:
        raise BadFeatures(
            f"{path.name} holds an array of {size} bytes, more than {MAX_ARRAY_BYTES}", "save one array a clip"
        )


# ---- NumPy ----


def _npy_header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype at the beginning of an .npy; the file then stands at the first value."""
    try:
        shape, fortran, dtype = read_npy_header(file)
    except Exception as exc:  # NumPy raises whatever a damaged header makes it
        raise _damaged(path) from exc
    if dtype.hasobject:
        raise BadFeatures(
            f"{path.name} holds Python objects and was not opened", "save an array of numbers, np.save(…, float32)"
        )
    return shape, fortran, dtype


def _open_npy(path: Path) -> Mapping[str, Callable[[], Array]]:
    with path.open("rb") as file:
        shape, fortran, dtype = _npy_header(path, file)
        offset, size = file.tell(), os.fstat(file.fileno()).st_size
    if math.prod(shape) * dtype.itemsize > size - offset:
        raise BadFeatures(f"{path.name} ends before its last value", "save or download it again")
    if not math.prod(shape):
        return {BARE: lambda: np.empty(shape, dtype)}  # nothing can be mapped
    return {BARE: lambda: np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")}


def _open_npz(path: Path) -> Mapping[str, Callable[[], Array]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if info.filename.endswith(".npy")]
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as exc:
        raise _damaged(path) from exc
    return {name.removesuffix(".npy"): partial(_read_member, path, name) for name in members}


def _read_member(path: Path, name: str) -> Array:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            shape, fortran, dtype = _npy_header(path, file)
            _check_size(path, shape, dtype.itemsize, archive.getinfo(name).file_size)
            flat = np.frombuffer(file.read(math.prod(shape) * dtype.itemsize), dtype)
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, ValueError, OSError) as exc:
        if isinstance(exc, BadFeatures):
            raise
        raise _damaged(path) from exc
    if flat.size != math.prod(shape):
        raise _damaged(path)
    return flat.reshape(shape, order="F" if fortran else "C")


# ---- HDF5 ----


def _open_hdf5(path: Path) -> Mapping[str, Callable[[], Array]]:
    names: list[str] = []

    def collect(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            names.append(name)

    try:
        with open_self_contained(path) as file:
            file.visititems(collect)
    except NotSelfContained as exc:
        raise BadFeatures(f"{path.name} {exc}", "copy its datasets into one plain HDF5 file") from exc
    except Exception as exc:  # a damaged file makes h5py fail in any way there is
        raise _damaged(path) from exc
    return {name: partial(_read_dataset, path, name) for name in names}


def _read_dataset(path: Path, name: str) -> Array:
    try:
        with open_self_contained(path) as file:
            dataset = file[name]
            _check_size(path, dataset.shape, dataset.dtype.itemsize)
            text = h5py.check_string_dtype(dataset.dtype) is not None
            read: Array = np.asarray(dataset.asstr()[...] if text else dataset[...])
            return read.astype(str) if text else read
    except BadFeatures:
        raise
    except Exception as exc:  # as above
        raise _damaged(path) from exc


# ---- pickles and tensors ----


def _flat(path: Path, value: object, name: str = "", level: int = 0) -> Iterator[tuple[str, object]]:
    """What lies in nested dicts, by names joined with "/"."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    if level >= MAX_LEVELS:
        raise BadFeatures(f"{path.name} nests dicts more than {MAX_LEVELS} levels deep", "save a dict of arrays")
    for key, part in value.items():
        yield from _flat(path, part, f"{name}/{key}" if name else str(key), level + 1)


def _open_pickle(path: Path) -> Mapping[str, Callable[[], Array]]:
    try:
        content = load_pickle(path, MAX_PICKLE_BYTES, "features")
    except (UnsafePickle, BrokenPickle) as exc:
        reason, _, remedy = str(exc).rpartition("; ")
        raise BadFeatures(reason, remedy) from exc
    return {name: partial(_as_array, path, value) for name, value in _flat(path, content)}


def _as_array(path: Path, value: object) -> Array:
    try:
        return np.asarray(value)
    except ValueError as exc:  # a list of rows that differ in length
        raise BadFeatures(f"{path.name} holds a list that is no array", "save arrays of numbers") from exc


def _open_torch(path: Path) -> Mapping[str, Callable[[], Array]]:
    import torch  # takes seconds, and no other format needs it

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as exc:
        raise BadFeatures(
            f"{path.name} is damaged, or was written by a torch before 1.6", "save it again: torch.save(tensors, file)"
        ) from exc
    _check_size(path, (size,), 1)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:  # whatever is not tensors and plain values, and whatever damage does
        raise BadFeatures(
            f"{path.name} holds more than tensors, or is damaged, and was not opened",
            "save tensors alone: torch.save(tensors, file)",
        ) from exc
    return {name: partial(_tensor_array, path, value) for name, value in _flat(path, content)}


def _tensor_array(path: Path, value: object) -> Array:
    import torch  # as above

    if not isinstance(value, torch.Tensor):
        return _as_array(path, value)
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise BadFeatures(f"{path.name} holds a tensor that is sparse, quantised or complex", "save dense floats")
    _check_size(path, tuple(value.shape), value.element_size())  # an expanded tensor has few bytes of its own
    plain = value.detach()
    return np.asarray((plain.float() if plain.dtype == torch.bfloat16 else plain).numpy())


FORMATS: Mapping[str, Callable[[Path], Mapping[str, Callable[[], Array]]]] = {
    ".npy": _open_npy,
    ".npz": _open_npz,
    ".h5": _open_hdf5,
    ".hdf5": _open_hdf5,
    ".pkl": _open_pickle,
    ".pickle": _open_pickle,
    ".pt": _open_torch,
    ".pth": _open_torch,
}
SUFFIXES_TEXT = ".npy, .npz, .h5, .pkl or .pt"
