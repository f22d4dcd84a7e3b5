"""Weights files of I3D: both naming families, and what a wrong file says."""

import pickle

import pytest
import torch

from models.backbones import build_backbone
from models.backbones.checkpoint import canonical_i3d_name, load_i3d, read_tensors
from models.backbones.i3d import I3D

SEQUENTIAL = {"b0": "branch_0", "b1a": "branch_1.0", "b1b": "branch_1.1", "b2a": "branch_2.0", "b2b": "branch_2.1",
              "b3b": "branch_3.1"}  # fmt: skip


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(1)
    return {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in I3D().state_dict().items()}


def hassony_name(name):
    """Our name to kinetics_i3d_pytorch's, written independently of the loader."""
    parts = name.split(".")
    parts[0] = parts[0][0].lower() + parts[0][1:]
    return ".".join(SEQUENTIAL.get(p, p) if p != "bn" else "batch3d" for p in parts)


def test_names_of_the_other_family():
    assert canonical_i3d_name("mixed_3b.branch_1.0.batch3d.running_var") == "Mixed_3b.b1a.bn.running_var"
    assert canonical_i3d_name("mixed_5c.branch_0.conv3d.weight") == "Mixed_5c.b0.conv3d.weight"
    assert canonical_i3d_name("conv3d_1a_7x7.conv3d.weight") == "Conv3d_1a_7x7.conv3d.weight"
    assert canonical_i3d_name("Mixed_3b.b3b.bn.bias") == "Mixed_3b.b3b.bn.bias"


def test_sequential_family_with_400_classes(tmp_path, weights, caplog):
    state = {hassony_name(k): v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    state["conv3d_0c_1x1.conv3d.weight"] = torch.zeros(400, 1024, 1, 1, 1)
    state["conv3d_0c_1x1.conv3d.bias"] = torch.zeros(400)
    torch.save(state, tmp_path / "model_rgb.pth")
    net = I3D()
    with caplog.at_level("INFO"):
        dropped = load_i3d(net, tmp_path / "model_rgb.pth")
    assert dropped == ["conv3d_0c_1x1.conv3d.weight", "conv3d_0c_1x1.conv3d.bias"]
    assert "dropped its classifier of 400 classes" in caplog.text
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items() if v.is_floating_point())


def test_wrapped_data_parallel_file(tmp_path, weights):
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in weights.items()}}, tmp_path / "a.pt")
    net = build_backbone("i3d", weights=tmp_path / "a.pt")
    assert torch.equal(net.state_dict()["Mixed_5c.b2b.conv3d.weight"], weights["Mixed_5c.b2b.conv3d.weight"])


def test_a_wrong_file_is_one_bounded_sentence(tmp_path):
    torch.save({f"layer{i}.weight": torch.zeros(2) for i in range(90)}, tmp_path / "resnet.pt")
    with pytest.raises(
        ValueError, match=r"resnet.pt does not hold the weights of an RGB I3D: \d+ missing"
    ) as caught:
        load_i3d(I3D(), tmp_path / "resnet.pt")
    assert "90 unexpected (layer0.weight" in str(caught.value)
    assert "and 85 more" in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_flow_network_is_told_by_its_shape(tmp_path, weights):
    flow = {**weights, "Conv3d_1a_7x7.conv3d.weight": torch.zeros(64, 2, 7, 7, 7)}
    torch.save(flow, tmp_path / "flow.pt")
    with pytest.raises(
        ValueError, match=r"1 of another shape \(Conv3d_1a_7x7.conv3d.weight \(64, 2, 7, 7, 7\) for"
    ):
        load_i3d(I3D(), tmp_path / "flow.pt")


class Trap:
    def __reduce__(self):
        return (open, ("trapped", "w"))


def test_a_pickle_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trap = pickle.dumps({"x": Trap()}, protocol=2)
    for name, content in (("a.pt", trap), ("b.pt", b"not a file of tensors"), ("c.pt", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is not a file of plain tensors"):
            read_tensors(tmp_path / name)
    torch.save(I3D, tmp_path / "d.pt")
    with pytest.raises(ValueError, match="refused because opening it would run its code"):
        read_tensors(tmp_path / "d.pt")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("content", [{}, [torch.zeros(1)], {"a": 1}])
def test_a_file_without_a_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="holds no state_dict"):
        read_tensors(tmp_path / "a.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt does not exist"):
        build_backbone("i3d", weights=tmp_path / "nowhere.pt")
