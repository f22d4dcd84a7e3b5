"""The toy of several blocks: only the tube tells the score, results are continued, the table is what was trained."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import attention_depth
from benchmarks.attention_depth import SHAPE, Toy, Trial, counts, draw, result, table, trials
from models.metrics.scores import spearman

TRIAL = Trial(stacks=1, norm=False, gain=0.0, lr=1e-3, clip=None, seed=0)


def test_the_tube_tells_the_score_and_nothing_else_does() -> None:
    generator = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(attention_depth.CHANNELS, generator=generator), dim=0) * 2
    x, mask, score = draw(200, generator, direction)
    assert (mask.flatten(1).sum(1) == 9 * SHAPE[0]).all()
    along = torch.einsum("nc...,c->n...", x, direction)
    inside, outside = ((along * where).sum((1, 2, 3)) / where.sum((1, 2, 3)) for where in (mask, ~mask))
    assert (spearman(inside.tolist(), score.tolist()).value or 0) > 0.95
    assert abs(spearman(outside.tolist(), score.tolist()).value or 0) < 0.2


def test_a_trial_is_what_its_row_says() -> None:
    toy = Toy(replace(TRIAL, stacks=2, norm=True, gain=0.1))
    weights = [block.norm.weight for block in toy.blocks]  # type: ignore[union-attr]
    assert [weight.unique().tolist() for weight in weights] == [[pytest.approx(0.1)]] * 2  # type: ignore[union-attr]


def test_one_training_learns_and_a_hopeless_one_is_called_so() -> None:
    learnt = result((TRIAL, 2))["spearman"]
    assert isinstance(learnt, float)
    assert learnt > 0.7
    assert result((replace(TRIAL, stacks=3, gain=1.0, lr=100.0), 1))["spearman"] in ("const", "nan")


def test_the_table_has_each_trial_once_and_the_file_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    every = list(trials([0, 1]))
    assert len(set(every)) == len(every) == 2 * 3 * 2 * 3 * 4 * 2
    figures = np.arange(len(every)) / len(every)
    file = tmp_path / "results.jsonl"
    lines = [
        json.dumps({**trial.__dict__, "epochs": 6, "spearman": float(figure)})
        for trial, figure in zip(every, figures, strict=True)
    ]
    file.write_text("\n".join(lines[::-1]) + "\n")
    page = tmp_path / "page.md"
    page.write_text("<!-- depth -->\n<!-- end depth -->\n")
    monkeypatch.setattr(sys, "argv", ["depth", "--results", str(file), "--processes", "1", "--into", str(page)])
    attention_depth.main()  # nothing is missing, so nothing is trained
    shown = capsys.readouterr().out
    assert shown.strip() in page.read_text()
    assert len(file.read_text().splitlines()) == len(lines)
    rows = [line.split("|")[1:-1] for line in shown.splitlines() if line.startswith("| ×")]
    assert len(rows) == 18
    cells = [cell.strip() for row in rows for cell in row[3:]]
    assert cells == [f"{one:.2f} {other:.2f}" for one, other in zip(figures[:144], figures[144:], strict=True)]
    assert "–" in table([json.loads(lines[0])])


def test_good_trainings_are_counted() -> None:
    several = replace(TRIAL, stacks=2, gain=0.1, norm=True)
    made = [
        (several, 0.95), (replace(several, lr=3e-3), 0.85), (replace(several, lr=1e-4), "const"),
        (replace(several, clip=1.0, lr=1e-4), 0.9), (replace(several, stacks=1), 0.99),
    ]  # fmt: skip
    rows = counts([{**trial.__dict__, "spearman": figure} for trial, figure in made]).splitlines()
    assert rows[2 + 4] == "| norm, gain 0.1 | 1 of 3 | 1 of 1 | 0 of 1 | 1 of 1 |"
    assert rows[2] == "| no norm, gain 0 | 0 of 0 | 0 of 0 | 0 of 0 | 0 of 0 |"
