"""A head that scores a clip by comparing it with others whose score is known (CoRe, Yu et al. 2021).

Letters: B = clips, F = features of a clip, E = exemplars, G = cells of exemplars, V = exemplars that vote for a clip,
R = leaves of the tree, H = hidden units.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.heads.protocol import Exemplars
from models.heads.score_heads import ScoreMlp

SAME_DIFFICULTY = 1e-3
"""Degrees of difficulty that differ by less are one; float32 rounds them."""
ANY_ACTION = 0
"""Number of the action that stands for all of them."""


class ScoreTree(nn.Module):
    """A binary tree over relative scores, coarse to fine: which leaf, and where within the leaf's interval.

    Each node turns its parent's features into its own and says with which probability the way goes on to the right;
    the probability of a leaf is the product along its way. A leaf says with a sigmoid where in its interval the
    relative score lies.

    Args:
        features: length of the input.
        depth: levels of nodes, R = 2 ** (depth - 1).
        hidden: H.
    """

    def __init__(self, features: int, depth: int = 5, hidden: int = 256) -> None:
        super().__init__()
        if depth < 2:
            raise ValueError(f"a tree has at least a root and two leaves, so a depth of 2; got {depth}")
        self.root = nn.Linear(features, hidden)
        self.turns = nn.ModuleList([NodeLinear(2**level, hidden, 1) for level in range(depth - 1)])
        self.branches = nn.ModuleList([NodeLinear(2**level, hidden, 2 * hidden) for level in range(depth - 1)])
        self.place = NodeLinear(2 ** (depth - 1), hidden, 1)
        self.leaves = 2 ** (depth - 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(..., features) float to log-probabilities (..., R) and places within the intervals (..., R) in [0, 1]."""
        nodes = F.relu(self.root(x)).unsqueeze(-2)  # (..., nodes of this level, H)
        log_probability = torch.zeros_like(nodes[..., 0])
        for turn, branch in zip(self.turns, self.branches, strict=True):
            right = turn(nodes).squeeze(-1)
            both = torch.stack([F.logsigmoid(-right), F.logsigmoid(right)], dim=-1)
            log_probability = (log_probability.unsqueeze(-1) + both).flatten(-2)
            both_branches = F.relu(branch(nodes))
            nodes = both_branches.reshape(*log_probability.shape, -1)
        return log_probability, self.place(nodes).squeeze(-1).sigmoid()


class NodeLinear(nn.Module):
    """A linear layer of its own for each node."""

    def __init__(self, nodes: int, inputs: int, outputs: int) -> None:
        super().__init__()
        layers = [nn.Linear(inputs, outputs) for _ in range(nodes)]  # for their usual start
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        """(..., nodes, inputs) float to (..., nodes, outputs)."""
        # Not a broadcast matmul, which would copy the weights for every row.
        return torch.einsum("...ni,nio->...no", x, self.weight) + self.bias


