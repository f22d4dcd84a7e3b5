"""Panels of any size and their rules, by hand."""

from __future__ import annotations

import pytest
import torch

from models.heads import MusdlHead, panel_score

MARKS = (6.5, 9.0, 7.0, 2.0, 8.0, 7.5)  # sorted: 2, 6.5, 7, 7.5, 8, 9


@pytest.mark.parametrize(
    ("rule", "drop", "score"),
    [
        ("sum", 0, 40.0),
        ("sum", 1, 29.0),
        ("mean", 0, 40 / 6),
        ("mean", 1, 29 / 4),
        ("mean", 2, 7.25),
        ("median", 0, 7.25),
        ("median", 1, 7.25),
    ],
)
def test_rules_of_six_judges(rule: str, drop: int, score: float) -> None:
    panel = torch.tensor([MARKS, MARKS[::-1]])
    assert panel_score(panel, rule, drop).tolist() == pytest.approx([score, score])


def test_medians_of_odd_panels_and_a_panel_of_one() -> None:
    assert panel_score(torch.tensor([3.0, 9.0, 4.0, 1.0, 5.0]), "median", 0).item() == 4.0
    assert [panel_score(torch.tensor([6.0]), rule, 0).item() for rule in ("sum", "mean", "median")] == [6.0] * 3


def certain(head: MusdlHead, marks: tuple[float, ...]) -> torch.Tensor:
    """Logits (1, judges, bins) of judges who are sure of their marks."""
    logits = torch.full((1, len(marks), head.bins), -20.0)
    for seat, mark in enumerate(marks):
        logits[0, seat, round(mark * (head.bins - 1) / head.judge_max)] = 20.0
    return logits


def test_nine_judges_by_a_trimmed_mean_without_difficulty() -> None:
    """Marks of 0 to 5 in quarters, two dropped at each end."""
    options = {"rule": "mean", "drop": 2, "with_difficulty": False}
    head = MusdlHead(4, judges=9, bins=21, judge_max=5.0, **options)  # type: ignore[arg-type]
    marks = (0.0, 3.25, 4.5, 4.0, 5.0, 3.75, 4.25, 5.0, 1.0)  # 3.25, 3.75, 4, 4.25, 4.5 count
    assert head.decode(certain(head, marks)).item() == pytest.approx(3.95)
    assert head.highest() == 5.0


def test_the_usual_rule_is_the_middle_three_times_the_difficulty() -> None:
    for judges, marks in ((5, (9.0, 6.0, 7.0, 1.0, 8.0)), (7, (9.0, 6.0, 7.0, 1.0, 8.0, 0.5, 10.0))):
        head = MusdlHead(4, judges=judges)
        assert head.decode(certain(head, marks), torch.tensor([2.0])).item() == pytest.approx(2 * 21.0)
        assert head.highest() == 30.0
        with pytest.raises(ValueError, match="give the clips' difficulty"):
            head.decode(certain(head, marks))


def test_the_loss_looks_at_its_own_panel_alone() -> None:
    """A pack has as many places as its largest panel; those behind are empty."""
    torch.manual_seed(0)
    head = MusdlHead(4, judges=4, drop=1)
    output, marks = head(torch.randn(2, 4)), torch.rand(2, 4) * 10
    wide = torch.cat([marks, torch.full((2, 5), torch.nan)], dim=1)
    torch.testing.assert_close(head.loss(output, wide), head.loss(output, marks))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"judges": 6}, "say with drop"),
        ({"judges": 6, "drop": 3}, "of 6 judges none is left"),
        ({"judges": 5, "rule": "mode"}, "not 'mode'"),
    ],
)
def test_panels_without_a_score_are_told(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MusdlHead(4, **options)  # type: ignore[arg-type]
