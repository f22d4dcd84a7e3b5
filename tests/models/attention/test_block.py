"""Attention inside tubes against the equations written out with their P×P matrix, and every odd tube there is."""

import shutil
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.attention import NonLocal, TubeSelfAttention
from models.attention import dot as operator
from models.attention import softmax as tube_softmax
from models.attention.dot_forms import Projections, factored_limit
from models.attention.growth import grow_tubes

SHAPE = (4, 5, 6)  # T, H, W of the tests: 120 positions
C, R = 8, 4


def written_out(block: TubeSelfAttention, x: Tensor, mask: Tensor) -> Tensor:
    """Eq. 4-6, or the released softmax form, one video and one P×P matrix at a time."""
    videos = []
    for video, selected in zip(x, mask, strict=True):
        tube = video[:, selected].T
        if not len(tube):
            videos.append(video)
            continue
        if block.affinity == "dot":
            weights = block.theta(tube) @ block.phi(tube).T / len(tube)
        else:
            weights = (tube @ tube.T).softmax(1)
        update = block.w_z(weights @ block.g(tube))
        if block.norm is not None:
            norm = block.norm
            update = (update - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        videos.append(video.masked_scatter(selected, (tube + update).T))
    return torch.stack(videos)


def block_and_input(affinity: str, sizes: tuple[int, ...], **options: Any) -> tuple[TubeSelfAttention, Tensor, Tensor]:
    """A float64 block with nothing at zero, features, and tubes of exactly these numbers of scattered positions."""
    torch.manual_seed(len(sizes) + sum(sizes))
    block = TubeSelfAttention(C, affinity=affinity, zero_init=False, **options).double().eval()
    for name, buffer in block.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            buffer.normal_()
    x = torch.randn(len(sizes), C, *SHAPE, dtype=torch.float64)
    mask = torch.zeros(len(sizes), 120, dtype=torch.bool)
    for row, size in zip(mask, sizes, strict=True):
        row[torch.randperm(120)[:size]] = True
    return block, x, mask.view(len(sizes), *SHAPE)


def gradients(z: Tensor, block: nn.Module, x: Tensor) -> list[Tensor]:
    torch.manual_seed(5)
    given = torch.autograd.grad(
        (z * torch.randn_like(z)).sum(), [x, *block.parameters()], allow_unused=True, materialize_grads=True
    )
    return list(given)


# One position, both sides of the change of form, most, all; and batches of very different tubes.
LIMIT = factored_limit(C, R)
BATCHES = [(0,), (1,), (LIMIT,), (LIMIT + 1,), (120,), (1, 120, 0, 40, 3), (0, 0), (120, 120)]


@pytest.mark.parametrize("affinity", ["dot", "softmax"])
@pytest.mark.parametrize("sizes", BATCHES, ids=str)
def test_agrees_with_the_equations_and_their_gradients(affinity: str, sizes: tuple[int, ...]) -> None:
    block, x, mask = block_and_input(affinity, sizes)
    x.requires_grad_()
    ours, theirs = block(x, mask), written_out(block, x, mask)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for one, other in zip(gradients(ours, block, x), gradients(theirs, block, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_both_forms_are_used_and_meet_at_the_limit() -> None:
    assert 1 < LIMIT < 120
    assert factored_limit(528, 264) in range(1000, 1500)  # measured on a CPU: they meet near 1,400 positions
    assert factored_limit(64, 8) > 10**6  # strongly reduced channels: never make the C×C matrix


@pytest.mark.parametrize("reduced", [1, 3, 8, 12])
def test_dot_with_any_reduction(reduced: int) -> None:
    block, x, mask = block_and_input("dot", (90, 12), reduced=reduced)
    torch.testing.assert_close(block(x, mask), written_out(block, x, mask), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("affinity", ["dot", "softmax"])
def test_positions_outside_pass_bit_for_bit(affinity: str) -> None:
    block, x, mask = block_and_input(affinity, (30, 0, 7))
    block, x = block.float(), x.float()
    x[0, 0][~mask[0]] = torch.nan  # what lies outside cannot even disturb
    z = block(x, mask)
    inside, before, after = mask, x.movedim(1, -1), z.movedim(1, -1)
    assert torch.equal(after[~inside].view(torch.int32), before[~inside].view(torch.int32))
    assert torch.isfinite(after[inside]).all()
    assert not torch.equal(after[inside], before[inside])


@pytest.mark.parametrize("affinity", ["dot", "softmax"])
def test_each_video_attends_only_to_itself(affinity: str) -> None:
    block, x, mask = block_and_input(affinity, (25, 60, 4))
    together = block(x, mask)
    alone = torch.cat([block(x[b : b + 1], mask[b : b + 1]) for b in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=0)


@pytest.mark.parametrize("affinity", ["dot", "softmax"])
def test_all_positions_is_non_local(affinity: str) -> None:
    block, x, _ = block_and_input(affinity, (5, 5))
    dense = NonLocal(C, affinity=affinity).double().eval()
    dense.load_state_dict(block.state_dict())
    everywhere = torch.ones(2, *SHAPE, dtype=torch.bool)
    assert torch.equal(dense(x), block(x, everywhere))
    assert torch.equal(dense(x, ~everywhere), dense(x))  # a mask has no effect on the baseline


@pytest.mark.parametrize("affinity", ["dot", "softmax"])
def test_new_block_is_the_identity_and_can_learn(affinity: str) -> None:
    torch.manual_seed(0)
    block = TubeSelfAttention(C, affinity=affinity)
    x, mask = torch.randn(2, C, *SHAPE), torch.rand(2, *SHAPE) < 0.4
    z = block(x, mask)
    assert torch.equal(z, x)
    (z * torch.randn_like(z)).sum().backward()
    last = block.w_z if block.norm is None else block.norm
    assert last.weight.grad is not None
    assert last.weight.grad.abs().max() > 0


@pytest.mark.parametrize("options", [{}, {"norm": True}, {"affinity": "softmax"}], ids=str)
def test_empty_tubes_leave_no_parameter_without_a_gradient(options: dict[str, Any]) -> None:
    """Of several processes one may have empty tubes only, and the others wait for its gradients."""
    block = TubeSelfAttention(C, zero_init=False, **options)
    z = block(torch.randn(2, C, *SHAPE), torch.zeros(2, *SHAPE, dtype=torch.bool))
    z.sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


@pytest.mark.parametrize("sizes", [(4, 0), (11, 20), (1, 7)], ids=str)
def test_gradcheck(sizes: tuple[int, ...]) -> None:
    shape = (2, 2, 5)
    torch.manual_seed(0)
    mask = torch.zeros(2, 20, dtype=torch.bool)
    for row, size in zip(mask, sizes, strict=True):
        row[torch.randperm(20)[:size]] = True
    mask = mask.view(2, *shape)
    for affinity, channels in (("dot", 4), ("softmax", 3)):
        block = TubeSelfAttention(channels, affinity=affinity, zero_init=False).double().eval()
        x = torch.randn(2, channels, *shape, dtype=torch.float64, requires_grad=True)
        names, values = zip(*block.named_parameters(), strict=True)
        values = tuple(value.detach().requires_grad_() for value in values)

        def run(x: Tensor, *values: Tensor, block: nn.Module = block, names: Any = names) -> Any:
            return torch.func.functional_call(block, dict(zip(names, values, strict=True)), (x, mask))

        assert torch.autograd.gradcheck(run, (x, *values), nondet_tol=0)


def test_operator_passes_torchs_own_checks() -> None:
    block, x, mask = block_and_input("dot", (9, 100, 0))
    weights = block._projections()
    room = operator.state_size(x, weights)
    arguments = (x.requires_grad_(), mask, [p.detach().requires_grad_() for p in weights], torch.float64, room)
    # Its second output has room that is never written, so outputs cannot be compared:
    # test_dot_stays_one_graph does.
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.tubeflow.tube_dot2.default, arguments, test_utils=checks)
    torch.library.opcheck(torch.ops.tubeflow.grow_tubes.default, (mask, 12))


@pytest.mark.parametrize("wants_x", [True, False])
def test_batched_form_of_accelerators_equals_the_gathered_one(wants_x: bool) -> None:
    block, x, mask = block_and_input("dot", (30, 120, 0, 1))
    weights = Projections(*(part.detach() for part in block._projections()))
    results = []
    for forward, backward in (
        (operator._forward_batched, operator._backward_batched),
        (operator._forward_gathered, operator._backward_gathered),
    ):
        state = torch.empty(len(x), operator.state_size(x, weights), dtype=x.dtype)
        z = forward(x, mask, weights, torch.float64, state)
        results.append([z, *backward(z.cos(), x, mask, weights, state, torch.float64, wants_x)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("lengths", [(5,), (5, 1, 17)], ids=str)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_fused_attention_of_accelerators_equals_the_symmetric_one(lengths: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    tubes = [torch.randn(16, length, requires_grad=True) for length in lengths]
    fused = tube_softmax.fused_varlen(tubes)
    symmetric = [tube_softmax.symmetric_softmax(tube) for tube in tubes]
    for one, other in zip(fused, symmetric, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    ours, theirs = (torch.autograd.grad(sum((y**2).sum() for y in made), tubes) for made in (fused, symmetric))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_softmax_over_several_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tube_softmax, "PANEL_ROWS", 7)
    block, x, mask = block_and_input("softmax", (100, 7, 8, 15))
    x.requires_grad_()
    ours, theirs = block(x, mask), written_out(block, x, mask)
    for one, other in zip(gradients(ours, block, x), gradients(theirs, block, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_softmax_of_huge_logits_stays_finite() -> None:
    tube = torch.full((4, 9), 1e3).requires_grad_()
    y = tube_softmax.symmetric_softmax(tube)
    torch.testing.assert_close(y, tube)  # equal logits of 4e6 each: the mean of equal columns
    y.sum().backward()
    assert tube.grad is not None
    assert torch.isfinite(tube.grad).all()


def test_train_statistics_come_from_each_video_and_spare_lone_positions() -> None:
    block, x, mask = block_and_input("softmax", (40, 1, 0))
    block.train()
    assert block.norm is not None
    with torch.no_grad():
        tube = x[0][:, mask[0]].T
        update = block.w_z((tube @ tube.T).softmax(1) @ block.g(tube))
    expected_mean = 0.9 * block.norm.running_mean + 0.1 * update.mean(0)
    expected_var = 0.9 * block.norm.running_var + 0.1 * update.var(0)
    before = int(block.norm.num_batches_tracked)
    z = block(x, mask)
    torch.testing.assert_close(block.norm.running_mean, expected_mean)  # one update, by the one tube with a variance
    torch.testing.assert_close(block.norm.running_var, expected_var)
    assert int(block.norm.num_batches_tracked) == before + 1
    assert torch.isfinite(z).all()
    torch.testing.assert_close((z - x)[0][:, mask[0]].mean(1), block.norm.bias.detach(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("affinity", ["dot", "softmax"])
@pytest.mark.parametrize("features", ["float32", "half"])
def test_autocast_stays_close_and_keeps_the_residual(affinity: str, dtype: torch.dtype, features: str) -> None:
    block, x, mask = block_and_input(affinity, (90, 10, 1, 0))
    block, x = block.float(), (20 * x).float() if affinity == "dot" else x.float()
    expected = block(x, mask)
    given = x.to(dtype) if features == "half" else x
    given = given.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        z = block(given, mask)
        assert z.dtype == given.dtype
        assert torch.equal(z.movedim(1, -1)[~mask], given.movedim(1, -1)[~mask])
    error = (z.float() - expected).abs().max() / (expected - x).abs().max()
    assert error < 0.03
    z.float().square().mean().backward()
    assert given.grad is not None
    assert torch.isfinite(given.grad).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in block.parameters())


def test_half_precision_module_without_autocast() -> None:
    block, x, mask = block_and_input("dot", (50, 3))
    expected = block(x, mask)
    z = block.bfloat16()(x.bfloat16(), mask)
    assert z.dtype == torch.bfloat16
    assert (z.double() - expected).abs().max() < 0.05 * expected.abs().max()


def compare_compiled(block: nn.Module, x: Tensor, mask: Tensor, **options: Any) -> None:
    def run(x: Tensor, mask: Tensor) -> Tensor:  # something around the block is left to be compiled
        return block(x.sin(), mask).cos()

    torch._dynamo.reset()
    compiled = torch.compile(run, **options)
    x.requires_grad_()
    for masks in (mask, ~mask):  # other tube sizes need no new graph
        ours, theirs = compiled(x, masks), run(x, masks)
        torch.testing.assert_close(ours, theirs)
        for one, other in zip(gradients(ours, block, x), gradients(theirs, block, x), strict=True):
            torch.testing.assert_close(one, other)


def test_dot_stays_one_graph() -> None:
    block, x, mask = block_and_input("dot", (60, 5, 0), min_positions=9)
    compare_compiled(block, x, mask, fullgraph=True, backend="aot_eager")


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("affinity", ["dot", "softmax"])
def test_torch_compile(affinity: str) -> None:
    compare_compiled(*block_and_input(affinity, (60, 5, 0)))


@pytest.mark.parametrize("affinity", ["dot", "softmax"])
def test_memory_format_and_strides_do_not_matter(affinity: str) -> None:
    block, x, mask = block_and_input(affinity, (60, 5, 120))
    expected = block(x, mask)
    channels_last = block(x.to(memory_format=torch.channels_last_3d), mask)
    torch.testing.assert_close(channels_last, expected)
    if affinity == "dot":
        assert channels_last.is_contiguous(memory_format=torch.channels_last_3d)
    strided = torch.stack([x, x], dim=-1)[..., 0].requires_grad_()
    z = block(strided, mask)
    torch.testing.assert_close(z, expected)
    factors = torch.randn(z.shape[::-1], dtype=z.dtype)
    for turned in (False, True):  # gradients that are expanded (stride 0), and permuted
        given = []
        for form in (block, partial(written_out, block)):
            z = form(strided, mask)
            loss = (z.permute(4, 3, 2, 1, 0) * factors).sum() if turned else z.sum()
            given.append(torch.autograd.grad(loss, strided)[0])
        torch.testing.assert_close(*given)


def test_state_dict_names() -> None:
    assert set(TubeSelfAttention(C).state_dict()) == {
        f"{layer}.{part}" for layer in ("theta", "phi", "g", "w_z") for part in ("weight", "bias")
    }
    released = {f"NL_1D.{name}" for name in ("g.weight", "g.bias", "W.0.weight", "W.0.bias")}
    softmax = TubeSelfAttention(C, affinity="softmax")
    names = {f"{layer}.{part}" for layer in ("g", "w_z", "norm") for part in ("weight", "bias")}
    names |= {f"norm.{buffer}" for buffer in ("running_mean", "running_var", "num_batches_tracked")}
    assert set(softmax.state_dict()) == names
    assert softmax.g.weight.shape == (C, C)
    bare = TubeSelfAttention(C, affinity="softmax", norm=False)
    bare.load_state_dict({name.replace("W.0", "W"): torch.ones(C, C, 1)[: 8 if "w" in name else 1] if "weight" in name
                          else torch.ones(C) for name in released})  # fmt: skip
    assert bare.w_z.weight.min() == 1


def test_released_names_load_inside_a_larger_network() -> None:
    net = nn.ModuleDict({"attention": TubeSelfAttention(C, affinity="softmax"), "NL_1D": nn.Linear(2, 2)})
    state = {"NL_1D.weight": torch.ones(2, 2), "NL_1D.bias": torch.ones(2)}
    for name, value in TubeSelfAttention(C, affinity="softmax", zero_init=False).state_dict().items():
        theirs = name.replace("w_z.", "W.0.").replace("norm.", "W.1.")
        state[f"attention.NL_1D.{theirs}"] = value[..., None] if value.dim() == 2 else value
    net.load_state_dict(state)
    assert torch.equal(net["attention"].g.weight, state["attention.NL_1D.g.weight"][..., 0])


@pytest.mark.parametrize("affinity", ["dot", "softmax"])
def test_attention_from_a_position_is_what_moves_it(affinity: str) -> None:
    block, x, mask = block_and_input(affinity, (80, 80), norm=False) if affinity == "softmax" else block_and_input(
        affinity, (80, 80)
    )  # fmt: skip
    mask[0, 1, 2, 3], mask[1, 1, 2, 3] = True, False
    weights = block.attention_from(x, mask, (1, 2, 3))
    assert weights.shape == (2, *SHAPE)
    assert not weights[1].any()  # this tube does not hold the position
    assert not weights[0][~mask[0]].any()
    if affinity == "softmax":
        assert weights[0].sum() == pytest.approx(1)
    tube = x[0].flatten(1).T
    update = block.w_z(weights[0].flatten() @ block.g(tube))
    torch.testing.assert_close(block(x, mask)[0, :, 1, 2, 3], x[0, :, 1, 2, 3] + update)


def test_growth_reaches_the_floor_in_complete_rings() -> None:
    mask = torch.zeros(4, 3, 7, 7, dtype=torch.bool)
    mask[0, 1, 3, 3] = True
    mask[2] = True
    mask[3, 0, 0, :2] = True
    grown = grow_tubes(mask, 7)
    axis = torch.arange(7) - 3
    distance = (torch.arange(3) - 1).abs()[:, None, None] + axis.abs()[:, None] + axis.abs()
    assert torch.equal(grown[0], distance <= 1)  # one ring: the position and its six neighbours
    assert torch.equal(grown[2], mask[2])
    assert not grown[1].any()  # nowhere to grow from
    assert grown[3].sum() >= 7
    assert torch.equal(grown, grow_tubes(mask, 7))
    assert grow_tubes(mask, 0) is mask
    assert grow_tubes(mask, 10**6)[[0, 2, 3]].all()  # no more than the whole video
    assert mask[0].sum() == 1  # the caller's mask is left alone
    assert grow_tubes(torch.ones(0, 1, 1, 1, dtype=torch.bool), 3).shape == (0, 1, 1, 1)


@pytest.mark.parametrize("affinity", ["dot", "softmax"])
def test_min_positions_is_attention_in_the_grown_tube(affinity: str) -> None:
    block, x, mask = block_and_input(affinity, (2, 100, 0), min_positions=20)
    grown = grow_tubes(mask, 20)
    assert grown[0].sum() >= 20
    torch.testing.assert_close(block(x, mask), written_out(block, x, grown), rtol=1e-10, atol=1e-10)
    position = grown[0].nonzero()[0].tolist()
    assert block.attention_from(x, mask, position)[0].ne(0).sum() == grown[0].sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"affinity": "cosine"}, "affinity must be one of dot, softmax, got 'cosine'"),
        ({"channels": 0}, "must be positive"),
        ({"reduced": 0}, "must be positive"),
        ({"min_positions": -1}, "not negative"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TubeSelfAttention(**{"channels": C, **arguments})


def test_bad_input() -> None:
    block, x, mask = block_and_input("dot", (5, 5))
    with pytest.raises(ValueError, match="bool"):
        block(x, mask.float())
    with pytest.raises(ValueError, match=r"need a mask \(B, T, H, W\)"):
        block(x, mask[:1])
    with pytest.raises(ValueError, match=r"must have shape \(B, 8, T, H, W\)"):
        block(x[:, :4], mask)
    with pytest.raises(ValueError, match="sub_sample"):
        NonLocal(C, sub_sample=True)
