"""Forms that compare no positions, against loops over single positions in float64; every odd tube there is."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from models.attention.forms import FORMS, NO_FORM
from models.attention.growth import grow_tubes
from models.attention.positionwise import PositionwiseBlock, TubeChannel, TubeConstant, TubeMask, TubePointwise
from models.attention.tube_pool import TubePool, cell_shares
from models.tsanet import AttentionKind, build_attention, build_tsanet
from tasks.training.config import ModelConfig

C, SHAPE = 6, (3, 4, 5)
BATCHES = [(0,), (1,), (60,), (1, 60, 0, 23, 3), (0, 0), (60, 60)]
LEARNING = ("pointwise", "channel", "constant")


def block_of(name: str, **options: object) -> PositionwiseBlock:
    torch.manual_seed(1)
    start = {"zero_init": False} if name in LEARNING else {}
    block = FORMS[name].load()(C, **start, **options).double()
    assert isinstance(block, PositionwiseBlock)
    return block


def given(sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Features, and tubes of exactly these numbers of scattered positions."""
    torch.manual_seed(len(sizes) + sum(sizes))
    mask = torch.zeros(len(sizes), 60, dtype=torch.bool)
    for row, size in zip(mask, sizes, strict=True):
        row[torch.randperm(60)[:size]] = True
    return torch.randn(len(sizes), C, *SHAPE, dtype=torch.float64), mask.view(-1, *SHAPE)


def position_by_position(block: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    z = x.clone()
    for b, t, i, j in product(range(len(x)), *map(range, SHAPE)):
        here, inside = x[b, :, t, i, j], bool(mask[b, t, i, j])
        if isinstance(block, TubeMask):
            here = here if inside else torch.zeros_like(here)
        elif isinstance(block, TubeConstant) and inside:
            here = here + block.constant
        elif isinstance(block, TubePointwise) and inside:
            here = here + block.w_z.weight @ (block.g.weight @ here + block.g.bias) + block.w_z.bias
        elif isinstance(block, TubeChannel):
            extended = torch.cat([here, here.new_tensor([float(inside)])])
            here = here + block.mix.weight.flatten(1) @ extended + block.mix.bias
        z[b, :, t, i, j] = here
    return z


@pytest.mark.parametrize("name", ["mask", *LEARNING])
@pytest.mark.parametrize("sizes", BATCHES, ids=str)
def test_agrees_with_the_loop_and_its_gradients(name: str, sizes: tuple[int, ...]) -> None:
    block = block_of(name)
    x, mask = given(sizes)
    x.requires_grad_()
    ours, theirs = block(x, mask), position_by_position(block, x, mask)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    factors = torch.randn_like(x)
    wanted = [x, *block.parameters()]
    found = [
        torch.autograd.grad((z * factors).sum(), wanted, allow_unused=True, materialize_grads=True)
        for z in (ours, theirs)
    ]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["mask", "pointwise", "constant"])
def test_what_lies_outside_cannot_disturb(name: str) -> None:
    block, (x, mask) = block_of(name), given((20, 0, 7))
    x[0, 0][~mask[0]] = torch.nan
    z = block(x, mask)
    assert torch.isfinite(z.movedim(1, -1)[mask]).all()
    if name == "mask":
        assert not z.movedim(1, -1)[~mask].any()
    else:
        before, after = (part.movedim(1, -1)[~mask].view(torch.int64) for part in (x, z))
        assert torch.equal(before, after)


@pytest.mark.parametrize("name", LEARNING)
def test_new_block_is_the_identity_and_can_learn(name: str) -> None:
    torch.manual_seed(0)
    block = FORMS[name].load()(C)
    x, mask = (part.float() if part.dtype == torch.float64 else part for part in given((20, 7)))
    z = block(x, mask)
    assert torch.equal(z, x)
    (z * torch.randn_like(z)).sum().backward()
    assert any(p.grad is not None and bool(p.grad.abs().max() > 0) for p in block.parameters())


@pytest.mark.parametrize("name", LEARNING)
def test_empty_tubes_leave_no_parameter_without_a_gradient(name: str) -> None:
    """Of several processes one may have empty tubes only, and the others wait for its gradients."""
    block, (x, mask) = block_of(name), given((0, 0))
    block(x, mask).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


@pytest.mark.parametrize("name", LEARNING)
def test_the_gain_scales_the_start(name: str) -> None:
    x, mask = given((20, 7))
    changes = []
    for gain in (1.0, 0.1, 0.0):
        torch.manual_seed(3)
        changes.append(FORMS[name].load()(C, gain=gain).double()(x, mask) - x)
    torch.testing.assert_close(changes[1], changes[0] / 10, rtol=1e-5, atol=1e-8)
    assert not changes[2].any()
    with pytest.raises(ValueError, match="0 or more"):
        FORMS[name].load()(C, gain=-1.0)


@pytest.mark.parametrize("name", ["mask", *LEARNING])
def test_small_tubes_grow_first(name: str) -> None:
    block, plain, (x, mask) = block_of(name, min_positions=12), block_of(name), given((2, 50, 0))
    grown = grow_tubes(mask, 12)
    assert grown[0].sum() >= 12
    torch.testing.assert_close(block(x, mask), plain(x, grown), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["mask", *LEARNING])
