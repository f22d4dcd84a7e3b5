"""What a config may say of the attention, what it is called, and what enters the keys."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.attention import TubeSelfAttention
from models.attention.tube_norm import TubeNorm
from tasks.training.config import ModelConfig
from tasks.training.network import build_network


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"attention": "mask", "attention_norm": True}, "attention_norm goes with attention tsa and nonlocal only"),
        ({"attention": "none", "attention_norm": False}, "not with none"),
        ({"attention": "mask", "attention_gain": 1.0}, "attention mask has no weights"),
        ({"attention": "pool", "stacks": 2}, "2 of attention pool do no more than one"),
        ({"attention_gain": -1.0}, "greater than or equal to 0"),
    ],
)
def test_what_a_form_does_not_have_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ModelConfig.model_validate(values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "tsa"),
        ({"attention": "pointwise", "stacks": 2}, "pointwise ×2"),
        ({"stacks": 3, "attention_norm": True, "attention_gain": 0.1}, "tsa ×3 with norm, gain 0.1"),
        ({"affinity": "softmax", "attention_norm": False}, "tsa without norm"),
    ],
)
def test_words(values: dict[str, object], words: str) -> None:
    assert ModelConfig.model_validate(values).attention_words == words


def test_a_field_enters_the_key_only_where_it_is_used() -> None:
    before = {"backbone", "split", "weights", "attention", "stacks", "affinity", "attention_options", "head",
              "head_options", "compat"}  # fmt: skip
    assert set(ModelConfig().key_view()) == before
    used = ModelConfig(attention_norm=True, attention_gain=0.0, weights="mine.pt").key_view()
    assert set(used) == (before - {"weights"}) | {"attention_norm", "attention_gain"}


def test_fields_reach_the_blocks() -> None:
    config = ModelConfig(backbone="i3d_small", stacks=2, attention_norm=True, attention_gain=0.5)
    first, second = build_network(config, 0).attention
    for block in (first, second):
        assert isinstance(block, TubeSelfAttention)
        assert isinstance(block.norm, TubeNorm)
        assert bool((block.norm.weight == 0.5).all())
