"""NanoTrack's two forms, with networks that are made here: v1 and v2 have a 16 x 16 score map, v3 one of 15 x 15.

Files of v2 and v3 are among the development data and are tested in test_trackers.py; of v1 there is none here. Its form
is that of v2: 48 channels, maps of 8 x 8 (template) and 16 x 16 (search), which is why OpenCV reads both.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.trackers import build_tracker

SIDE = 32
HEIGHT, WIDTH = 200, 260


def write_model(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, NDArray[np.float32]],
                inputs: dict[str, tuple[object, ...]], outputs: dict[str, tuple[object, ...]]) -> None:  # fmt: skip
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write_nano(prefix: Path, channels: int, side: int, names: tuple[str, str]) -> Path:
    """Backbone and head that find what is redder than blue, its four sides 32 px away; `names` of score and sides."""
    kernel = np.zeros((channels, 3, 15, 15), np.float32)
    kernel[0, 2], kernel[0, 0] = 1 / 225 / 255, -1 / 225 / 255   # the pixels come as BGR, 0 to 255
    write_model(
        prefix.with_name(prefix.name + "_backbone.onnx"),
        # 127 → 8, 255 → 16; OpenCV 4.10 wants the kernel's shape beside the kernel.
        [helper.make_node("Conv", ["input", "kernel"], ["output"], kernel_shape=[15, 15], strides=[16, 16])],
        {"kernel": kernel},
        {"input": (1, 3, "height", "width")},
        {"output": (1, channels, "rows", "columns")},
    )
    found = np.zeros((2, channels, 1, 1), np.float32)
    found[1, 0] = 14
    # Position i of a map of S stands for the pixel 16 (i - S // 2) from the crop's middle: between two of our cells.
    pads = [1, 1, 0, 0] if side == 16 else [0, 0, 0, 0]
    nodes = [
        helper.make_node("GlobalAveragePool", ["input1"], ["learned"]),
        helper.make_node("ReduceMean", ["learned"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Conv", ["input2", "found"], ["cells"], kernel_shape=[1, 1]),
        helper.make_node("AveragePool", ["cells"], ["between"], kernel_shape=[2, 2], pads=pads),
        helper.make_node("AveragePool", ["between"], ["around"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
        helper.make_node("Sub", ["around", "level"], ["shifted"]),
        helper.make_node("Add", ["shifted", "zero"], [names[0]]),
        helper.make_node("Add", ["sides", "zero"], [names[1]]),
    ]
    level = np.float32([0, 3]).reshape(1, 2, 1, 1)
    sides = np.full((1, 4, side, side), 32, np.float32)
    write_model(
        prefix.with_name(prefix.name + "_head.onnx"),
        nodes,
        {"found": found, "level": level, "sides": sides, "nothing": np.float32([0])},
        {"input1": (1, channels, 8, 8), "input2": (1, channels, 16, 16)},
        {names[0]: (1, 2, side, side), names[1]: (1, 4, side, side)},
    )
    return prefix


@pytest.mark.parametrize(
    ("channels", "side", "names"),
    [(48, 16, ("output1", "output2")), (96, 15, ("output1", "output2")), (48, 16, ("score", "box"))],
    ids=["v1 and v2", "v3", "other names"],
)
def test_a_network_of_the_form_is_followed(
    tmp_path: Path, channels: int, side: int, names: tuple[str, str]
) -> None:
    weights = write_nano(tmp_path / "made", channels, side, names)
    path = np.asarray([(60 + 5 * t, 80 + 3 * t) for t in range(12)])
    frames = np.full((len(path), HEIGHT, WIDTH, 3), 90, np.uint8)
    for frame, (x, y) in zip(frames, path, strict=True):
        frame[y : y + SIDE, x : x + SIDE] = (230, 20, 20)
        frame[y - 50 : y - 50 + SIDE, x : x + SIDE] = (20, 20, 230)   # followed by whoever mixes up the channels
    box = np.asarray([[*path[0], *(path[0] + SIDE)]], np.float32)
    [tube] = build_tracker("nano", weights=weights).track(frames, box)
    assert not tube.lost.any()
    # A cell is 8 px of the frame, and the window holds back by one; a wrong grid would drift by cells a frame.
    np.testing.assert_allclose(tube.quads.mean(axis=1), path + SIDE / 2, atol=12)
    np.testing.assert_allclose(tube.quads[:, 2] - tube.quads[:, 0], SIDE, atol=3)
