"""Heads: pooled features of a clip to a score, a distribution of scores, judges' scores, or a verdict.

A head maps features (..., F) to its raw output, computes the loss of that output against labels, and decodes it to
what people read: a score in the label's own unit, or a probability.  Raw outputs are logits, never probabilities.
Every score distribution follows USDL/MUSDL (Tang et al. 2020); the perceptron of 256 and 128 units is theirs too.
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, linspace, nn, stack, zeros

from models.head_names import HEADS
from models.heads.protocol import Head
from models.losses import KlScale, binary_cross_entropy, distribution_kl, gaussian_soft_labels, squared_error
from models.registry import build_part


class ScoreMlp(nn.Module):
    """F → 256 → 128 → outputs, ReLU between; the released evaluator without its final sigmoid.

    Args:
        features: F.
        outputs: length of the output.
        dropout: probability of dropping a hidden unit, applied before each ReLU (0 in the papers' runs).
    """

    def __init__(self, features: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layer1 = nn.Linear(features, 256)
        self.layer2 = nn.Linear(256, 128)
        self.layer3 = nn.Linear(128, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., F) float to (..., outputs)."""
        x = F.relu(self.dropout(self.layer1(x)))
        x = F.relu(self.dropout(self.layer2(x)))
        return cast(Tensor, self.layer3(x))


class ScoreHead(nn.Module):
    """Base of heads whose raw output is one number per clip, trained by squared error.

    The raw output and the target of `loss` are scores divided by `score_scale`; `decode` multiplies it back.

    Args:
        score_scale: unit of the raw output in label points, so that the network works near 1 (100 for AQA-7's
            normalised scores, 104.5 for MTL-AQA).
        with_difficulty: the network predicts execution, and score = difficulty × execution; `decode` and `loss`
            then need the difficulty.
    """

    def __init__(self, score_scale: float = 1.0, with_difficulty: bool = False) -> None:
        super().__init__()
        self.score_scale = score_scale
        self.with_difficulty = with_difficulty

    def loss(self, output: Tensor, target: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """Squared error of (B,) float raw outputs against (B,) scores, in units of score_scale^2."""
        execution = without_difficulty(target, difficulty, self.with_difficulty)
        return squared_error(output, execution.to(output.dtype) / self.score_scale)

    def decode(self, output: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """(...) float raw output to (...) score."""
        return times_difficulty(output * self.score_scale, difficulty, self.with_difficulty)


class RegressionHead(ScoreHead):
    """A perceptron's number.

    Args:
        features: F.
        score_scale: as of `ScoreHead`.
        with_difficulty: as of `ScoreHead`.
        dropout: within the perceptron.
        hidden: units of its only hidden layer, without dropout; 0 is the papers' perceptron of 256 and 128.
        absolute: weight of the mean absolute error that is added to the squared one (C3D-AVG: 1), in units of
            `score_scale`.
    """

    def __init__(
        self,
        features: int,
        score_scale: float = 1.0,
        with_difficulty: bool = False,
        dropout: float = 0.0,
        hidden: int = 0,
        absolute: float = 0.0,
    ) -> None:
        super().__init__(score_scale, with_difficulty)
        self.absolute = absolute
        self.mlp: nn.Module
        if hidden:
            self.mlp = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        else:
            self.mlp = ScoreMlp(features, 1, dropout)

    def loss(self, output: Tensor, target: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """As of `ScoreHead`, (B,) float raw outputs against (B,) scores, and `absolute` times the absolute error."""
        squared = super().loss(output, target, difficulty)
        if not self.absolute:
            return squared
        execution = without_difficulty(target, difficulty, self.with_difficulty).to(output.dtype)
        return squared + self.absolute * F.l1_loss(output, execution / self.score_scale)

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) float to (...)."""
        return cast(Tensor, self.mlp(features)).squeeze(-1)


class LinearHead(RegressionHead):
    """As `RegressionHead` with one linear layer in the place of the perceptron; with weight decay, ridge regression."""

    def __init__(self, features: int, score_scale: float = 1.0, with_difficulty: bool = False) -> None:
        super().__init__(features, score_scale, with_difficulty)
        self.mlp = nn.Linear(features, 1)


class UsdlHead(nn.Module):
    """Score distribution over bins 0..100 (USDL), trained by KL on a Gaussian around the true score.

    Args:
        features: F.
        score_max: the score that the last bin stands for (104.5 on MTL-AQA; with difficulty, 30 for execution).
        bins: number of bins.
        sigma: width of the soft label, in bins.
        decode_by: `argmax` as in the papers (creates ties), or `mean` of the distribution.
        with_difficulty: the distribution is over execution, and score = difficulty × execution.
        kl_scale: see `models.losses.distribution_kl`.
    """

    def __init__(
        self,
        features: int,
        score_max: float,
        bins: int = 101,
        sigma: float = 5.0,
        decode_by: str = "argmax",
        with_difficulty: bool = False,
        kl_scale: KlScale = "elements",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check_decoding(decode_by)
        self.mlp = ScoreMlp(features, bins, dropout)
        self.score_max, self.bins, self.sigma = score_max, bins, sigma
        self.decode_by, self.with_difficulty, self.kl_scale = decode_by, with_difficulty, kl_scale

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) float to logits (..., bins)."""
        return cast(Tensor, self.mlp(features))

    def loss(self, output: Tensor, target: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """KL of (B, bins) float logits against (B,) scores."""
        execution = without_difficulty(target, difficulty, self.with_difficulty)
        centre = execution.to(output.dtype) * ((self.bins - 1) / self.score_max)
        return distribution_kl(output, gaussian_soft_labels(centre, self.bins, self.sigma), self.kl_scale)

    def decode(self, output: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """(..., bins) float logits to (...) score."""
        score = _decoded_bin(output, self.decode_by) * (self.score_max / (self.bins - 1))
        return times_difficulty(score, difficulty, self.with_difficulty)

    def spread(self, output: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """(..., bins) float logits to (...), root mean square of the distribution's distance from `decode`.

        It can't be much less than `sigma` bins, the width of the labels that were learnt.
        """
        places = output.new_tensor(range(self.bins))
        distance = places - _decoded_bin(output, self.decode_by).unsqueeze(-1)
        rms = (output.softmax(dim=-1) * distance.square()).sum(dim=-1).sqrt()
        return times_difficulty(rms * (self.score_max / (self.bins - 1)), difficulty, self.with_difficulty)


class MusdlHead(nn.Module):
    """Judges' score distributions (MUSDL), one perceptron a judge, bins 0..20 for 0 to 10 in half points.

    Training sorts each clip's judge scores, because the seats of a panel have no identity across events: head k
    learns the k-th lowest score. Decoding follows the panel's rule (`panel_score`); the usual one is diving's, the sum
    of the middle three times the difficulty.

    Args:
        features: F.
        judges: J, the size of the panel.
        bins: number of bins of a mark.
        judge_max: the highest mark, which the last bin stands for.
        sigma: width of the soft label, in bins.
        decode_by: as of `UsdlHead`.
        kl_scale: as of `UsdlHead`.
        dropout: within the perceptrons.
        rule: what the marks that count make: their `sum`, `mean`, or `median`.
        drop: how many marks at each end don't count; None leaves the middle three.
        with_difficulty: whether that is multiplied by the difficulty.
    """

    def __init__(
        self,
        features: int,
        judges: int = 7,
        bins: int = 21,
        judge_max: float = 10.0,
        sigma: float = 5.0,
        decode_by: str = "argmax",
        kl_scale: KlScale = "elements",
        dropout: float = 0.0,
        rule: str = "sum",
        drop: int | None = None,
        with_difficulty: bool = True,
    ) -> None:
        super().__init__()
        _check_decoding(decode_by)
        self.drop = middle_three(judges) if drop is None else drop
        self.rule, self.with_difficulty = rule, with_difficulty
        panel_score(zeros(judges), rule, self.drop)  # says what is wrong with them
        self.mlps = nn.ModuleList([ScoreMlp(features, bins, dropout) for _ in range(judges)])
        self.bins, self.judge_max, self.sigma = bins, judge_max, sigma
        self.decode_by, self.kl_scale = decode_by, kl_scale

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) float to logits (..., judges, bins)."""
        return stack([mlp(features) for mlp in self.mlps], dim=-2)

    def loss(self, output: Tensor, target: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """Sum over judges of their KL, (B, judges, bins) float logits against (B, judges) scores in [0, judge_max].

        Columns of the target behind the panel's are those of larger panels, and not looked at. The difficulty plays no
        part: judges mark the execution.
        """
        ordered = target[:, : len(self.mlps)].to(output.dtype).sort(dim=-1).values
        labels = gaussian_soft_labels(ordered * ((self.bins - 1) / self.judge_max), self.bins, self.sigma)
        return distribution_kl(output, labels, self.kl_scale) * len(self.mlps)

    def decode_judges(self, output: Tensor) -> Tensor:
        """(..., judges, bins) float logits to (..., judges) scores in [0, judge_max]."""
        return _decoded_bin(output, self.decode_by) * (self.judge_max / (self.bins - 1))

    def decode(self, output: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """(..., judges, bins) float logits and (...) difficulty to (...) final score.

        Raises:
            ValueError: no difficulty where the rule multiplies by it.
        """
        score = panel_score(self.decode_judges(output), self.rule, self.drop)
        return times_difficulty(score, difficulty, self.with_difficulty)

    def highest(self) -> float:
        """The score of a panel that is of one mind that it can't be better, before the difficulty; the lowest is 0."""
        return float(panel_score(zeros(len(self.mlps)) + self.judge_max, self.rule, self.drop))


class LikertHead(ScoreHead):
    """One number per clip from levels of quality, the score of GDLT (Xu et al. 2022), trained by squared error.

    Level k of K stands for the share w_k = (k - 1) / (K - 1) of the best score; how strongly a clip answers to it is
    r_k = sigmoid(u_k · g_k + b_k), and score = score_scale · Σ w_k r_k / Σ r_k. Its features are the g_k one after
    another, as the temporal module `levels` makes them.

    Args:
        features: K · hidden.
        levels: K, the same as of the temporal module.
        score_scale: the best score.
        with_difficulty: as of `ScoreHead`.
    """

    def __init__(
        self, features: int, levels: int = 4, score_scale: float = 1.0, with_difficulty: bool = False
    ) -> None:
        super().__init__(score_scale, with_difficulty)
        if levels < 2 or features % levels:
            raise ValueError(
                f"the head 'likert' can't see {levels} levels in {features} features; choose the temporal module "
                "'levels' with as many levels"
            )
        self.u = nn.Parameter(nn.Linear(features // levels, levels).weight.detach())
        self.b = nn.Parameter(zeros(levels))
        self.register_buffer("w", linspace(0, 1, levels), persistent=False)
        self.levels = levels

    def forward(self, features: Tensor) -> Tensor:
        """(..., K · hidden) float to (...), the share of the best score."""
        by_level = features.reshape(*features.shape[:-1], self.levels, -1)
        strength: Tensor = ((by_level * self.u).sum(dim=-1) + self.b).sigmoid()
        return (strength * cast(Tensor, self.w)).sum(dim=-1) / strength.sum(dim=-1)


class ClassificationHead(nn.Module):
    """One logit per clip for label 1 against 0 (FR-FS: landed against fallen), trained by cross entropy."""

    def __init__(self, features: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.mlp = ScoreMlp(features, 1, dropout)

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) float to (...)."""
        return cast(Tensor, self.mlp(features)).squeeze(-1)

    def loss(self, output: Tensor, target: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """Cross entropy of (B,) float logits against (B,) labels 0 or 1."""
        return binary_cross_entropy(output, target.to(output.dtype))

    def decode(self, output: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """(...) float logits to (...) probability of label 1; the papers' verdict is `> 0.5`."""
        return output.sigmoid()


def build_head(name: str, features: int, **options: object) -> Head:
    """Head by name on features of length F; options are the head's own keyword arguments.

    Raises:
        ValueError: an unknown name or option.
    """
    return cast(Head, build_part(HEADS, name, features, **options))


def judges_rule(judges: Tensor, difficulty: Tensor) -> Tensor:
    """Diving's rule: sort the panel, sum the middle three, times difficulty.

    Args:
        judges: (..., J) float, J odd and at least 3, points.
        difficulty: (...) float.

    Raises:
        ValueError: a panel without a middle three.
    """
    return panel_score(judges, "sum", middle_three(judges.shape[-1])) * difficulty.to(judges.dtype)


def middle_three(judges: int) -> int:
    """How many marks at each end of a panel aren't of the middle three. Raises ValueError where there are no such."""
    if judges % 2 == 0 or judges < 3:
        raise ValueError(
            f"the rule of the middle three needs an odd panel of at least 3 judges, got {judges}; say with drop how "
            "many marks at each end don't count"
        )
    return (judges - 3) // 2


def panel_score(judges: Tensor, rule: str, drop: int) -> Tensor:
    """What a panel's marks make, before the difficulty.

    Args:
        judges: (..., J) float, points.
        rule: `sum`, `mean` or `median` of the marks that count; of an even number, the median is the mean of the middle
            two.
        drop: how many of the lowest and how many of the highest marks don't count.

    Returns:
        (...) float.

    Raises:
        ValueError: an unknown rule, or no mark counts.
    """
    panel = judges.shape[-1]
    if rule not in ("sum", "mean", "median"):
        raise ValueError(f"a panel's rule is 'sum', 'mean' or 'median', not {rule!r}")
    if not 0 <= 2 * drop < panel:
        raise ValueError(f"of {panel} judges none is left with drop={drop} at each end")
    if rule == "median":
        drop = (panel - 1) // 2
    counting = judges.sort(dim=-1).values[..., drop : panel - drop]
    return counting.sum(dim=-1) if rule == "sum" else counting.mean(dim=-1)


def _decoded_bin(logits: Tensor, decode_by: str) -> Tensor:
    if decode_by == "argmax":
        return logits.argmax(dim=-1).to(logits.dtype)
    bins = logits.new_tensor(range(logits.shape[-1]))
    return (logits.softmax(dim=-1) * bins).sum(dim=-1)


def _check_decoding(decode_by: str) -> None:
    if decode_by not in ("argmax", "mean"):
        raise ValueError(f"a score distribution is decoded by 'argmax' or 'mean', not {decode_by!r}")


def _required(difficulty: Tensor | None) -> Tensor:
    if difficulty is None:
        raise ValueError(
            "this head multiplies by the difficulty; give the clips' difficulty or choose another head"
        )
    return difficulty


def times_difficulty(score: Tensor, difficulty: Tensor | None, used: bool) -> Tensor:
    """Points (...) float of execution to those of the score where difficulty is `used`. ValueError without one."""
    return score * _required(difficulty).to(score.dtype) if used else score


def without_difficulty(score: Tensor, difficulty: Tensor | None, used: bool) -> Tensor:
    """The way back of `times_difficulty`."""
    return score / _required(difficulty).to(score.dtype) if used else score
