"""Convolutions of maps with fewer steps than taps: PyTorch's own result and gradients, and only there another way."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.backbones.i3d_small import build_i3d_small
from models.backbones.short_convolution import Triple, convolve
from models.backbones.split import mean_position

ONE: Triple = (1, 1, 1)


def drawn(steps: int, kernel: Triple, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(steps)
    x = torch.randn(3, 4, steps, 5, 6, dtype=dtype).to(memory_format=torch.channels_last_3d).requires_grad_()
    return x, torch.randn(6, 4, *kernel, dtype=dtype).requires_grad_()


def is_short(y: Tensor) -> bool:
    assert y.grad_fn is not None
    return "ShortConvolution" in y.grad_fn.name()


@pytest.mark.parametrize(("steps", "kernel"), [(1, (3, 3, 3)), (2, (3, 3, 3)), (2, (5, 1, 3)), (4, (5, 3, 1))])
@pytest.mark.parametrize("order", [torch.channels_last_3d, torch.contiguous_format])
def test_result_and_gradients_are_pytorchs(steps: int, kernel: Triple, order: torch.memory_format) -> None:
    x, weight = drawn(steps, kernel)
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    ours, theirs = convolve(x, weight, ONE, padding), F.conv3d(x, weight, padding=padding)
    assert is_short(ours)
    torch.testing.assert_close(ours, theirs)
    given = torch.randn_like(theirs).to(memory_format=order)
    found, expected = (torch.autograd.grad(y, [x, weight], given) for y in (ours, theirs))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_float32_as_networks_use_it() -> None:
    x, weight = drawn(2, (3, 3, 3), torch.float32)
    for one, other in zip(
        torch.autograd.grad(convolve(x, weight, ONE, ONE).sin().sum(), [x, weight]),
        torch.autograd.grad(F.conv3d(x.double(), weight.double(), padding=1).sin().sum(), [x, weight]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_gradient_of_either_alone() -> None:
    x, weight = drawn(2, (3, 3, 3))
    expected = torch.autograd.grad(F.conv3d(x, weight, padding=1).sin().sum(), [x, weight])
    alone = torch.autograd.grad(convolve(x.detach(), weight, ONE, ONE).sin().sum(), weight)[0]
    torch.testing.assert_close(alone, expected[1])
    assert not is_short(convolve(x, weight.detach(), ONE, ONE))  # frozen weights have no gradient to be taken


@pytest.mark.parametrize(
    ("steps", "stride", "padding"), [(3, ONE, ONE), (2, (2, 1, 1), ONE), (2, (1, 2, 2), ONE), (4, ONE, (0, 1, 1))]
)
def test_longer_maps_and_other_strides_are_left_as_they_are(steps: int, stride: Triple, padding: Triple) -> None:
    x, weight = drawn(steps, (3, 3, 3))
    y = convolve(x, weight, stride, padding)
    assert not is_short(y)
    torch.testing.assert_close(y, F.conv3d(x, weight, stride=stride, padding=padding))


def test_autocast_and_evaluation_are_left_as_they_are() -> None:
    x, weight = drawn(2, (3, 3, 3), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_short(convolve(x, weight, ONE, ONE))
    with torch.no_grad():
        assert convolve(x, weight, ONE, ONE).grad_fn is None


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    x, weight = drawn(2, (3, 3, 3))
    once = torch.autograd.grad(convolve(x, weight, ONE, ONE).sin().sum(), weight, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        once.sum().backward()


def test_network_learns_from_channels_last_gradients() -> None:
    net = build_i3d_small()
    seen: list[Tensor] = []
    handle = net.Mixed_5c.register_full_backward_pre_hook(lambda _, given: seen.append(given[0]))
    h = torch.randn(2, net.channels, net.steps, *net.grid).to(memory_format=torch.channels_last_3d)
    net.stage2(h).sum().backward()
    handle.remove()
    assert seen[0].is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("order", [torch.channels_last_3d, torch.contiguous_format])
def test_mean_is_the_mean(order: torch.memory_format) -> None:
    h = torch.randn(3, 4, 2, 5, 6).to(memory_format=order)
    torch.testing.assert_close(mean_position(h), h.flatten(2).double().mean(-1).float())
