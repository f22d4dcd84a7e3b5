"""MACs against the paper's figure, and against what torch counts while the code runs."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.attention import TubeSelfAttention
from models.attention import dot as operator
from models.attention.cost import AttentionCost, attention_cost, in_words, reduction, total_cost
from models.attention.dot_forms import Projections, factored_limit, factored_macs, matrix_macs
from models.attention.softmax import symmetric_macs, symmetric_softmax


def counting() -> FlopCounterMode:
    """Torch's counter, extended by the in-place product that it does not know."""

    def added_in_place(start: torch.Size, left: torch.Size, right: torch.Size, **_: Any) -> int:
        return 2 * left[0] * left[1] * right[1]

    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: added_in_place})


DENSE = 10 * 4 * 14 * 14


def test_the_printed_count_is_what_a_counter_of_modules_sees() -> None:
    """g and W_z with biases and the BatchNorm behind them: one MAC a weight, one a bias, two a normalised number."""
    block = TubeSelfAttention(528, 264, "softmax")
    assert block.norm is not None
    layers = sum(part.numel() for layer in (block.g, block.w_z) for part in layer.parameters())
    each = layers + 2 * block.norm.num_features
    assert attention_cost(1, 528, 264).printed == each == 280_632
    assert in_words(attention_cost(DENSE, 528).printed) == "2.20 G"


def test_published_reduction_is_the_share_of_positions() -> None:
    assert reduction(attention_cost(DENSE // 4, 528).published, attention_cost(DENSE, 528).published) == 0.75
    assert reduction(attention_cost(0, 528).published, attention_cost(DENSE, 528).published) == 1
    with pytest.raises(ValueError, match="no reduction"):
        reduction(1, 0)


@pytest.mark.parametrize("affinity", ["dot", "softmax"])
@pytest.mark.parametrize("reduced", [None, 5])
def test_true_count_is_what_the_written_out_equations_multiply(affinity: str, reduced: int | None) -> None:
    block, tube = TubeSelfAttention(16, reduced, affinity), torch.randn(90, 16)
    with counting() as counter, torch.no_grad():
        query, key = (block.theta(tube), block.phi(tube)) if affinity == "dot" else (tube, tube)
        block.w_z((query @ key.T) @ block.g(tube))
    assert attention_cost(90, 16, reduced, affinity).true * 2 == counter.get_total_flops()


@pytest.mark.parametrize("positions", [100, 4000])
def test_executed_dot_is_what_the_operator_multiplies(positions: int) -> None:
    channels, reduced = 96, 48
    assert (positions > factored_limit(channels, reduced)) == (positions == 4000)
    block = TubeSelfAttention(channels, zero_init=False)
    weights = Projections(*(part.detach() for part in block._projections()))
    x, mask = torch.randn(1, channels, 1, 1, positions), torch.ones(1, 1, 1, positions, dtype=torch.bool)
    state = torch.empty(len(x), operator.state_size(x, weights), dtype=x.dtype)
    with counting() as forward:
        operator._forward_gathered(x, mask, weights, torch.float32, state)
    with counting() as backward:
        operator._backward_gathered(x, x, mask, weights, state, torch.float32, True)
    form = matrix_macs if positions == 4000 else factored_macs
    expected = form(positions, channels, reduced)
    # Products with single vectors (the mean, the biases) are left out of the formulas: under one in a
    # hundred.
    assert forward.get_total_flops() / 2 == pytest.approx(expected[0], rel=0.01)
    assert backward.get_total_flops() / 2 == pytest.approx(expected[1], rel=0.01)
    assert attention_cost(positions, channels).executed == expected[0]


@pytest.mark.parametrize("positions", [100, 4000])
def test_a_norm_behind_w_z_multiplies_no_more_than_the_block_without(positions: int) -> None:
    """In training the update is made by itself, in the same of two forms: the cost is linear in the positions, too."""
    block = TubeSelfAttention(96, norm=True, zero_init=False)
    x, mask = torch.randn(1, 96, 1, 1, positions), torch.ones(1, 1, 1, positions, dtype=torch.bool)
    with torch.no_grad(), counting() as forward:
        block(x, mask)
    assert forward.get_total_flops() / 2 == pytest.approx(attention_cost(positions, 96).executed, rel=0.01)


@pytest.mark.parametrize("positions", [1, 384, 1000])
def test_executed_softmax_is_what_the_panels_multiply(positions: int) -> None:
    tube = torch.randn(8, positions, requires_grad=True)
    with counting() as forward:
        attended = symmetric_softmax(tube)
    with counting() as backward:
        attended.backward(tube.detach())
    macs = symmetric_macs(positions, 8)
    assert (forward.get_total_flops() / 2, backward.get_total_flops() / 2) == macs
    assert attention_cost(positions, 8, affinity="softmax").executed == macs[0] + positions * 64 + 512


def test_cost_of_dot_grows_linearly_and_the_true_count_does_not() -> None:
    small, large = attention_cost(1000, 528), attention_cost(8000, 528)
    assert large.executed / small.executed < 8
    assert large.true / small.true > 24


def test_empty_tubes_and_sums() -> None:
    nothing = AttentionCost(0, 0, 0, 0, 0)
    assert attention_cost(0, 528) == attention_cost(0, 528, affinity="softmax") == nothing == total_cost([])
    one = attention_cost(10, 8)
    assert total_cost([one, one, nothing]).true == 2 * one.true
    twice = one.of_blocks(2)
    assert (twice.positions, twice.printed, twice.executed) == (10, 2 * one.printed, 2 * one.executed)
    with pytest.raises(ValueError, match="-1 positions"):
        attention_cost(-1, 8)
    with pytest.raises(ValueError, match="affinity"):
        attention_cost(1, 8, affinity="cosine")


@pytest.mark.parametrize(
    ("macs", "text"),
    [(0, "0 "), (999, "999 "), (1000, "1.00 k"), (999_950, "1.00 M"), (864e6, "864 M"), (3e13, "30.0 T")],
)
def test_in_words(macs: float, text: str) -> None:
    assert in_words(macs) == text
