"""The norm behind W_z of dot blocks: Eq. 4-6 with a BatchNorm written out, odd batches, processes, evaluation."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.attention import NonLocal, TubeSelfAttention
from models.attention.dot_forms import factored_limit
from models.attention.tube_norm import TubeNorm

C, R, SHAPE = 8, 4, (4, 5, 6)
LIMIT = factored_limit(C, R)
BATCHES = [(2,), (LIMIT, LIMIT + 1), (120,), (1, 120, 0, 40, 3), (1, 1), (120, 120)]


def case(sizes: tuple[int, ...], kind: type[TubeSelfAttention] = TubeSelfAttention) -> tuple[
    TubeSelfAttention, Tensor, Tensor
]:
    """A float64 block with a norm that is no identity, features, and tubes of so many scattered positions."""
    torch.manual_seed(len(sizes) + sum(sizes))
    block = kind(C, R, norm=True, zero_init=False).double()
    assert isinstance(block.norm, TubeNorm)
    with torch.no_grad():
        for parameter in (block.norm.weight, block.norm.bias, block.norm.running_mean):
            parameter.normal_()
        block.norm.running_var.uniform_(0.5, 2)
    mask = torch.zeros(len(sizes), 120, dtype=torch.bool)
    for row, size in zip(mask, sizes, strict=True):
        row[torch.randperm(120)[:size]] = True
    return block, torch.randn(len(sizes), C, *SHAPE, dtype=torch.float64), mask.view(-1, *SHAPE)


def updates_of(block: TubeSelfAttention, x: Tensor, mask: Tensor) -> Tensor:
    """W_z y + b_z of every tube position of the batch, with the P×P matrices: (P, C)."""
    found = [x.new_zeros(0, C)]
    for video, selected in zip(x, mask, strict=True):
        tube = video[:, selected].T
        if len(tube):
            found.append(block.w_z(block.theta(tube) @ block.phi(tube).T / len(tube) @ block.g(tube)))
    return torch.cat(found)


def written_out(block: TubeSelfAttention, x: Tensor, mask: Tensor) -> Tensor:
    norm, updates = block.norm, updates_of(block, x, mask)
    assert isinstance(norm, TubeNorm)
    mean, variance = norm.running_mean, norm.running_var
    if block.training and len(updates) > 1:
        mean, variance = updates.mean(0), updates.var(0, unbiased=False)
    updates = (updates - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
    places = mask[:, None].expand_as(x).movedim(1, -1)
    return x + torch.zeros_like(x.movedim(1, -1)).masked_scatter(places, updates).movedim(-1, 1)


def gradients(z: Tensor, block: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    torch.manual_seed(5)
    wanted = [x, *block.parameters()]
    return torch.autograd.grad((z * torch.randn_like(z)).sum(), wanted, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("sizes", [(0, 0), (1, 0), *BATCHES], ids=str)
def test_agrees_with_the_equations_and_their_gradients(sizes: tuple[int, ...], training: bool) -> None:
    block, x, mask = case(sizes)
    block.train(training)
    x.requires_grad_()
    theirs, ours = written_out(block, x, mask), block(x, mask)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    if sum(sizes) > 1 or not training:
        for one, other in zip(gradients(ours, block, x), gradients(theirs, block, x), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-8)


def test_gradcheck_in_training() -> None:
    torch.manual_seed(0)
    block = TubeSelfAttention(3, norm=True, zero_init=False).double()
    mask = torch.rand(2, 2, 2, 3) < 0.5
    names, values = zip(*block.named_parameters(), strict=True)
    values = tuple(value.detach().requires_grad_() for value in values)
    x = torch.randn(2, 3, 2, 2, 3, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, *values: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(block, dict(zip(names, values, strict=True)), (x, mask))
        return result

    assert torch.autograd.gradcheck(run, (x, *values))


@pytest.mark.parametrize("sizes", BATCHES, ids=str)
def test_statistics_are_those_of_all_tube_positions(sizes: tuple[int, ...]) -> None:
    block, x, mask = case(sizes)
    norm = block.norm
    assert isinstance(norm, TubeNorm)
    with torch.no_grad():
        updates = updates_of(block, x, mask)
        mean = 0.9 * norm.running_mean + 0.1 * updates.mean(0)
        variance = 0.9 * norm.running_var + 0.1 * updates.var(0)
        change = (block(x, mask) - x).movedim(1, -1)[mask]
    torch.testing.assert_close((norm.running_mean, norm.running_var), (mean, variance))
    assert int(norm.num_batches_tracked) == 1
    torch.testing.assert_close(change.mean(0), norm.bias.detach(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("sizes", [(0, 0), (1, 0)], ids=str)
def test_fewer_than_two_positions_leave_the_statistics(sizes: tuple[int, ...]) -> None:
    block, x, mask = case(sizes)
    before = {name: buffer.clone() for name, buffer in block.named_buffers()}
    z = block(x, mask)
    assert torch.isfinite(z).all()
    assert torch.equal(z.movedim(1, -1)[~mask], x.movedim(1, -1)[~mask])
    torch.testing.assert_close(z, block.eval()(x, mask))  # nothing to take statistics from: as in evaluation
    for name, buffer in block.named_buffers():
        assert torch.equal(buffer, before[name])


def test_what_lies_outside_never_counts() -> None:
    block, x, mask = case((30, 0, 7))
    twin, _, _ = case((30, 0, 7))
    disturbed = torch.where(mask[:, None], x, torch.full_like(x, torch.nan))
    inside = [one(y, mask).movedim(1, -1)[mask] for one, y in ((block, x), (twin, disturbed))]
    assert torch.equal(*inside)
    for one, other in zip(block.buffers(), twin.buffers(), strict=True):
        assert torch.equal(one, other)


def test_evaluation_follows_training() -> None:
    """With the statistics of a batch as the running ones, evaluation of that batch is what training saw."""
    block, x, mask = case((40, 9, 0, 1))
    norm = block.norm
    assert isinstance(norm, TubeNorm)
    norm.momentum = 1.0
    trained = block(x, mask)
    norm.running_var.mul_((50 - 1) / 50)  # the running one is unbiased
    torch.testing.assert_close(block.eval()(x, mask), trained, rtol=1e-9, atol=1e-9)


def test_all_positions_is_non_local() -> None:
    block, x, _ = case((5, 5))
    dense = case((5, 5), NonLocal)[0]
    dense.load_state_dict(block.state_dict())
    everywhere = torch.ones(2, *SHAPE, dtype=torch.bool)
    torch.testing.assert_close(dense(x), block(x, everywhere))


@pytest.mark.parametrize("gain", [0.0, 0.1, 1.0])
def test_the_gain_is_the_size_of_the_first_update(gain: float) -> None:
    torch.manual_seed(0)
    x, mask = 30 * torch.randn(3, 16, *SHAPE), torch.rand(3, *SHAPE) < 0.3
    block = TubeSelfAttention(16, norm=True, gain=gain)
    update = (block(x, mask) - x).detach().movedim(1, -1)[mask]
    assert float(update.std(0, unbiased=False).mean()) == pytest.approx(gain, rel=1e-3, abs=1e-7)
    stacked = x
    for _ in range(3):
        stacked = TubeSelfAttention(16, norm=True, gain=gain)(stacked, mask)
    assert float((stacked - x).detach().abs().max()) < 20 * gain + 1e-6  # whatever the input's size, it doesn't explode


def test_gain_of_blocks_without_norm_scales_w_z() -> None:
    blocks = []
    for options in ({"gain": 1.0}, {"zero_init": False}, {"gain": 0.25}, {"gain": 0.0}, {}):
        torch.manual_seed(4)
        blocks.append(TubeSelfAttention(C, **options).w_z.weight.detach())  # type: ignore[arg-type]
    assert torch.equal(blocks[0], blocks[1])
    assert torch.equal(blocks[2], blocks[0] / 4)
    assert torch.equal(blocks[3], blocks[4])
    assert not blocks[3].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_close(dtype: torch.dtype) -> None:
    block, x, mask = case((90, 10, 1, 0))
    block, x = block.float(), (20 * x).float().requires_grad_()
    expected = block(x, mask)
    with torch.autocast("cpu", dtype=dtype):
        z = block(x, mask)
    assert z.dtype == torch.float32
    assert (z - expected).abs().max() / (expected - x).abs().max() < 0.03
    z.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in block.parameters())


def test_torchs_conversion_to_synchronised_batchnorm_leaves_it() -> None:
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(TubeSelfAttention(C, norm=True)))
    assert isinstance(converted[0].norm, TubeNorm)


def _part(rank: int, meeting: str, results: str) -> None:
    """One process of two: its half of the batch, the mean of both losses as DDP makes it."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    for number, sizes in enumerate(TWO):
        block, x, mask = case(sizes)
        half = slice(0, 2) if rank == 0 else slice(2, 4)
        mine = x[half].clone().requires_grad_()
        z = block(mine, mask[half])
        z.square().sum().backward()
        for parameter in block.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
        kept = {"z": z.detach(), "x": mine.grad, **dict(block.named_buffers())}
        kept |= {f"d {name}": parameter.grad for name, parameter in block.named_parameters()}
        torch.save(kept, f"{results}/{number}-{rank}.pt")
    dist.destroy_process_group()


