"""What attention costs is counted for the network that runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from flows.config import load_config
from flows.report.attention_cost import backbone_macs, cost_rows
from flows.runs.attention_form import AttentionForm, attention_form
from models.attention import TubeSelfAttention
from models.attention.cost import positionwise_cost, reduction
from models.attention.forms import FORMS
from tasks.training.config import ModelConfig

PAPER = AttentionForm(528, 264, "dot", 0, 1)


@pytest.mark.parametrize(
    ("overrides", "form", "macs"),
    [
        ([], PAPER, 278.8e6),
        (["model.affinity=softmax"], AttentionForm(528, 528, "softmax", 0, 1), 557.6e6),
        (["model.compat=released", "model.split=null"], AttentionForm(480, 480, "softmax", 0, 1), 460.8e6),
        (["model.stacks=3"], AttentionForm(528, 264, "dot", 0, 3), 836.4e6),
        (["model.attention_options={reduced: 66}"], AttentionForm(528, 66, "dot", 0, 1), 69.7e6),
        (["model.stacks=2", "model.attention_norm=true"], AttentionForm(528, 264, "dot", 0, 2), 557.6e6),
        (["model.attention=mask"], AttentionForm(528, 0, "", 0, 1, "mask"), 0),
        (["model.attention=constant"], AttentionForm(528, 0, "", 0, 1, "constant"), 0),
        (["model.attention=pool"], AttentionForm(528, 0, "", 0, 1, "pool"), 0),
        (["model.attention=pointwise"], AttentionForm(528, 264, "", 0, 1, "pointwise"), 278.8e6),
        (["model.attention=channel"], AttentionForm(528, 0, "", 0, 1, "channel"), 279.3e6),
    ],
)
def test_the_form_of_the_network_decides(overrides: list[str], form: AttentionForm, macs: float) -> None:
    """One thousand positions of the preset's network and of four that differ from it."""
    found = attention_form(load_config("aqa7", overrides).model, Path())
    assert found == form
    assert found.cost(1000).published == pytest.approx(macs, rel=2e-4)


def test_blocks_of_one_network_add_up() -> None:
    once, thrice = (attention_form(load_config("aqa7", [f"model.stacks={n}"]).model, Path()).cost(500) for n in (1, 3))
    assert thrice == once.of_blocks(3)
    assert thrice.positions == 500


def test_tubes_are_counted_as_large_as_they_grow() -> None:
    """The positions that the block itself changes."""
    form = attention_form(load_config("aqa7", ["model.attention_options={min_positions: 40}"]).model, Path())
    mask = np.zeros((2, 4, 14, 14), bool)
    mask[0, 1, 5, 5] = True
    block = TubeSelfAttention(8, min_positions=40, zero_init=False)
    x = torch.randn(1, 8, 8, 14, 14)
    changed = (block(x, torch.from_numpy(mask).flatten(0, 1)[None]) != x).any(dim=1)
    assert form.positions(mask) == int(changed.sum()) >= 40
    assert PAPER.positions(mask) == 1
    assert form.positions(np.zeros_like(mask)) == 0


def test_controls_stand_beside_one_dense_block_of_the_papers() -> None:
    mask = np.zeros((10, 4, 14, 14), bool)
    mask[:, :, 5:8, 5:8] = True
    for name, positions, saved in (("mask", 360, 1.0), ("pointwise", 360, 1 - 360 / 7840), ("channel", 7840, -1 / 528)):
        form = attention_form(load_config("aqa7", [f"model.attention={name}"]).model, Path())
        assert form.positions(mask) == positions
        (row,) = cost_rows({"a": ("", form.positions(mask), mask.size)}, form)
        assert row.dense.printed == 7840 * 280_632
        assert reduction(row.tube.published, row.dense.published) == pytest.approx(saved)


@pytest.mark.parametrize("name", ["pointwise", "channel"])
def test_products_are_counted_as_the_block_multiplies(name: str) -> None:
    block = FORMS[name].load()(12)
    x, mask = torch.randn(1, 12, 2, 5, 5), torch.rand(1, 2, 5, 5) < 0.4
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        block(x, mask)
    positions = int(mask.sum()) if name == "pointwise" else mask.numel()
    assert positionwise_cost(name, positions, 12).executed * 2 == counter.get_total_flops()
    biases = sum(p.numel() for n, p in block.named_parameters() if n.endswith("bias"))
    cost = positionwise_cost(name, positions, 12)
    assert cost.printed - cost.published == positions * biases
    with pytest.raises(ValueError, match="compares no positions"):
        positionwise_cost("tsa", 1, 12)


def test_a_network_without_attention_is_counted_as_with_one_block() -> None:
    assert attention_form(load_config("aqa7", ["model.attention=none"]).model, Path()) == PAPER


def test_the_mean_over_clips_keeps_actions_apart() -> None:
    rows = cost_rows({"a": ("dive", 10, 100), "b": ("dive", 20, 100), "c": ("vault", 60, 100)}, PAPER)
    told = [(row.group, row.clips, row.tube.positions) for row in rows]
    assert told == [("dive", 2, 15), ("vault", 1, 60), ("all", 3, 30)]
    assert rows[0].tube.printed == 15 * 280_632


def test_the_cut_changes_nothing_of_the_rest() -> None:
    """Wherever attention stands, the convolutions around it are the same."""
    paper, released = (ModelConfig(backbone="i3d", split=split) for split in ("mixed_4e", "maxpool_4a"))
    assert backbone_macs(paper, Path(), 10) == backbone_macs(released, Path(), 10) > 1e11


def test_flops_counts_the_blocks_of_the_asked_network(finished_workspace: Path) -> None:
    import json

    from typer.testing import CliRunner

    from flows.cli.main import app

    words = ["flops", "tiny", "-w", str(finished_workspace), "--json"]
    once, thrice = (
        json.loads(CliRunner().invoke(app, [*words, "-o", f"model.stacks={n}"]).stdout)[0]["tube"] for n in (1, 3)
    )
    assert thrice["published"] == 3 * once["published"] > 0
    assert thrice["printed"] == 3 * once["printed"]
