"""VitTrack through OpenCV, with a network of its interface that is made here and finds what is red.

The published network is not here. What is tested is all that is ours: that the file is loaded, that pixels arrive as
the network was trained, that boxes come back in pixels of the frame, and what happens to a lost target.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.trackers import Tracker, build_tracker
from models.trackers.vit import LOST_BELOW, STD

RED_LESS_BLUE = np.float32([-1, 0, 1])   # OpenCV hands on what it is given: blue, green, red
MEAN = (0.485, 0.456, 0.406)
SIDE = 32
HEIGHT, WIDTH = 160, 240


def write_network(
    path: Path, kernel: NDArray[np.float32] = RED_LESS_BLUE, steep: float = 4.0, shift: float = -6.0
) -> Path:
    """Inputs template (1, 3, 128, 128) and search (1, 3, 256, 256), outputs 16 x 16 maps of score, size and offset.

    Score: sigmoid(steep · v + shift), v the mean of the channels, weighted by `kernel`, in 5 x 5 cells around each of
    16 x 16 (a target is as large as 4 x 4, so its middle scores best). Size: a quarter of the crop, which
    is what a square target takes of it. Offset: the middle of the cell.
    """
    cell = np.broadcast_to(kernel[None, :, None, None] / 256, (1, 3, 16, 16))
    constants = {
        "kernel": cell, "steep": np.float32([steep]), "shift": np.float32([shift]), "nothing": np.float32([0.0]),
        "quarter": np.full((1, 2, 16, 16), 0.25, np.float32), "middle": np.full((1, 2, 16, 16), 0.5, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("GlobalAveragePool", ["template"], ["learned"]),
        helper.make_node("ReduceMean", ["learned"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Conv", ["search", "kernel"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("AveragePool", ["cells"], ["around"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
        helper.make_node("Mul", ["around", "steep"], ["steeper"]),
        helper.make_node("Add", ["steeper", "shift"], ["shifted"]),
        helper.make_node("Add", ["shifted", "zero"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["output1"]),
        helper.make_node("Add", ["quarter", "zero"], ["output2"]),
        helper.make_node("Add", ["middle", "zero"], ["output3"]),
    ]
    inputs = [("template", (1, 3, 128, 128)), ("search", (1, 3, 256, 256))]
    outputs = [("output1", (1, 1, 16, 16)), ("output2", (1, 2, 16, 16)), ("output3", (1, 2, 16, 16))]
    graph = helper.make_graph(
        nodes,
        "sees_red",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("vit") / "sees_red.onnx")


def draw(corners: list[tuple[int, int] | None]) -> NDArray[np.uint8]:
    """A red square on grey, and a blue one beside it: whoever mixes up the channels follows the blue one."""
    frames = np.full((len(corners), HEIGHT, WIDTH, 3), 90, np.uint8)
    for frame, corner in zip(frames, corners, strict=True):
        if corner is not None:
            x, y = corner
            frame[y : y + SIDE, x : x + SIDE] = (230, 20, 20)
            frame[max(y - 40, 0) : max(y - 40, 0) + SIDE, x + 40 : x + 40 + SIDE] = (20, 20, 230)
    return frames


def test_it_follows_what_its_network_finds(weights: Path) -> None:
    path = [(40 + 4 * t, 60 + 3 * t) for t in range(12)]   # half a cell a frame, of 8 px
    tracker = build_tracker("vit", weights=weights)
    assert isinstance(tracker, Tracker)
    frames = draw(list(path))
    before = frames.copy()
    [tube] = tracker.track(frames, np.asarray([[40, 60, 40 + SIDE, 60 + SIDE]], np.float32))
    np.testing.assert_array_equal(frames, before)
    centres = tube.quads.mean(axis=1)
    np.testing.assert_allclose(centres, np.asarray(path) + SIDE / 2, atol=6)
    sides = tube.quads[:, 2] - tube.quads[:, 0]
    np.testing.assert_allclose(sides, SIDE, atol=2)
    assert not tube.lost.any()
    assert ((tube.scores > 0.5) & (tube.scores <= 1)).all()
    assert tube.masks is None


def test_a_lost_target_keeps_its_last_quad_and_comes_back(weights: Path) -> None:
    path: list[tuple[int, int] | None] = [*[(80, 60)] * 3, *[None] * 3, *[(84, 60)] * 2]
    [tube] = build_tracker("vit", weights=weights).track(
        draw(path), np.asarray([[80, 60, 80 + SIDE, 60 + SIDE]], np.float32)
    )
    assert tube.lost.tolist() == [False] * 3 + [True] * 3 + [False] * 2
    assert (tube.quads[3:6] == tube.quads[2]).all()
    assert (tube.scores[3:6] < LOST_BELOW).all()


def test_the_same_clip_gives_the_same_tube_whatever_ran_before(weights: Path) -> None:
    tracker = build_tracker("vit", weights=weights)
    box = np.asarray([[40, 60, 40 + SIDE, 60 + SIDE]], np.float32)
    frames = draw([(40 + 4 * t, 60) for t in range(6)])
    [first] = tracker.track(frames, box)
    tracker.track(frames[::-1], box + 20)
    [second] = tracker.track(frames, box)
    np.testing.assert_array_equal(first.quads, second.quads)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_pixels_arrive_as_the_network_was_trained(tmp_path: Path, channel: int) -> None:
    """A score that is nearly linear in one channel tells what arrived there: (value / 255 - mean) / deviation."""
    kernel, arrived = np.zeros(3, np.float32), []
    kernel[channel] = 1
    network = write_network(tmp_path / "linear.onnx", kernel, steep=0.01, shift=0.0)
    for value in (0, 100, 255):
        frames = np.full((2, HEIGHT, WIDTH, 3), 60, np.uint8)
        frames[..., 2 - channel] = value   # the frames are RGB
        tracker = build_tracker("vit", weights=network)
        tracker.init(frames[0], [80, 60, 112, 92])
        score = tracker.update(frames[1]).score
        arrived.append(score / (np.cos(np.pi * 0.5 / 8.5) / 2 + 0.5) ** 2)
    logits = np.log(np.asarray(arrived) / (1 - np.asarray(arrived))) / 0.01
    expected = (np.asarray([0, 100, 255]) / 255 - MEAN[channel]) / STD[channel]
    np.testing.assert_allclose(logits, expected, atol=0.03)


def test_a_box_that_has_left_the_frame_is_lost(weights: Path) -> None:
    """The red square runs out of the frame; OpenCV then fails on a crop without pixels, which is no error of a clip."""
    path = [(120 + 12 * t, 60) for t in range(12)]
    frames = np.full((len(path), HEIGHT, WIDTH, 3), 90, np.uint8)
    for frame, (x, y) in zip(frames, path, strict=True):
        frame[y : y + SIDE, x : x + SIDE] = (230, 20, 20)
    [tube] = build_tracker("vit", weights=weights).track(frames, np.asarray([[120, 60, 152, 92]], np.float32))
    assert np.isfinite(tube.quads).all()
    assert tube.lost[-1]
    assert not tube.lost[:4].any()


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"x\.onnx are not an ONNX network"):
        build_tracker("vit", weights=tmp_path / "x.onnx")


def test_a_network_of_another_interface(tmp_path: Path, weights: Path) -> None:
    """A whole ONNX file, but with inputs of other names: refused when it is loaded, not as OpenCV's error in a clip."""
    model = onnx.load(weights)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = {"template": "z", "search": "x"}.get(name, name)
    for value in model.graph.input:
        value.name = {"template": "z", "search": "x"}[value.name]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"other\.onnx are not a VitTrack network that OpenCV reads"):
        build_tracker("vit", weights=tmp_path / "other.onnx")
