"""Opens annotation pickles that came from the network: plain data and arrays of numbers, bounded, and nothing else.

Three walls. First the opcodes are read with pickletools, which builds nothing: only those of plain data pass, not too
many, with memo places as a pickler numbers them. Then the unpickler runs, and the few globals that arrays need are
ours, not NumPy's, which believe whatever a file says about a dtype (itemsize, fields, flags). At last the result is
measured as a tree, for a few lists that hold each other can stand for billions of values.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn, SupportsIndex, TypeVar

import numpy as np

from data_catalog.errors import DatasetError

# Published annotations have 300 kilobytes and 80,000 opcodes; all MTL-AQA tubes as lists of floats, 1.5 million.
MAX_BYTES = 64 * 2**20
MAX_OPCODES = 3_000_000
MAX_VALUES = 3_000_000
MAX_DEPTH = 32
MAX_SCALAR_BYTES = 256  # a NumPy scalar is copied, and one text can be copied a million times
MEMO_OPCODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
PLAIN_OPCODES = MEMO_OPCODES | {
    "PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "GET", "BINGET", "LONG_BINGET", "NONE", "NEWTRUE", "NEWFALSE",
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
}
# Numbers and text of this machine's byte order; what NumPy has besides (objects, records, dates) is in no annotation.
PLAIN_DTYPE = re.compile(r"[<|=]?(b1|[iu][1248]|f2|f4|f8|f16|[SU]\d{1,6})", re.ASCII)
WIDEST_INTEGER = 64  # bits; wider ones can be chosen so that all fall into one slot of a dict

Content = TypeVar("Content")
Measure = tuple[int, int]


class UnsafePickle(DatasetError):
    """The pickle asks for what plain data does not need; nothing of it was run."""


class BrokenPickle(DatasetError):
    """The file is not a whole pickle."""


class _Odd(pickle.UnpicklingError):
    """Something that no pickler writes for plain arrays; what it is, to follow on the file's name."""


class _Ours:
    """A function of ours that a pickle may call, and change nothing of (BUILD sets attributes of what it finds)."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def __call__(self, *args: object) -> object:
        return self._make(*args)

    def __setstate__(self, state: object) -> NoReturn:
        raise _Odd("changes a function")


class _Dtype:
    """A NumPy dtype by its plain string; the state that every pickled dtype brings has to be what that string means."""

    __slots__ = ("plain",)

    def __init__(self, code: object, *how: object) -> None:
        if not isinstance(code, str) or not PLAIN_DTYPE.fullmatch(code):
            raise _Odd(f"holds an array of dtype {str(code)[:20]!r}")
        self.plain = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        if state != self.plain.__reduce__()[2]:
            raise _Odd("holds an array of a dtype that was tampered with, or of another byte order")


class _Array(np.ndarray):
    """An array in the making: its memory is described by checked values only."""

    __slots__ = ()

    def __setstate__(self, state: object, /) -> None:
        match state:
            case (1, tuple() as shape, _Dtype(plain=dtype), bool() as fortran, bytes() as raw):
                pass
            case _:
                raise _Odd("holds an array that NumPy would not have written")
        if not all(type(side) is int and side >= 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(raw):
            raise _Odd("holds an array whose shape and bytes don't fit")
        # The stubs ask for NumPy's own bool, NumPy for Python's.
        super().__setstate__((1, shape, dtype, fortran, raw))  # type: ignore[arg-type]

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> str | tuple[object, ...]:
        return self.view(np.ndarray).__reduce_ex__(protocol)  # to another process it goes as what it is


def _array(kind: object, shape: object, letter: object) -> _Array:
    if kind is not _NDARRAY:
        raise _Odd("makes an array of another class")
    return _Array((0,), np.int8)


def _scalar(dtype: object, raw: object) -> object:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
        raise _Odd("holds a number that NumPy would not have written")
    if not 0 < len(raw) == dtype.plain.itemsize <= MAX_SCALAR_BYTES:
        raise _Odd("holds a number whose dtype and bytes don't fit")
    return np.frombuffer(raw, dtype.plain)[0]


_NDARRAY = object()  # arrays are made by `_array`; the class is named in the file, and never called
# NumPy 2 renamed numpy.core to numpy._core; files of both ages are around.
_ARRAY_PARTS: Mapping[str, object] = {"_reconstruct": _Ours(_array), "scalar": _Ours(_scalar)}
ALLOWED: Mapping[tuple[str, str], object] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Ours(_Dtype),
    **{(f"numpy.{core}.multiarray", name): part for core in ("core", "_core") for name, part in _ARRAY_PARTS.items()},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise _Odd(f"asks for '{module}.{name}', which plain data doesn't need,") from None


def load_pickle(path: Path, max_bytes: int = MAX_BYTES, expected: str = "an annotation") -> object:
    """The plain data of `path`: dict, list, tuple, numbers, text, None and numpy arrays (protocols 0 to 5).

    Arrays hold numbers, booleans or text, any shape (...), in this machine's byte order.

    Args:
        path: the pickle.
        max_bytes: size of the largest file that is opened.
        expected: what the file should be, for the message.

    Raises:
        UnsafePickle: the file asks for anything else; what, is in the message.
        BrokenPickle: the file is truncated, too large, too deeply nested, or no pickle.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if size > max_bytes:
        raise BrokenPickle(f"{path.name} has {size} bytes, far more than {expected}; check which file it is")
    content = path.read_bytes()
    try:
        _check_opcodes(content)
        value = _Unpickler(io.BytesIO(content)).load()
    except _Odd as exc:
        raise UnsafePickle(
            f"{path.name} {exc} and was not opened; download it again from the dataset's own site"
        ) from None
    # A damaged pickle makes the opcodes, and NumPy's, fail in any way there is; none of them is a fault of ours.
    except Exception as exc:
        raise BrokenPickle(f"{path.name} is damaged or no pickle ({type(exc).__name__}); download it again") from exc
    try:
        _measure(value, 1, {})
    except _TooLarge as exc:
        raise BrokenPickle(f"{path.name} {exc}, far more than {expected}; check which file it is") from None
    return value


