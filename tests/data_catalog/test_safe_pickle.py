"""Pickles from the network: plain data and arrays open, anything else is refused before it runs."""

import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_catalog.safe_pickle import BrokenPickle, UnsafePickle, load_pickle


class RunsACommand:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_a_command_is_refused_by_name(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "ran"
    path = tmp_path / "annotation.pkl"
    path.write_bytes(pickle.dumps({(1, 1): RunsACommand(f"touch {trace}")}, protocol=protocol))
    sentence = r"annotation\.pkl asks for '(posix|nt)\.system', which plain data doesn't need"
    with pytest.raises(UnsafePickle, match=sentence):
        load_pickle(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())  # the same bytes do run it when opened carelessly
    assert trace.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cbuiltins\neval\n(S'1+1'\ntR.",
        b"cnumpy\nload\n(S'/etc/passwd'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"cnumpy\nndarray.__reduce__\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x10dtype.__module__\x93.",
        b"cdata_catalog.safe_pickle\nnp\n.",
        b"(S'id'\nibuiltins\neval\n.",
        b"Psomewhere else\n.",
    ],
)
def test_other_ways_to_a_global_are_refused(tmp_path: Path, code: bytes) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(code)
    with pytest.raises(UnsafePickle):
        load_pickle(path)


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_open_under_both_names_of_their_module(tmp_path: Path, module: str, protocol: int) -> None:
    value = {("01", 2): [np.arange(6.0).reshape(2, 3), np.float64(4.5), np.int64(3), None, "ü"]}
    code = pickle.dumps(value, protocol=protocol)
    own = pickletools.genops(code)
    assert any("multiarray" in str(arg) for _, arg, _ in own)
    other = "numpy.core" if "_core" in module else "numpy._core"
    path = tmp_path / "x.pkl"
    # Protocol 4 writes the length of the name before it.
    for old, new in ((f"{other}.multiarray", module),):
        code = code.replace(bytes([0x8C, len(old)]) + old.encode(), bytes([0x8C, len(new)]) + new.encode())
        code = code.replace(b"c" + old.encode() + b"\n", b"c" + new.encode() + b"\n")
    if protocol >= 4:  # a frame's length would no longer be right; frames are optional
        code = pickletools.optimize(b"".join(_without_frames(code)))
    assert module.encode() in code
    path.write_bytes(code)
    opened = load_pickle(path)
    assert isinstance(opened, dict)
    (array, *rest), (expected, *others) = opened["01", 2], value["01", 2]
    np.testing.assert_array_equal(array, expected)
    assert rest == others


def _without_frames(code: bytes) -> list[bytes]:
    marks = [(pos, pos + 9) for op, _, pos in _tolerant(code) if op == "FRAME"]
    parts, last = [], 0
    for start, end in marks:
        parts.append(code[last:start])
        last = end
    return [*parts, code[last:]]


def _tolerant(code: bytes) -> list[tuple[str, object, int]]:
    # genops reads frames as plain opcodes, so that a wrong length does not matter to it.
    return [(op.name, arg, pos or 0) for op, arg, pos in pickletools.genops(code)]


def test_broken_files_say_so(tmp_path: Path) -> None:
    whole = pickle.dumps({(1, n): [n, "text", np.zeros(3)] for n in range(20)})
    path = tmp_path / "half.pkl"
    for code in (b"", b"\x80", whole[: len(whole) // 2], b"<!DOCTYPE html>", b"\x80\x04N", whole[:-1]):
        path.write_bytes(code)
        with pytest.raises(BrokenPickle, match=r"half\.pkl is damaged or no pickle"):
            load_pickle(path)


def test_a_file_far_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.pkl"
    with path.open("wb") as file:
        file.truncate(2**33)  # sparse
    with pytest.raises(BrokenPickle, match="far more than an annotation"):
        load_pickle(path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_told_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    code = bytearray(pickle.dumps({(1, 1): {"final_score": 88.0, "judge_scores": np.arange(7.0)}}, protocol=3))
    for _ in range(data.draw(st.integers(1, 4))):
        code[data.draw(st.integers(0, len(code) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "x.pkl"
    path.write_bytes(bytes(code))
    try:
        load_pickle(path)
    except (UnsafePickle, BrokenPickle) as exc:
        assert "x.pkl" in str(exc)  # noqa: PT017


def test_the_real_annotations_open(shared: Path) -> None:
    folder = shared / "data" / "mtl-aqa"
    sizes = {path.name: len(load_pickle(path)) for path in sorted(folder.glob("*.pkl"))}  # type: ignore[arg-type]
    assert sizes == {
        "augmented_final_annotations_dict.pkl": 1412,
        "final_annotations_dict.pkl": 1412,
        "final_annotations_dict_with_dive_number.pkl": 1412,
        "test_split_0.pkl": 353,
        "train_split_0.pkl": 1059,
    }
