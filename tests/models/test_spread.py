"""How uncertain heads say they are: the likelihood against PyTorch's, spreads against sums in plain Python."""

import math

import pytest
import torch

from models.heads import SpreadHead, build_head
from models.heads.gaussian import LEAST_VARIANCE

F = 6


def raw_of(mean: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The head's raw output that stands for these, by the inverse of the softplus."""
    return torch.stack([mean, torch.log(torch.expm1(sigma**2 - LEAST_VARIANCE))], dim=-1)


MEAN, SIGMA = torch.tensor([0.2, 0.9, 0.4]), torch.tensor([0.05, 0.3, 1.5])
SCORES = torch.tensor([22.0, 50.0, 61.0])


def test_without_beta_it_is_the_likelihood() -> None:
    head = build_head("gaussian", F, score_scale=100.0, beta=0.0)
    wanted = torch.nn.GaussianNLLLoss()(MEAN, SCORES / 100, SIGMA**2)
    torch.testing.assert_close(head.loss(raw_of(MEAN, SIGMA), SCORES), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_gradient_of_a_mean_is_weighed_by_the_variance(beta: float) -> None:
    """Of clip k: (μ - y) σ^(2β - 2) / n; with β = 1 that of half the squared error."""
    raw = raw_of(MEAN, SIGMA).requires_grad_()
    build_head("gaussian", F, score_scale=100.0, beta=beta).loss(raw, SCORES).backward()
    assert raw.grad is not None
    by_hand = [
        (m - y / 100) * s ** (2 * beta - 2) / 3
        for m, y, s in zip(MEAN.tolist(), SCORES.tolist(), SIGMA.tolist(), strict=True)
    ]
    torch.testing.assert_close(raw.grad[:, 0], torch.tensor(by_hand), rtol=1e-3, atol=1e-6)


def test_a_gaussian_says_points() -> None:
    head = build_head("gaussian", F, score_scale=30.0, with_difficulty=True)
    assert isinstance(head, SpreadHead)
    raw, difficulty = raw_of(MEAN, SIGMA), torch.tensor([2.0, 3.0, 1.0])
    torch.testing.assert_close(head.decode(raw, difficulty), torch.tensor([12.0, 81.0, 12.0]))
    torch.testing.assert_close(head.spread(raw, difficulty), torch.tensor([3.0, 27.0, 45.0]), rtol=1e-4, atol=0)
    assert head.loss(raw, torch.tensor([12.0, 81.0, 12.0]), difficulty) < head.loss(
        raw, torch.tensor([12.0, 75.0, 12.0]), difficulty
    )


def test_a_clip_that_is_met_exactly_has_a_finite_loss() -> None:
    raw = torch.tensor([[0.5, -400.0]])
    loss = build_head("gaussian", F).loss(raw, torch.tensor([0.5]))
    assert math.isfinite(loss.item())


def test_what_is_no_beta() -> None:
    with pytest.raises(ValueError, match="beta of the head 'gaussian' is between 0 and 1, got 2"):
        build_head("gaussian", F, beta=2.0)


def test_it_learns_where_scores_scatter() -> None:
    """Scores of two kinds of clips with the same mean, whose standard deviations are 2 and 12 points."""
    torch.manual_seed(0)
    kind = torch.arange(400) % 2
    x = torch.nn.functional.one_hot(kind, F).float()
    scores = 50 + torch.randn(400) * torch.where(kind == 0, 2.0, 12.0)
    head = build_head("gaussian", F, score_scale=100.0)
    optimiser = torch.optim.Adam(head.parameters(), lr=3e-3)  # type: ignore[attr-defined]
    for _ in range(300):
        optimiser.zero_grad()
        head.loss(head(x), scores).backward()
        optimiser.step()
    assert isinstance(head, SpreadHead)
    narrow, wide = head.spread(head(x[:2])).tolist()
    assert narrow == pytest.approx(float(scores[kind == 0].std()), rel=0.15)
    assert wide == pytest.approx(float(scores[kind == 1].std()), rel=0.15)


@pytest.mark.parametrize("decode_by", ["argmax", "mean"])
def test_the_spread_of_a_distribution_of_scores(decode_by: str) -> None:
    """Root of Σ p (v - m)² with m as decoded, written out."""
    head = build_head("usdl", F, score_max=90.0, bins=4, decode_by=decode_by, with_difficulty=True)
    assert isinstance(head, SpreadHead)
    shares, values = [0.1, 0.2, 0.6, 0.1], [0.0, 30.0, 60.0, 90.0]
    middle = 60.0 if decode_by == "argmax" else sum(p * v for p, v in zip(shares, values, strict=True))
    wanted = math.sqrt(sum(p * (v - middle) ** 2 for p, v in zip(shares, values, strict=True)))
    found = head.spread(torch.tensor([shares]).log(), torch.tensor([2.0])).item()
    assert found == pytest.approx(2 * wanted, rel=1e-5)
