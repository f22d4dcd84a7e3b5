"""Heads: shapes, decoding by hand, labels and outputs in one unit, and that each can learn."""

import pytest
import torch

from models.heads import HEADS, build_head, judges_rule

OPTIONS = {"usdl": {"score_max": 104.5}, "regression": {"score_scale": 50.0}, "likert": {"score_scale": 100.0},
           "linear": {"score_scale": 50.0}, "gaussian": {"score_scale": 50.0}}
F = 24


def labels_for(name, b):
    if name == "musdl":
        return torch.linspace(2.0, 9.0, b)[:, None].expand(b, 7).contiguous()
    return torch.arange(b) % 2 if name == "classification" else torch.linspace(10.0, 90.0, b)


ONE_NUMBER = ("regression", "likert", "linear", "classification")
TAILS = [*((name, ()) for name in ONE_NUMBER), ("gaussian", (2,)), ("usdl", (101,)), ("musdl", (7, 21))]


@pytest.mark.parametrize(("name", "tail"), TAILS)
def test_shapes_keep_leading_axes(name, tail):
    head = build_head(name, F, **OPTIONS.get(name, {}))
    assert head(torch.randn(3, F)).shape == (3, *tail)
    output = head(torch.randn(2, 5, F))
    assert output.shape == (2, 5, *tail)
    assert head.decode(output, difficulty=torch.ones(2, 5)).shape == (2, 5)


# What `contrastive` decodes takes exemplars: tests/models/test_contrastive.py.
@pytest.mark.parametrize("name", [name for name in HEADS if name not in ("contrastive", "svr")])
def test_every_head_can_learn_what_it_decodes(name):
    """Distinct features, a few hundred steps: the decoded answers become the labels, so units agree."""
    torch.manual_seed(0)
    head = build_head(name, F, **OPTIONS.get(name, {}))
    x, target = torch.eye(4, F), labels_for(name, 4)
    if name == "likert":  # each level has to see which clip it is
        x = torch.eye(4).repeat(1, F // 4)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.1 if name in ("likert", "linear") else 3e-3)
    for _ in range(300):
        optimiser.zero_grad()
        head.loss(head(x), target).backward()
        optimiser.step()
    answer = head.decode(head(x), difficulty=torch.full((4,), 3.0)).detach()
    if name == "musdl":
        torch.testing.assert_close(answer, 9 * target[:, 0], atol=3.0, rtol=0)
    else:
        unit = 0.1 if name == "classification" else 2.5
        torch.testing.assert_close(answer, target.float(), atol=unit, rtol=0)


def test_usdl_decodes_the_bin_in_score_units():
    logits = torch.full((1, 101), -10.0)
    logits[0, 80] = 10.0
    assert build_head("usdl", F, score_max=104.5).decode(logits).item() == pytest.approx(83.6)
    by_mean = build_head("usdl", F, score_max=104.5, decode_by="mean")
    assert by_mean.decode(logits).item() == pytest.approx(83.6, abs=0.01)


def test_usdl_loss_is_least_at_the_true_score():
    head = build_head("usdl", F, score_max=104.5)
    target = torch.tensor([62.7])
    centred = [-((torch.arange(101.0) - c) ** 2)[None] / 50 for c in range(101)]
    assert min(range(101), key=lambda c: head.loss(centred[c], target).item()) == 60


def test_difficulty_multiplies_into_the_score():
    head = build_head("regression", F, score_scale=30.0, with_difficulty=True)
    output, difficulty = torch.tensor([0.5]), torch.tensor([3.2])
    score = head.decode(output, difficulty)
    assert score.item() == pytest.approx(48.0)
    assert head.loss(output, score, difficulty).item() == pytest.approx(0.0)
    with pytest.raises(ValueError, match="give the clips' difficulty"):
        head.decode(output)


def test_judges_rule_by_hand():
    judges = torch.tensor([[9.0, 7.5, 8.0, 2.0, 8.5, 8.0, 10.0]])  # middle three: 8, 8, 8.5
    assert judges_rule(judges, torch.tensor([3.0])).item() == pytest.approx(73.5)


def test_musdl_learns_the_panel_whatever_its_seating():
    head = build_head("musdl", F)
    output = head(torch.randn(1, F))
    seats = torch.tensor([[5.0, 9.0, 7.0, 7.5, 6.0, 8.0, 6.5]])
    assert head.loss(output, seats).item() == pytest.approx(head.loss(output, seats.flip(1)).item())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("ranking", {}, "no head 'ranking'; choose one of regression, usdl"),
        ("regression", {"bins": 3}, "'regression' does not understand its options"),
        ("usdl", {"score_max": 1.0, "decode_by": "median"}, "'argmax' or 'mean', not 'median'"),
        ("musdl", {"judges": 4}, "odd panel of at least 3"),
    ],
)
def test_wrong_options_are_told(name, options, words):
    with pytest.raises(ValueError, match=words):
        build_head(name, F, **options)
