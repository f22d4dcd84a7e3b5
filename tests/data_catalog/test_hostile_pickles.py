"""Pickles made to harm: NumPy's dtypes forged, memory filled; and thousands of mutants, read in a child process."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_catalog.safe_pickle import BrokenPickle, UnsafePickle, load_pickle
from tests.support import REPO
from tests.support.limited_process import MEMORY, SECONDS_A_FILE, read_mutants


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def dtype(code: str) -> bytes:
    return name("numpy", "dtype") + b"(" + text(code) + b"I0\nI1\ntR"


RECONSTRUCT = name("numpy.core.multiarray", "_reconstruct")


def array(kind: bytes, shape: tuple[int, ...], content: bytes) -> bytes:
    made = RECONSTRUCT + b"(" + name("numpy", "ndarray") + b"(I0\nt" + raw(b"b") + b"tR"
    return made + b"(I1\n(" + b"".join(map(number, shape)) + b"t" + kind + b"I00\n" + raw(content) + b"tb."


def record(flags: int, field: bytes, offset: int = 0, size: int = 8) -> bytes:
    """A dtype V8 whose state says that it has a field, where it is, and which flags it has."""
    fields = b"(" + text("a") + b"t}" + text("a") + b"(" + field + number(offset) + b"ts"
    return dtype(f"V{size}") + b"(I3\n" + text("|") + b"N" + fields + number(size) + number(1) + number(flags) + b"tb"


def state(kind: bytes, size: int, alignment: int, flags: int, order: str = "<") -> bytes:
    return kind + b"(I3\n" + text(order) + b"NNN" + number(size) + number(alignment) + number(flags) + b"tb"


OBJECTS = state(dtype("O8"), -1, -1, 63, "|")
BYTES = b"A" * 32
SCALAR = name("numpy.core.multiarray", "scalar")
FORGED = {
    **{f"object field with flags {flags}": array(record(flags, OBJECTS), (4,), BYTES) for flags in (0, 1, 16, 27, 63)},
    "objects from bytes": array(dtype("O8"), (4,), BYTES),
    "objects without flags": array(state(dtype("O8"), -1, -1, 0, "|"), (4,), BYTES),
    "field beyond the item": array(record(0, dtype("f8"), 1_000_000), (4,), BYTES),
    "field before the item": array(record(0, dtype("f8"), -4096), (4,), BYTES),
    "item of no bytes": array(state(dtype("f8"), 0, 1, 0), (4,), BYTES),
    "item of a gigabyte": array(state(dtype("U1"), 2**30, 4, 8), (4,), BYTES),
    "scalar of an object": SCALAR + b"(" + dtype("O8") + raw(b"A" * 8) + b"tR.",
    "scalar of a hidden object": SCALAR + b"(" + record(0, OBJECTS) + raw(b"A" * 8) + b"tR.",
    "scalar of too few bytes": SCALAR + b"(" + dtype("f8") + raw(b"A") + b"tR.",
    "array by its class": name("numpy", "ndarray") + b"((I1000\nt" + dtype("O8") + b"tR.",
    "strides": name("numpy", "ndarray") + b"((I4\nt" + dtype("f8") + raw(BYTES) + b"I0\n(I1000000\nttR.",
    "metadata of a dtype": dtype("f8") + b"(I4\n" + text("<") + b"NNNI-1\nI-1\nI0\n(}(" + text("x") * 2 + b"utttb.",
    "array of another class": RECONSTRUCT + b"(" + name("numpy", "dtype") + b"(I0\nt" + raw(b"b") + b"tR.",
    "array built twice": array(dtype("f8"), (4,), BYTES)[:-1]
    + (b"(I1\n(" + number(2**31 - 1) * 3 + b"t" + dtype("f8") + b"I00\n" + raw(b"A") + b"tb."),
    "a list of types": dtype("f8,f8,O") + b".",
    "a function's defaults": SCALAR + b"N}" + text("__defaults__") + b")s\x86b.",
    "a set": b"\x80\x04\x8f.",
    "a gigabyte by its memo": b"Nr" + struct.pack("<I", 2**27 - 1) + b".",
    "a memo place in words": b"Np99999999\n.",
    "a wide number": b"\x8a\xff" + b"\x01" * 255 + b".",
    "a hundred thousand levels": b"N" + b"\x85" * 10**5 + b".",
    "levels opened first": b"(" * 10**5 + b"t" * 10**5 + b".",
    "a billion laughs": b"\x80\x04]\x94"
    + b"".join(b"]\x94(h" + bytes([level]) + b"h" + bytes([level]) + b"e" for level in range(30))
    + b".",
    "a list inside itself": b"]q\x00h\x00a.",
    "a frame beyond the end": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
}


@pytest.mark.parametrize("how", FORGED)
def test_forged_arrays_and_bombs_are_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "forged.pkl"
    path.write_bytes(FORGED[how])
    with pytest.raises((UnsafePickle, BrokenPickle), match=r"^forged\.pkl .*; (download it again|check which file)"):
        load_pickle(path)


@pytest.mark.slow
def test_memory_stays_bounded_where_a_small_file_asks_for_as_much_as_it_may(tmp_path: Path) -> None:
    """A thousand bytes and their dtype in the memo, and array after array made of them, up to the last opcode."""
    kind, content = dtype("f8"), raw(bytes(1000))
    made = RECONSTRUCT + b"q\x00"
    parts = b"(" + name("numpy", "ndarray") + b"(I0\nt" + raw(b"b") + b"tq\x01"
    whole = b"(I1\n(" + number(125) + b"t" + kind + b"I00\n" + content + b"tq\x02"
    path = tmp_path / "bomb.pkl"
    path.write_bytes(b"(" + made + parts + whole + b"h\x00h\x01Rh\x02b" * 590_000 + b"l.")
    script = (
        "import sys; from pathlib import Path; from data_catalog.safe_pickle import load_pickle\n"
        "from tests.support.limited_process import peak_memory\n"
        "print(len(load_pickle(Path(sys.argv[1]))), peak_memory())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path)], cwd=REPO, capture_output=True, text=True, check=True, timeout=120
    )
    arrays, memory = map(int, ended.stdout.split())
    assert arrays > 500_000
    assert memory < MEMORY


def corpus(folder: Path) -> None:
    """Real kinds of annotations in every protocol, and the forged ones."""
    folder.mkdir()
    values = {
        "dives": {(1, n): {"final_score": 88.5, "judges": np.arange(7.0), "position": "platform"} for n in range(3)},
        "tubes": {("01", 2): [np.arange(6.0).reshape(2, 3), np.float64(4.5), np.str_("ü"), None, True, 2**40]},
    }
    for label, value in values.items():
        for protocol in range(2, 6):
            (folder / f"{label}{protocol}").write_bytes(pickle.dumps(value, protocol=protocol))
    for how, content in FORGED.items():
        if len(content) < 10_000:
            (folder / how).write_bytes(content)


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])], ids=["few", "many"]
)
def test_mutants_are_read_or_refused(tmp_path: Path, count: int) -> None:
    corpus(tmp_path / "corpus")
    outcome = read_mutants("pickle", tmp_path, count)
    assert outcome.read + outcome.refused == count
    assert outcome.refused > count / 2
    assert outcome.slowest < SECONDS_A_FILE
    assert outcome.memory < MEMORY
    assert outcome.opened == []