class ContrastiveHead(nn.Module):
    """Score = an exemplar's score + the difference that is read from both clips' features.

    Its raw output is the features themselves: in training the loader puts an exemplar beside each clip, and `loss`
    compares the two; `decode` compares with exemplars that the head remembers, and takes the mean of what they say.
    What is remembered is a part of the weights.

    With `regressor: tree` the difference is found by a `ScoreTree` whose leaves stand for intervals that hold equally
    many of the differences between training clips; the loss is the cross entropy of the leaf plus the squared error
    of the place within the true leaf. With `regressor: number` a perceptron says the difference, with squared error.

    Args:
        features: F.
        exemplars: V, how many vote for a clip at most.
        regressor: `tree` or `number`.
        depth: as of `ScoreTree`.
        hidden: as of `ScoreTree`.
        score_scale: unit of scores within the network; an exemplar's score is an input, and should be near 0 to 1.
    """

    features: Tensor
    scores: Tensor
    members: Tensor
    cell_action: Tensor
    cell_difficulty: Tensor
    names: Tensor
    bounds: Tensor
    tree: ScoreTree | None
    mlp: ScoreMlp | None
    BUFFERS = ("features", "scores", "members", "cell_action", "cell_difficulty", "names", "bounds")

    def __init__(
        self,
        features: int,
        exemplars: int = 10,
        regressor: str = "tree",
        depth: int = 5,
        hidden: int = 256,
        score_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if exemplars < 1:
            raise ValueError(f"at least one exemplar has to vote, got exemplars={exemplars}")
        pair = 2 * features + 1
        if regressor == "tree":
            self.tree, self.mlp = ScoreTree(pair, depth, hidden), None
        elif regressor == "number":
            self.tree, self.mlp = None, ScoreMlp(pair, 1)
        else:
            raise ValueError(f"a relative score is found by a 'tree' or a 'number', not {regressor!r}")
        self.exemplars, self.score_scale = exemplars, score_scale
        leaves = 1 if self.tree is None else self.tree.leaves
        self.register_buffer("features", torch.zeros(0, features))
        self.register_buffer("scores", torch.zeros(0))
        self.register_buffer("members", torch.full((1, exemplars), -1))
        self.register_buffer("cell_action", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("cell_difficulty", torch.full((1,), torch.inf))
        self.register_buffer("names", torch.tensor(list(b'[""]'), dtype=torch.uint8))
        self.register_buffer("bounds", torch.linspace(-1, 1, leaves + 1))

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) float as they are."""
        return features

    # -- training

    def prepare(self, exemplars: Exemplars) -> None:
        """Take over which clips are compared; their features are still unknown and stand at 0."""
        self.scores = torch.tensor(exemplars.scores) / self.score_scale
        self.features = self.features.new_zeros(len(self.scores), self.features.shape[1])
        padded = [[*members, *[-1] * (self.exemplars - len(members))] for members in exemplars.members]
        self.members = torch.tensor(padded)
        self.cell_action = torch.tensor(exemplars.cell_action)
        self.cell_difficulty = torch.tensor(
            [torch.inf if one is None else one for one in exemplars.cell_difficulty], dtype=torch.float32
        )
        self.names = torch.tensor(list(json.dumps(exemplars.actions).encode()), dtype=torch.uint8)
        self.bounds = equal_shares(exemplars.relative / self.score_scale, len(self.bounds) - 1)

    def remember(self, features: Tensor) -> None:
        """Take over the exemplars' features (E, F) float, as the network makes them now."""
        self.features.copy_(features)

    def loss(self, output: Tensor, target: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """Scalar loss of clips beside their exemplars.

        Args:
            output: (2·B, F) float; row B + k is the exemplar of row k.
            target: (2·B,) scores.
            difficulty: without effect.

        Raises:
            ValueError: an odd number of rows.
        """
        if len(output) % 2 or not len(output):
            raise ValueError(f"each clip is compared with an exemplar, but there are {len(output)} rows")
        clips, exemplars = output.chunk(2)
        own, known = (target.to(output.dtype) / self.score_scale).chunk(2)
        pairs = torch.cat([clips, exemplars, known.unsqueeze(-1)], dim=-1)
        if self.mlp is not None:
            return F.mse_loss(self.mlp(pairs).squeeze(-1), own - known)
        assert self.tree is not None
        log_probability, place = self.tree(pairs)
        leaf, within = self.leaf_of(own - known)
        of_leaf = F.nll_loss(log_probability, leaf)
        return of_leaf + F.mse_loss(place.gather(-1, leaf.unsqueeze(-1)).squeeze(-1), within)

    def leaf_of(self, relative: Tensor) -> tuple[Tensor, Tensor]:
        """Relative scores (B,) float to their leaf (B,) int64 and the place within its interval (B,) float, 0 to 1."""
        bounds = self.bounds
        leaf = torch.bucketize(relative, bounds[1:-1], right=True)
        low, width = bounds[leaf], bounds[leaf + 1] - bounds[leaf]
        return leaf, ((relative - low) / torch.where(width > 0, width, 1.0)).clamp(0, 1)

    # -- scoring

    @property
    def actions(self) -> list[str]:
        """The actions that it knows exemplars of; the first, empty, stands for any."""
        return list(map(str, json.loads(bytes(self.names.tolist()))))

    def action_numbers(self, names: Sequence[str]) -> Tensor:
        """Numbers (B,) int64 of actions; one without exemplars is compared with any."""
        known = {name: number for number, name in enumerate(self.actions)}
        return torch.tensor([known.get(name, ANY_ACTION) for name in names], device=self.scores.device)

    def decode(self, output: Tensor, difficulty: Tensor | None = None, action: Tensor | None = None) -> Tensor:
        """Features to scores, each the mean of what its exemplars say.

        Args:
            output: (..., F) float.
            difficulty: float, of a shape that goes with (...); exemplars of the same one are asked, if there are any.
            action: int64 of such a shape, from `action_numbers`; None compares with any.

        Returns:
            (...) float.
        """
        said, votes = self.votes(output, difficulty, action)
        return (said * votes).sum(dim=-1) / votes.sum(dim=-1) * self.score_scale

    def votes(
        self, output: Tensor, difficulty: Tensor | None = None, action: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What each exemplar of a clip says of its score.

        Args:
            output: as of `decode`.
            difficulty: as of `decode`.
            action: as of `decode`.

        Returns:
            (..., V) float, in units of `score_scale`; and (..., V) float, 1 where there is an exemplar, else 0.
        """
        places = output.shape[:-1]
        number = torch.zeros(places, dtype=torch.int64, device=output.device) if action is None else action
        degree = torch.zeros(places, device=output.device) if difficulty is None else difficulty.to(output.dtype)
        members = self.members[self._cells(number, degree).expand(places)]  # (..., V)
        votes, which = (members >= 0).to(output.dtype), members.clamp(min=0)
        exemplars, known = self.features[which], self.scores[which]
        clip = output.unsqueeze(-2).expand(exemplars.shape)
        said = known + self._relative(torch.cat([clip, exemplars, known.unsqueeze(-1)], dim=-1))
        return said, votes

    def _cells(self, action: Tensor, difficulty: Tensor) -> Tensor:
        """The cell of each clip: of its action and difficulty, else of its action; int64 of their common shape."""
        cell_action, cell_difficulty = self.cell_action, self.cell_difficulty
        mine = action.unsqueeze(-1) == cell_action
        close = (difficulty.unsqueeze(-1) - cell_difficulty).abs() < SAME_DIFFICULTY
        general = mine & cell_difficulty.isinf()
        # A cell of the same difficulty before that of all difficulties.
        return ((mine & close).long() * 2 + general.long()).argmax(dim=-1)

    def _relative(self, pairs: Tensor) -> Tensor:
        """Pairs (..., 2·F + 1) to relative scores (...)."""
        if self.mlp is not None:
            return cast(Tensor, self.mlp(pairs)).squeeze(-1)
        assert self.tree is not None
        log_probability, place = self.tree(pairs)
        bounds = self.bounds
        leaf = log_probability.argmax(dim=-1)
        low, high = bounds[leaf], bounds[leaf + 1]
        within: Tensor = place.gather(-1, leaf.unsqueeze(-1)).squeeze(-1)
        return low + (high - low) * within

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """As of every module, but what is remembered has the size that it had in training."""
        for name in self.BUFFERS:
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(saved, device=cast(Tensor, getattr(self, name)).device))
        super()._load_from_state_dict(cast("dict[str, Any]", state_dict), prefix, *rest)


def equal_shares(values: Tensor, parts: int) -> Tensor:
    """Bounds (parts + 1,) float32 of intervals with equally many of the values (T,), sorted: δ[⌊(T - 1) r / R⌋]."""
    ordered = values.flatten().sort().values
    places = torch.arange(parts + 1) * (len(ordered) - 1) // parts
    return ordered[places].float()
