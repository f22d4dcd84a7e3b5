"""C3D: the network of its paper written a second time, files as they are passed around, tubes on its grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from shapely.geometry import Polygon, box
from torch import Tensor, nn

from models.backbones import build_backbone, c3d
from models.backbones.c3d import C3D
from models.geometry import coverage

# Table and Figure 3 of Tran et al. 2015, and the padding of pool5 that makes 8192 numbers of a 7×7 map.
SHAPES = {
    "conv1.weight": (64, 3, 3, 3, 3), "conv2.weight": (128, 64, 3, 3, 3), "conv3a.weight": (256, 128, 3, 3, 3),
    "conv3b.weight": (256, 256, 3, 3, 3), "conv4a.weight": (512, 256, 3, 3, 3), "conv4b.weight": (512, 512, 3, 3, 3),
    "conv5a.weight": (512, 512, 3, 3, 3), "conv5b.weight": (512, 512, 3, 3, 3), "fc6.weight": (4096, 8192),
}  # fmt: skip


NARROW = 16
"""By how much networks that are run here are narrower, for time alone."""


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c3d, "WIDTHS", {name: width // NARROW for name, width in c3d.WIDTHS.items()})
    monkeypatch.setattr(c3d, "UNITS", c3d.UNITS // NARROW)


def passed_around() -> dict[str, Tensor]:
    """A whole file of the narrow network."""
    torch.manual_seed(3)
    state = {}
    for name, (outputs, inputs, *kernel) in SHAPES.items():
        shape = (outputs // NARROW, inputs if name == "conv1.weight" else inputs // NARROW, *kernel)
        state[name] = torch.randn(shape) * (2 / int(np.prod(shape[1:]))) ** 0.5
        state[name.replace("weight", "bias")] = torch.randn(shape[0]) * 0.1
    left_out = {"fc7.weight": (256, 256), "fc7.bias": (256,), "fc8.weight": (487, 256)}
    return state | {name: torch.zeros(shape) for name, shape in left_out.items()}


@pytest.fixture
def file(tmp_path: Path, narrow: None) -> Path:
    torch.save(passed_around(), tmp_path / "c3d.pickle")
    return tmp_path / "c3d.pickle"


def written_again(state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Pool5's numbers and fc6, layer by layer with PyTorch's functions."""
    f = nn.functional

    def conv(name: str, h: Tensor) -> Tensor:
        return f.relu(f.conv3d(h, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))

    h = f.max_pool3d(conv("conv1", x), (1, 2, 2), (1, 2, 2))
    h = f.max_pool3d(conv("conv2", h), 2, 2)
    h = f.max_pool3d(conv("conv3b", conv("conv3a", h)), 2, 2)
    h = f.max_pool3d(conv("conv4b", conv("conv4a", h)), 2, 2)
    h = f.max_pool3d(conv("conv5b", conv("conv5a", h)), 2, 2, padding=(0, 1, 1))
    h = h.reshape(len(x), 8192 // NARROW)
    return h, f.relu(f.linear(h, state["fc6.weight"], state["fc6.bias"]))


def test_a_file_that_is_passed_around_gives_the_papers_network(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    x = torch.randn(1, 3, 16, 112, 112)
    with torch.no_grad(), caplog.at_level("INFO"):
        pool5, fc6 = written_again(torch.load(file, weights_only=True), x)
        assert fc6.std() > 0.1
        for name, wanted in (("c3d", fc6), ("c3d_pool5", pool5)):
            net = build_backbone(name, weights=file).eval()
            torch.testing.assert_close(net(x), wanted, rtol=1e-4, atol=1e-4)
            h = net.stage1(x)
            assert h.shape == (1, 512 // NARROW, 4, 14, 14)
            torch.testing.assert_close(net.stage2(h), wanted, rtol=1e-4, atol=1e-4)
    assert "c3d.pickle: left out fc7.weight, fc7.bias, fc8.weight" in caplog.text
    assert "c3d.pickle: left out fc6.weight, fc6.bias, fc7.weight" in caplog.text


@pytest.mark.parametrize(
    ("split", "channels", "steps", "grid"),
    [("conv1", 64, 16, (112, 112)), ("pool1", 64, 16, (56, 56)), ("pool2", 128, 8, (28, 28)),
     ("pool3", 256, 4, (14, 14)), ("conv4b", 512, 4, (14, 14)), ("conv5b", 512, 2, (7, 7))],
)  # fmt: skip
def test_sizes_at_the_cuts(split: str, channels: int, steps: int, grid: tuple[int, int]) -> None:
    with torch.device("meta"):
        net = C3D(split, "pool5")
    assert (net.channels, net.steps, net.grid, net.stride_t) == (channels, steps, grid, 16 // steps)
    assert (net.features, net.input_size, net.frames) == (8192, 112, 16)


def test_the_names_are_those_of_the_files() -> None:
    with torch.device("meta"):
        found = {name: tuple(tensor.shape) for name, tensor in C3D().state_dict().items()}
    assert {name: shape for name, shape in found.items() if name.endswith("weight")} == SHAPES
    assert set(found) == {name.replace("weight", kind) for name in SHAPES for kind in ("weight", "bias")}


def test_wrong_files_and_cuts_are_told(tmp_path: Path, narrow: None) -> None:
    for split in ("pool5", "fc6"):
        with pytest.raises(ValueError, match=f"split after '{split}', which keeps no cells; choose one of conv"):
            build_backbone("c3d", split)
    state = {name: tensor for name, tensor in passed_around().items() if not name.startswith(("fc", "conv5"))}
    state["conv1.weight"] = torch.zeros(4, 3, 3, 7, 7)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"other.pth does not hold the weights of C3D: 4 missing \(conv5a.*1 of another shape \(conv1"
    ):
        build_backbone("c3d_pool5", weights=tmp_path / "other.pth")
    with pytest.raises(NotImplementedError, match="no last map"), torch.device("meta"):
        C3D().last_map(torch.zeros(1))


def test_a_cell_of_the_cut_looks_at_its_own_pixels(narrow: None) -> None:
    """What is between input and cut moves nothing sideways: the pixels that a cell depends on are centred on it."""
    torch.manual_seed(0)
    net = C3D("pool3", "pool5").eval()
    x = torch.rand(1, 3, 16, 112, 112, requires_grad=True)
    net.stage1(x)[0, :, 1, 4, 9].sum().backward()
    assert x.grad is not None
    _, seen_t, seen_y, seen_x = (torch.nonzero(x.grad[0])[:, axis] for axis in range(4))
    for seen, cell, stride in ((seen_t, 1, 4), (seen_y, 4, 8), (seen_x, 9, 8)):
        middle = (cell + 0.5) * stride
        assert (int(seen.min()) + int(seen.max()) + 1) / 2 == pytest.approx(middle, abs=1)


def test_tubes_on_its_grid_are_exact() -> None:
    with torch.device("meta"):
        net = C3D()
    rows, columns = net.grid
    side = float(net.input_size)
    quad = np.array([[20.3, 11.0], [71.9, 25.5], [60.0, 90.2], [9.1, 70.4]])
    found = coverage(quad[None].astype(np.float32), net.grid, (side, side))[0]
    shape, cell = Polygon(quad), side / columns
    for row, column in np.ndindex(rows, columns):
        square = box(column * cell, row * cell, (column + 1) * cell, (row + 1) * cell)
        assert found[row, column] == pytest.approx(shape.intersection(square).area / cell**2, abs=1e-5)
