"""A frozen part of a network: it stays as it is, and what it made once stands for the pixels."""

from __future__ import annotations

import pytest
import torch

from models.backbones import BACKBONES, has_parts
from models.tsanet import FEATURE_TYPE, Entrance, FrozenPart, TSANet, build_tsanet


def network(attention: str = "tsa", backbone: str = "i3d_small") -> TSANet:
    torch.manual_seed(0)
    return build_tsanet(backbone, attention=attention, head="regression")  # type: ignore[arg-type]


def inputs(net: TSANet, segments: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    size, generator = net.backbone.input_size, torch.Generator().manual_seed(1)
    video = torch.randn(2, segments, 3, 16, size, size, generator=generator)
    return video, torch.rand(2, segments, net.backbone.steps, *net.backbone.grid, generator=generator) < 0.3


CASES = pytest.mark.parametrize(
    ("part", "attention", "entrance"),
    [("stage1", "tsa", "cut"), ("stage1", "none", "cut"), ("backbone", "none", "pooled")],
)


@CASES
def test_stored_features_stand_for_the_pixels_in_output_and_gradient(
    part: FrozenPart, attention: str, entrance: Entrance
) -> None:
    net = network(attention)
    net.freeze(part)
    net.train()
    video, mask = inputs(net)
    made = net.features(video)
    assert made.dtype == FEATURE_TYPE == torch.float16
    gradients, outputs = [], []
    for given, where in ((video, "pixels"), (made.float(), entrance)):
        net.zero_grad()
        out = net(given, mask, entrance=where)
        out.square().sum().backward()
        outputs.append(out.detach())
        gradients.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*outputs, rtol=1e-6, atol=1e-6)
    assert gradients[0].keys() == gradients[1].keys()
    assert any(name.startswith("head") for name in gradients[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-6)


@CASES
def test_a_step_changes_nothing_that_is_frozen_and_all_the_rest(
    part: FrozenPart, attention: str, entrance: Entrance
) -> None:
    net = network(attention)
    net.freeze(part)
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    video, mask = inputs(net)
    net(video, mask).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    frozen = {"stage1": ("Conv3d_1a", "Conv3d_2c", "Mixed_4b"), "backbone": ("",)}[part]
    of_frozen = {name for name in before if name.startswith(tuple(f"backbone.{layer}" for layer in frozen))}
    trained = {name for name in before if name not in of_frozen}
    assert not changed & of_frozen
    assert any(name.endswith("running_mean") for name in of_frozen)
    # A linear layer in front of a zero one has no gradient in the first step: W_z begins at zero.
    assert changed >= {name for name in trained if "attention" not in name}


def test_a_frozen_network_computes_what_it_computed_but_for_the_rounding() -> None:
    net = network().eval()
    video, mask = inputs(net)
    with torch.no_grad():
        before = net(video, mask)
        net.freeze("stage1")
        torch.testing.assert_close(net(video, mask), before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in BACKBONES if not name.startswith("tiny")])
def test_the_layers_in_front_of_the_cut_are_all_that_stage_1_reads(name: str) -> None:
    """By automatic differentiation on the meta device: parameters with a gradient are read."""
    from models.backbones import build_backbone

    backbone = build_backbone(name).to("meta")
    if not has_parts(name):
        with pytest.raises(NotImplementedError):
            backbone.stage1_layers()
        return
    size = backbone.input_size
    backbone.stage1(torch.empty(1, 3, backbone.frames, size, size, device="meta")).sum().backward()
    read = {key for key, p in backbone.named_parameters() if p.grad is not None}
    owned = {id(p) for layer in backbone.stage1_layers() for p in layer.parameters()}
    assert read
    assert read == {key for key, p in backbone.named_parameters() if id(p) in owned}


def test_what_has_no_sense_is_refused() -> None:
    net = network()
    video, mask = inputs(net)
    with pytest.raises(ValueError, match="only a frozen part"):
        net.features(video)
    with pytest.raises(ValueError, match="attention works in front"):
        net.freeze("backbone")
    with pytest.raises(ValueError, match="behind it"):
        net(torch.zeros(2, 2, net.backbone.features), mask, entrance="pooled")
    with pytest.raises(ValueError, match=r"maps at its cut \(B, N, 4, 14, 14, 112\)"):
        net(torch.zeros(2, 2, 4, 7, 7, 112), mask, entrance="cut")
    with pytest.raises(ValueError, match="can't be frozen by itself"):
        network("none", "mvit_v2_s").freeze("stage1")
