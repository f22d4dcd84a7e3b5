"""The contrastive head against sums written out by hand, in plain Python, from the equations of CoRe (2021)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from models.heads.contrastive import ContrastiveHead, ScoreTree, equal_shares
from models.heads.protocol import Exemplars

KNOWN = Exemplars(
    actions=("", "dive", "vault"),
    cell_action=(0, 1, 1, 2),
    cell_difficulty=(None, None, 3.2, None),
    members=((0, 1, 2), (0, 1), (1,), (2,)),
    scores=(40.0, 60.0, 90.0),
    relative=torch.tensor([-20.0, 0.0, 20.0]),
)
FEATURES = [[0.5], [-1.0], [2.0]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def fill(parameter: Tensor | nn.Module, values: object) -> None:
    assert isinstance(parameter, Tensor)
    with torch.no_grad():
        parameter.copy_(torch.tensor(values))


def tree_by_hand(head: ContrastiveHead) -> None:
    """Depth 2, one hidden unit; what `leaves` computes."""
    assert head.tree is not None
    fill(head.tree.root.weight, [[0.7, -0.4, 1.1]])
    fill(head.tree.root.bias, [0.3])
    fill(head.tree.turns[0].weight, [[[1.5]]])
    fill(head.tree.turns[0].bias, [[-0.6]])
    fill(head.tree.branches[0].weight, [[[0.8, 1.2]]])
    fill(head.tree.branches[0].bias, [[0.1, -0.2]])
    fill(head.tree.place.weight, [[[0.9]], [[-0.5]]])
    fill(head.tree.place.bias, [[0.2], [0.4]])


def leaves(own: float, exemplar: float, score: float) -> tuple[list[float], list[float]]:
    """Probability of each of two leaves, and the place within each, for one pair."""
    root = max(0.0, 0.7 * own - 0.4 * exemplar + 1.1 * score + 0.3)
    right = sigmoid(1.5 * root - 0.6)
    nodes = [max(0.0, 0.8 * root + 0.1), max(0.0, 1.2 * root - 0.2)]
    return [1 - right, right], [sigmoid(0.9 * nodes[0] + 0.2), sigmoid(-0.5 * nodes[1] + 0.4)]


@pytest.fixture
def head() -> ContrastiveHead:
    made = ContrastiveHead(1, exemplars=3, depth=2, hidden=1, score_scale=100.0)
    tree_by_hand(made)
    made.prepare(KNOWN)
    made.remember(torch.tensor(FEATURES))
    return made


def test_leaves_hold_equally_many_differences() -> None:
    differences = torch.tensor([5.0, -1.0, 3.0, 0.0, 2.0, 9.0, -4.0, 1.0, 4.0])  # sorted: -4 -1 0 1 2 3 4 5 9
    assert equal_shares(differences, 4).tolist() == [-4.0, 0.0, 2.0, 4.0, 9.0]
    assert equal_shares(differences, 3).tolist() == [-4.0, 0.0, 3.0, 9.0]  # places 0, ⌊8/3⌋, ⌊16/3⌋, 8


def test_a_difference_belongs_to_the_leaf_that_begins_with_it(head: ContrastiveHead) -> None:
    assert head.bounds.tolist() == pytest.approx([-0.2, 0.0, 0.2])
    leaf, place = head.leaf_of(torch.tensor([-0.2, -0.05, 0.0, 0.15, 0.2, 0.5]))
    assert leaf.tolist() == [0, 0, 1, 1, 1, 1]
    assert place.tolist() == pytest.approx([0.0, 0.75, 0.0, 0.75, 1.0, 1.0])


def test_the_loss_of_a_pair_by_hand(head: ContrastiveHead) -> None:
    clips, exemplars = torch.tensor([[0.5], [-1.0]]), torch.tensor([[2.0], [0.25]])
    found = head.loss(torch.cat([clips, exemplars]), torch.tensor([55.0, 30.0, 40.0, 45.0]))
    first, first_place = leaves(0.5, 2.0, 0.40)  # 55 - 40: right leaf, three quarters into [0, 20]
    second, second_place = leaves(-1.0, 0.25, 0.45)  # 30 - 45: left leaf, a quarter into [-20, 0]
    of_leaf = -(math.log(first[1]) + math.log(second[0])) / 2
    within = ((first_place[1] - 0.75) ** 2 + (second_place[0] - 0.25) ** 2) / 2
    assert found.item() == pytest.approx(of_leaf + within, rel=1e-5)
    with pytest.raises(ValueError, match="there are 3 rows"):
        head.loss(torch.zeros(3, 1), torch.zeros(3))


def vote(own: float, which: int) -> float:
    """What one exemplar says of a clip, in points."""
    score = KNOWN.scores[which] / 100
    probability, place = leaves(own, FEATURES[which][0], score)
    low = -0.2 if probability[0] > probability[1] else 0.0
    return 100 * (score + low + 0.2 * place[0 if low else 1])


def test_exemplars_vote_by_hand(head: ContrastiveHead) -> None:
    """The most likely leaf, its place, the exemplar's score; of one action and difficulty, else of one action."""
    clips, numbers = torch.tensor([[0.1]]), dict(zip(KNOWN.actions, range(3), strict=True))
    cases = [("dive", 3.2, [1]), ("dive", 2.0, [0, 1]), ("dive", math.nan, [0, 1]), ("vault", 3.2, [2])]
    for action, difficulty, asked in [*cases, ("judo", 3.2, [0, 1, 2])]:
        number = head.action_numbers([action])
        assert number.item() == numbers.get(action, 0)
        found = head.decode(clips, torch.tensor([difficulty]), number)
        assert found.item() == pytest.approx(sum(vote(0.1, one) for one in asked) / len(asked), rel=1e-5)
        said, there = head.votes(clips, torch.tensor([difficulty]), number)
        assert (100 * said[there > 0]).tolist() == pytest.approx([vote(0.1, one) for one in asked], rel=1e-5)
    alone = [vote(0.1, one) for one in range(3)]
    assert max(alone) - min(alone) > 10  # so that it matters who is asked