TWO = ((30, 0, 7, 60), (25, 3, 0, 0), (0, 0, 1, 0), (0, 0, 0, 0))  # the first half is process 0's


def test_two_processes_share_their_statistics(tmp_path: Path) -> None:
    """Tubes divided unevenly among two processes, one of them without any: outputs and gradients of one process."""
    context = multiprocessing.get_context("spawn")
    arguments = str(tmp_path / "meeting"), str(tmp_path)
    processes = [context.Process(target=_part, args=(rank, *arguments)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for number, sizes in enumerate(TWO):
        block, x, mask = case(sizes)
        x.requires_grad_()
        z = block(x, mask)
        z.square().sum().backward()
        parts = [torch.load(tmp_path / f"{number}-{rank}.pt", weights_only=True) for rank in range(2)]
        torch.testing.assert_close(torch.cat([part["z"] for part in parts]), z)
        torch.testing.assert_close(torch.cat([part["x"] for part in parts]), x.grad, rtol=1e-8, atol=1e-9)
        for part in parts:
            for name, buffer in block.named_buffers():
                torch.testing.assert_close(part[name], buffer)
            for name, parameter in block.named_parameters():
                wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                torch.testing.assert_close(part[f"d {name}"], wanted, rtol=1e-8, atol=1e-8, msg=name)