def test_autocast_keeps_the_dtype(name: str, dtype: torch.dtype) -> None:
    block, (x, mask) = block_of(name).float(), given((20, 0, 7))
    x = x.float().requires_grad_()
    expected = block(x, mask)
    with torch.autocast("cpu", dtype=dtype):
        z = block(x, mask)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, expected, rtol=0.03, atol=0.03)
    z.square().mean().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_channels_last_and_compiled() -> None:
    for name in ("mask", *LEARNING):
        block, (x, mask) = block_of(name), given((20, 0, 60))
        wanted = block(x, mask)
        torch.testing.assert_close(block(x.to(memory_format=torch.channels_last_3d), mask), wanted)
        torch._dynamo.reset()
        compiled = torch.compile(block, backend="aot_eager")
        torch.testing.assert_close(compiled(x, mask), wanted)


def test_inputs_are_checked() -> None:
    block, (x, mask) = TubeMask(C), given((5, 5))
    with pytest.raises(ValueError, match="must have shape"):
        block(x[:, :4], mask)
    with pytest.raises(ValueError, match="must be bool"):
        block(x, mask.float())
    with pytest.raises(ValueError, match="not negative"):
        TubeConstant(0)
    with pytest.raises(ValueError, match="reduced"):
        TubePointwise(4, 0)


def pooled_by_hand(h: Tensor, mask: Tensor) -> Tensor:
    """Mean of (M, F, T', H', W') with weights by overlap, one pair of cells at a time."""
    fine, coarse, out = mask.shape[1:], h.shape[2:], []
    for segment, inside in zip(h, mask, strict=True):
        weight = torch.zeros(coarse, dtype=h.dtype)
        for cell in inside.nonzero().tolist():
            for target in product(*map(range, coarse)):
                share = 1.0
                for position, goal, f, c in zip(cell, target, fine, coarse, strict=True):
                    overlap = min((position + 1) / f, (goal + 1) / c) - max(position / f, goal / c)
                    share *= max(overlap, 0.0) * c
                weight[target] += share
        if not weight.any():
            weight += 1
        out.append((segment * weight).sum((1, 2, 3)) / weight.sum())
    return torch.stack(out)


@pytest.mark.parametrize("coarse", [(2, 2, 2), (4, 6, 6), (1, 4, 3), (1, 1, 1)], ids=str)
def test_pooling_is_the_mean_over_the_tube(coarse: tuple[int, int, int]) -> None:
    torch.manual_seed(2)
    h = torch.randn(6, 5, *coarse, dtype=torch.float64)
    mask = torch.rand(2, 3, 4, 6, 6) < 0.2
    mask[0, 1] = False  # a segment without a tube
    mask[1, 0] = True
    found = TubePool(8)(h, mask)
    torch.testing.assert_close(found, pooled_by_hand(h, mask.flatten(0, 1)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[[1, 3]], h.mean((2, 3, 4))[[1, 3]])


def test_pooling_grows_small_tubes_over_the_whole_video() -> None:
    torch.manual_seed(2)
    h, mask = torch.randn(2, 5, 2, 3, 3), torch.zeros(1, 2, 2, 6, 6, dtype=torch.bool)
    mask[0, 0, 1, 3, 3] = True  # the last step of the first segment: it grows into the second
    grown = grow_tubes(mask.flatten(1, 2), 9).view(mask.shape)
    assert grown[0, 1].any()
    torch.testing.assert_close(TubePool(8, min_positions=9)(h, mask), TubePool(8)(h, grown))
    with pytest.raises(ValueError, match="negative"):
        TubePool(8, min_positions=-1)


def test_shares_of_cells() -> None:
    inside = torch.zeros(1, 1, 7, 7)
    inside[0, 0, 1, 1] = 1  # the second of seven cells: three quarters in the first of four, one in the second
    shares = cell_shares(inside, torch.Size((1, 4, 4)))[0, 0]
    assert shares.sum() == pytest.approx((4 / 7) ** 2)
    assert shares[0, 0] / shares.sum() == pytest.approx((3 / 4) ** 2)


@pytest.mark.parametrize("attention", ["mask", "pointwise", "pool", "channel", "constant"])
def test_in_the_network_it_is_the_tube_that_counts(attention: AttentionKind) -> None:
    torch.manual_seed(0)
    options: dict[str, object] = {"zero_init": False} if attention in LEARNING else {}
    network = build_tsanet("i3d_small", attention=attention, attention_options=options).eval()
    net = network.backbone
    video = torch.randn(2, 2, 3, net.frames, net.input_size, net.input_size)
    mask = torch.rand(2, 2, net.steps, *net.grid) < 0.3
    with torch.no_grad():
        features, other = network.segment_features(video, mask), network.segment_features(video, ~mask)
        plain = network.backbone(video.flatten(0, 1)).view_as(features)
        for found in (other, plain):
            assert not torch.allclose(found, features)
        everywhere = network.segment_features(video, torch.ones_like(mask))
        if attention in ("mask", "pool"):  # a tube that is all of the video chooses nothing
            torch.testing.assert_close(everywhere, plain, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="needs its mask"):
        network(video)
    with pytest.raises(ValueError, match="attends to nothing"):
        network(video, mask, return_attention=(0, 0, 0, 0))


def test_pooling_needs_a_map() -> None:
    with pytest.raises(ValueError, match="mvit_v2_s pools over no map"):
        build_tsanet("mvit_v2_s", attention="pool")


def test_one_list_of_names() -> None:
    """What the builder builds, what the type checker allows and what a config may say."""
    annotation = ModelConfig.model_fields["attention"].annotation
    assert set(get_args(annotation)) == set(get_args(AttentionKind)) == {*FORMS, NO_FORM}
    for name, form in FORMS.items():
        one = build_attention(name, 8)[0]  # type: ignore[arg-type]
        assert hasattr(one, "attention_from") == form.compares
        assert isinstance(one, TubePool) == form.pools
