"""The attention blocks against numbers of the released code and of an independent float64 evaluation."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.attention import NonLocal, TubeSelfAttention

Recipe = Callable[[str], dict[str, torch.Tensor]]

# Independent float32 runs of the released block differ from float64 by up to 1.5e-6; this is the promised
# bound.
TOLERANCE = 1e-4


def drawn(data: Any, case: str, shape: tuple[int, ...]) -> torch.Tensor:
    noise = np.random.default_rng(int(data[f"{case}/x_seed"])).standard_normal(shape, dtype=np.float32)
    x = np.float32(data[f"{case}/x_scale"]) * noise
    assert zlib.crc32(x.tobytes()) == int(data[f"{case}/x_crc32"])
    return torch.from_numpy(x)


def masked(data: Any, case: str) -> torch.Tensor:
    shape = tuple(data[f"{case}/mask_shape"])
    bits = np.unpackbits(data[f"{case}/mask_packed"])[: int(np.prod(shape))]
    return torch.from_numpy(bits.reshape(shape).astype(bool))


def tube_slice(z: torch.Tensor, mask: torch.Tensor, b: int, data: Any, case: str) -> NDArray[np.float32]:
    channels, positions = data[f"{case}/out_tube_b{b}_strides"]
    return z[b][:, mask[b]][::channels, ::positions].detach().numpy()


def worst(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max())


@pytest.fixture(scope="module")
def released(golden: Path) -> Any:
    return np.load(golden / "tsa_nl.npz")


def released_block(recipe: Recipe, channels: int) -> TubeSelfAttention:
    block = TubeSelfAttention(channels, affinity="softmax")
    block.load_state_dict(recipe(f"keys_tsa_c{channels}"))
    return block


@pytest.mark.parametrize("case", ["c64_t28", "c480_t28", "c528_t40"])
def test_softmax_agrees_with_the_released_block(recipe_weights: Recipe, released: Any, case: str) -> None:
    mask = masked(released, case)
    channels = int(case[1:].split("_")[0])
    x = drawn(released, case, (2, channels, *mask.shape[1:]))
    z = released_block(recipe_weights, channels).eval()(x, mask)
    assert torch.equal(z.movedim(1, -1)[~mask], x.movedim(1, -1)[~mask])
    for b in (0, 1):
        assert worst(tube_slice(z, mask, b, released, case), released[f"{case}/out_tube_b{b}"]) < TOLERANCE
        delta = (z - x)[b][:, mask[b]].detach().numpy().astype(np.float64)
        stats = [delta.mean(), delta.std(), np.sqrt((delta**2).sum()), delta.min(), delta.max()]
        np.testing.assert_allclose(stats, released[f"{case}/delta_stats_b{b}"], rtol=1e-4, atol=1e-6)


def test_softmax_gradients_agree_with_the_released_block(recipe_weights: Recipe, released: Any) -> None:
    case = "c64_t28"
    mask = masked(released, case)
    x = drawn(released, case, (2, 64, *mask.shape[1:])).requires_grad_()
    block = released_block(recipe_weights, 64).eval()
    weight = np.random.default_rng(2065).standard_normal(tuple(x.shape), dtype=np.float32)
    loss = (block(x, mask) * torch.from_numpy(weight)).sum()
    loss.backward()
    assert loss.item() == pytest.approx(float(released[f"{case}/grad_loss"]), abs=1e-2)
    names = {"g.weight": "g.weight", "g.bias": "g.bias", "w_z.weight": "W.0.weight", "w_z.bias": "W.0.bias",
             "norm.weight": "W.1.weight", "norm.bias": "W.1.bias"}  # fmt: skip
    for ours, theirs in names.items():
        expected = released[f"{case}/grad/NL_1D.{theirs}"]
        gradient = block.get_parameter(ours).grad
        assert gradient is not None
        assert worst(gradient.numpy().reshape(expected.shape), expected) < 1e-4 * np.abs(expected).max() + 1e-5
    assert x.grad is not None
    for b in (0, 1):
        assert worst(tube_slice(x.grad, mask, b, released, case), released[f"{case}/grad_x_tube_b{b}"]) < 1e-3


def test_softmax_trains_with_statistics_per_video(recipe_weights: Recipe, released: Any) -> None:
    case = "c64_t28"
    mask = masked(released, case)
    x = drawn(released, case, (2, 64, *mask.shape[1:]))
    block = released_block(recipe_weights, 64).train()
    z = block(x, mask)
    for b in (0, 1):
        expected = released[f"{case}/train_out_tube_b{b}"]
        assert worst(tube_slice(z, mask, b, released, case), expected) < TOLERANCE
    assert block.norm is not None
    for name in ("running_mean", "running_var"):
        assert worst(block.norm.get_buffer(name).numpy(), released[f"{case}/train_after/{name}"]) < 1e-5
    assert int(block.norm.get_buffer("num_batches_tracked")) == int(released[f"{case}/train_after/num_batches_tracked"])


@pytest.mark.parametrize("channels", [64, 480])
@pytest.mark.parametrize("sub_sample", [False, True])
def test_non_local_agrees_with_the_released_block(
    recipe_weights: Recipe, released: Any, channels: int, sub_sample: bool
) -> None:
    case = f"nl3d_c{channels}_t8_sub{int(sub_sample)}"
    x = drawn(released, case, (2, channels, 8, 14, 14))
    block = NonLocal(channels, channels // 2, "softmax", sub_sample=sub_sample).eval()
    block.load_state_dict(recipe_weights(f"keys_nl3d_c{channels}_sub{int(sub_sample)}"))
    z = block(x)
    b, c, t, h, w = released[f"{case}/out_slice_strides"]
    assert worst(z[::b, ::c, ::t, ::h, ::w].detach().numpy(), released[f"{case}/out_slice"]) < TOLERANCE
    if not sub_sample:
        rows = released[f"{case}/softmax_rows"]
        for i in range(rows.shape[1]):
            t, rest = divmod(i * 196, 196)
            ours = block.attention_from(x, torch.ones(2, 8, 14, 14, dtype=torch.bool), (t, *divmod(rest, 14)))
            assert worst(ours.flatten(1)[:, ::49].numpy(), rows[:, i]) < 1e-6


@pytest.mark.parametrize("channels", [64, 528])
def test_dot_agrees_with_equations_4_to_6(golden: Path, recipe_weights: Recipe, channels: int) -> None:
    data = np.load(golden / "paper_tsa_eq4_6.npz")
    case = f"c{channels}_t{28 if channels == 64 else 40}"
    mask = masked(data, case)
    x = drawn(data, case, (2, channels, *mask.shape[1:]))
    drawn_weights = recipe_weights(f"keys_paper_tsa_c{channels}")
    block = TubeSelfAttention(channels)
    block.load_state_dict({name.split(".", 1)[1].replace("W_z", "w_z"): w for name, w in drawn_weights.items()})
    z = block(x, mask)
    assert torch.equal(z.movedim(1, -1)[~mask], x.movedim(1, -1)[~mask])
    for b in (0, 1):
        assert worst(tube_slice(z, mask, b, data, case), data[f"{case}/out_tube_b{b}"]) < TOLERANCE
