"""Attention on features that nobody trains: the same gradients of its weights, and none of the features."""

from typing import Any

import pytest
import torch

from models.attention import TubeSelfAttention
from models.attention import dot as operator
from models.attention.dot_forms import MatrixForm, factored_limit
from tests.models.attention.test_block import written_out

C, SHAPE = 8, (4, 5, 6)
LIMIT = factored_limit(C, C // 2)


def never(*_: Any) -> None:
    raise AssertionError("the features' gradient was computed, and nobody wants it")


@pytest.mark.parametrize("sizes", [(LIMIT, 0), (LIMIT + 30, 120, 3)], ids=str)
def test_weights_learn_the_same_and_features_cost_nothing(
    sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    block = TubeSelfAttention(C, zero_init=False).double()
    mask = torch.zeros(len(sizes), 120, dtype=torch.bool)
    for row, size in zip(mask, sizes, strict=True):
        row[torch.randperm(120)[:size]] = True
    mask = mask.view(-1, *SHAPE)
    x = torch.randn(len(sizes), C, *SHAPE, dtype=torch.float64)
    weights = list(block.parameters())
    expected = torch.autograd.grad(written_out(block, x, mask).cos().sum(), weights)

    monkeypatch.setattr(MatrixForm, "apply_backward", never)
    found = torch.autograd.grad(block(x, mask).cos().sum(), weights)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_map_that_is_trained_still_gets_its_gradient() -> None:
    torch.manual_seed(4)
    block = TubeSelfAttention(C, zero_init=False).double()
    mask = torch.rand(2, *SHAPE) < 0.5
    x = torch.randn(2, C, *SHAPE, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad(written_out(block, x, mask).cos().sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad(block(x, mask).cos().sum(), x)[0], expected, rtol=1e-9, atol=1e-9)


def test_operator_gives_an_empty_gradient_of_what_is_frozen() -> None:
    block = TubeSelfAttention(C, zero_init=False)
    x, mask = torch.randn(1, C, *SHAPE), torch.ones(1, *SHAPE, dtype=torch.bool)
    weights = block._projections()
    arguments = (x, mask, [part.detach() for part in weights], torch.float32, operator.state_size(x, weights))
    z, state = torch.ops.tubeflow.tube_dot2(*arguments)
    d_x, *_ = torch.ops.tubeflow.tube_dot2_backward(z, x, mask, arguments[2], state, torch.float32, False)
    assert d_x.numel() == 0