def test_segments_are_scored_as_clips_are(head: ContrastiveHead) -> None:
    segments = torch.tensor([[[0.1], [0.9]], [[-2.0], [0.3]]])  # two clips of two segments
    action, difficulty = torch.tensor([1, 2]), torch.tensor([3.2, 3.2])
    found = head.decode(segments, difficulty[:, None], action[:, None])
    alone = [head.decode(segments[:, n], difficulty, action) for n in range(2)]
    torch.testing.assert_close(found, torch.stack(alone, dim=1))


def test_a_perceptron_in_the_place_of_the_tree() -> None:
    head = ContrastiveHead(2, regressor="number", score_scale=10.0)
    assert head.mlp is not None
    torch.manual_seed(0)
    pairs = torch.randn(2, 2), torch.randn(2, 2)
    target = torch.tensor([8.0, 3.0, 5.0, 5.5])
    said = head.mlp(torch.cat([*pairs, torch.tensor([[0.5], [0.55]])], dim=1))[:, 0]
    expected = ((said[0] - 0.3) ** 2 + (said[1] + 0.25) ** 2) / 2
    torch.testing.assert_close(head.loss(torch.cat(pairs), target), expected)


def test_what_is_remembered_is_part_of_the_weights(head: ContrastiveHead) -> None:
    again = ContrastiveHead(1, exemplars=3, depth=2, hidden=1, score_scale=100.0)
    again.load_state_dict(head.state_dict())
    assert again.actions == ["", "dive", "vault"]
    clip, difficulty, action = torch.tensor([[0.1]]), torch.tensor([3.2]), torch.tensor([1])
    torch.testing.assert_close(again.decode(clip, difficulty, action), head.decode(clip, difficulty, action))


def test_the_leaves_of_a_deep_tree_share_all_probability_and_every_weight_learns() -> None:
    torch.manual_seed(0)
    tree = ScoreTree(3, depth=4, hidden=8)
    log_probability, place = tree(torch.randn(5, 2, 3))
    assert log_probability.shape == place.shape == (5, 2, 8)
    torch.testing.assert_close(log_probability.exp().sum(dim=-1), torch.ones(5, 2))
    (log_probability[..., 0].sum() + place.sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in tree.parameters())


@pytest.mark.parametrize(
    ("options", "words"),
    [({"exemplars": 0}, "at least one"), ({"depth": 1}, "depth of 2"), ({"regressor": "forest"}, "not 'forest'")],
)
def test_wrong_options_are_told(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ContrastiveHead(2, **options)  # type: ignore[arg-type]