def _check_opcodes(content: bytes) -> None:
    """Raise _Odd for what no pickler writes for plain data, ValueError for what is no pickle."""
    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name not in PLAIN_OPCODES:
            raise _Odd(f"uses the pickle opcode {opcode.name}, which plain data doesn't need,")
        if number >= MAX_OPCODES:
            raise _Odd(f"has more than {MAX_OPCODES} opcodes")
        if isinstance(argument, int):
            if opcode.name in MEMO_OPCODES and argument > number:  # the unpickler makes room for as many
                raise _Odd(f"puts its {number}. value into place {argument}")
            if opcode.name == "FRAME" and argument > len(content):
                raise ValueError("a frame beyond the end")
            if opcode.name.startswith(("INT", "LONG")) and argument.bit_length() > WIDEST_INTEGER:
                raise _Odd(f"holds a number of {argument.bit_length()} bits")


class _TooLarge(Exception):
    """What is too large, to follow on the file's name."""


def _measure(value: object, level: int, known: dict[int, Measure]) -> Measure:
    """Levels and values below and with `value`, shared parts counted wherever they stand. Raises _TooLarge."""
    parts: tuple[object, ...] | list[object]
    match value:
        case dict():
            parts = [*value, *value.values()]
        case list() | tuple():
            parts = value
        case _:
            return 1, 1
    if id(value) not in known:
        if level > MAX_DEPTH:  # also where a list holds itself
            raise _TooLarge(f"nests values more than {MAX_DEPTH} levels deep")
        measures = [_measure(part, level + 1, known) for part in parts]
        levels = 1 + max((levels for levels, _ in measures), default=0)
        known[id(value)] = levels, 1 + sum(values for _, values in measures)
    levels, values = known[id(value)]
    if level + levels - 1 > MAX_DEPTH:
        raise _TooLarge(f"nests values more than {MAX_DEPTH} levels deep")
    if values > MAX_VALUES:
        raise _TooLarge(f"stands for more than {MAX_VALUES} values")
    return levels, values


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
