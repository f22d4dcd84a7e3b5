"""Temporal modules against sums written out by hand, in plain Python, from the papers' equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.heads import build_head
from models.temporal import TEMPORAL, AttentionPool, LevelDecoder, LstmPool, MeanPool, build_temporal

OPTIONS: dict[str, dict[str, object]] = {
    "mean": {}, "attention": {"hidden": 4}, "lstm": {"hidden": 5}, "levels": {"levels": 3, "hidden": 8, "heads": 2},
    "dct": {"frequencies": 3}, "stgcn": {"bones": "0-1", "centre": "0", "widths": "4 6"},
}


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def fill(parameter: Tensor, values: list[object]) -> None:
    with torch.no_grad():
        parameter.copy_(torch.tensor(values))


def test_the_mean_leaves_out_what_the_mask_does() -> None:
    steps = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, -7.0]]])
    assert MeanPool(2)(steps, torch.tensor([[True, True, False]])).tolist() == [[2.0, 4.0]]
    assert MeanPool(2)(steps[:, :2]).tolist() == [[2.0, 4.0]]


@pytest.mark.parametrize("gated", [False, True])
def test_attention_by_hand(gated: bool) -> None:
    pool = AttentionPool(2, hidden=1, gated=gated)
    fill(pool.v.weight, [[0.5, -1.0]])
    fill(pool.w.weight, [[2.0]])
    if pool.u is not None:
        fill(pool.u.weight, [[1.0, 1.0]])
    first, second = (1.0, 0.0), (0.0, 1.0)
    scores = [2.0 * math.tanh(0.5 * x - y) * (sigmoid(x + y) if gated else 1.0) for x, y in (first, second)]
    weight = math.exp(scores[0]) / (math.exp(scores[0]) + math.exp(scores[1]))
    found = pool(torch.tensor([[first, second]]))
    torch.testing.assert_close(found, torch.tensor([[weight, 1 - weight]]))
    padded = torch.tensor([[first, second, (9.0, 9.0)]])
    torch.testing.assert_close(pool(padded, torch.tensor([[True, True, False]])), found)


def test_an_lstm_of_one_unit_by_hand() -> None:
    pool = LstmPool(1, hidden=1)
    w, u, b = (0.3, -0.2, 0.5, 0.7), (0.1, 0.4, -0.6, 0.2), (0.0, 1.0, -0.1, 0.3)  # input, forget, cell, output
    fill(pool.lstm.weight_ih_l0, [[x] for x in w])
    fill(pool.lstm.weight_hh_l0, [[x] for x in u])
    fill(pool.lstm.bias_ih_l0, list(b))
    fill(pool.lstm.bias_hh_l0, [0.0] * 4)
    h = c = 0.0
    for x in (1.0, -2.0, 0.5):
        i, f, g, o = (w[n] * x + u[n] * h + b[n] for n in range(4))
        c = sigmoid(f) * c + sigmoid(i) * math.tanh(g)
        h = sigmoid(o) * math.tanh(c)
    steps = torch.tensor([[[1.0], [-2.0], [0.5]]])
    torch.testing.assert_close(pool(steps), torch.tensor([[h]]))
    padded = torch.cat([steps, torch.full((1, 2, 1), 7.0)], dim=1)
    torch.testing.assert_close(pool(padded, torch.tensor([[True, True, True, False, False]])), torch.tensor([[h]]))


def test_the_score_of_levels_by_hand() -> None:
    head = build_head("likert", 6, levels=3, score_scale=10.0)
    fill(head.u, [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # type: ignore[attr-defined]
    fill(head.b, [0.0, 0.5, -0.5])  # type: ignore[attr-defined]
    r = [sigmoid(0.2), sigmoid(-1.0 + 0.5), sigmoid(0.3 + 0.4 - 0.5)]
    share = (0.0 * r[0] + 0.5 * r[1] + 1.0 * r[2]) / sum(r)
    features = torch.tensor([[0.2, 9.0, 8.0, -1.0, 0.3, 0.4]])
    torch.testing.assert_close(head(features), torch.tensor([share]))
    torch.testing.assert_close(head.decode(head(features)), torch.tensor([10 * share]))
    torch.testing.assert_close(head.loss(head(features), torch.tensor([4.0])), torch.tensor((share - 0.4) ** 2))


def normed(values: list[float]) -> list[float]:
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + 1e-5)
    return [(v - mean) / deviation for v in values]


def test_a_level_decoder_by_hand() -> None:
    """One layer of each with zero matrices but for the values that the queries collect: sums of norms are left."""
    module = LevelDecoder(2, levels=2, hidden=2, heads=1, dropout=0.0).eval()
    for name, parameter in module.named_parameters():
        if not ("norm" in name or ".1." in name or ".4." in name):
            torch.nn.init.zeros_(parameter)
    fill(module.project[0].weight, [[1.0, 0.0], [0.0, 1.0]])
    fill(module.project[3].weight, [[2.0, 0.0], [0.0, 1.0]])
    fill(module.levels.weight, [[1.0, 0.0], [0.0, 3.0]])
    attention = module.decoder.layers[0].multihead_attn
    fill(attention.in_proj_weight, [[0.0, 0.0]] * 4 + [[1.0, 0.0], [0.0, 1.0]])  # values as they are, equal weights
    fill(attention.out_proj.weight, [[1.0, 0.0], [0.0, 1.0]])
    steps = [[1.0, 4.0], [2.0, -3.0]]
    memory = []
    for step in steps:
        projected = [max(0.0, value) for value in normed(step)]
        out = normed([2 * projected[0], projected[1]])
        memory.append(normed(normed(out)))  # two sublayers add nothing, each is normed
    collected = [sum(values) / 2 for values in zip(*memory, strict=True)]
    expected: list[float] = []
    for query in ([1.0, 0.0], [0.0, 3.0]):
        after_self = normed(query)
        expected += normed(normed([a + b for a, b in zip(after_self, collected, strict=True)]))
    torch.testing.assert_close(module(torch.tensor([steps])), torch.tensor([expected]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", list(TEMPORAL))
def test_what_the_mask_leaves_out_changes_nothing_and_gradients_reach_everything(name: str) -> None:
    torch.manual_seed(0)
    module = build_temporal(name, 6, **OPTIONS[name])
    assert isinstance(module, torch.nn.Module)
    module.eval()
    steps, lengths = torch.randn(3, 5, 6), [5, 2, 1]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    found = module(steps, mask)
    assert found.shape == (3, module.outputs)
    for number, length in enumerate(lengths):
        torch.testing.assert_close(found[number : number + 1], module(steps[number : number + 1, :length]))
    torch.testing.assert_close(module(torch.where(mask[..., None], steps, 1e3), mask), found)
    if list(module.parameters()):
        (found * torch.randn(found.shape)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in module.parameters())


def test_unknown_names_and_options_are_said() -> None:
    with pytest.raises(ValueError, match="attention"):
        build_temporal("pooling", 4)
    with pytest.raises(ValueError, match="does not understand its options"):
        build_temporal("lstm", 4, width=3)
    with pytest.raises(ValueError, match="as many levels"):
        build_head("likert", 7, levels=3)
