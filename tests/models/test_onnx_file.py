"""ONNX files that keep weights in other files are refused by every tracker and detector that reads ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.detectors.nanodet import NanoDetDetector
from models.onnx_file import check_onnx, read_onnx
from models.trackers.nano import NanoTracker
from models.trackers.vit import VitTracker

READERS: list[Callable[[Path], object]] = [
    read_onnx,
    NanoDetDetector,
    lambda file: NanoTracker([file, file]),
    lambda file: VitTracker([file]),
]


def weight(location: str | None) -> TensorProto:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [1, 3, 1, 1], np.ones(3, "f4").tobytes(), raw=True)
    if location is not None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "12")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
    return tensor


def network(location: str | None, where: str) -> onnx.ModelProto:
    """A convolution whose weights are an initialiser, a constant, or one inside a branch."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 4, 4])
    convolution = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1])  # OpenCV 4.10 wants it
    constant = helper.make_node("Constant", [], ["w"], value=weight(location))
    match where:
        case "initializer":
            graph = helper.make_graph([convolution], "g", [x], [y], [weight(location)])
        case "constant":
            graph = helper.make_graph([constant, convolution], "g", [x], [y])
        case _:
            branch = helper.make_graph([constant, convolution], "branch", [], [y])
            switch = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
            c = helper.make_tensor_value_info("c", TensorProto.BOOL, [1])
            graph = helper.make_graph([switch], "g", [x, c], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("reader", READERS, ids=["network", "nanodet", "nano", "vit"])
@pytest.mark.parametrize("location", ["../secret.bin", "beside.bin"])
@pytest.mark.parametrize("where", ["initializer", "constant", "branch"])
def test_external_data_are_refused(
    tmp_path: Path, reader: Callable[[Path], object], location: str, where: str
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for file in (tmp_path / "secret.bin", folder / "beside.bin"):
        file.write_bytes(np.arange(100, 103, dtype="f4").tobytes())
    path = folder / "m.onnx"
    path.write_bytes(network(location, where).SerializeToString())
    with pytest.raises(ValueError, match=r"m\.onnx keep tensors in other files .*; save the network as one file"):
        reader(path)


@pytest.mark.parametrize("where", ["initializer", "constant"])
def test_a_network_of_one_file_is_read(tmp_path: Path, where: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(network(None, where).SerializeToString())
    loaded = read_onnx(path)
    loaded.setInput(np.ones((1, 3, 4, 4), np.float32))
    np.testing.assert_allclose(loaded.forward(), np.full((1, 1, 4, 4), 3.0))


@pytest.mark.parametrize("content", [b"", b"no network", b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 40, b"\x0b"])
def test_what_is_no_network_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"m\.onnx are not an ONNX network"):
        read_onnx(path)


def test_graphs_nested_without_end_are_refused(tmp_path: Path) -> None:
    def field(number: int, content: bytes) -> bytes:
        length = len(content)
        return bytes([number << 3 | 2, length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14]) + content

    graph = b""
    for _ in range(50):
        graph = field(1, field(5, field(6, graph)))  # a node's attribute is a graph
    path = tmp_path / "m.onnx"
    path.write_bytes(field(7, graph))
    with pytest.raises(ValueError, match="nested too deeply"):
        check_onnx(path)
