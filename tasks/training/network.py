"""The network that a configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.training.config import ModelConfig

if TYPE_CHECKING:
    from models.tsanet import TSANet


def build_network(config: ModelConfig, seed: int) -> TSANet:
    """The network with weights that depend on the seed alone; the process's random state is left as it was."""
    import torch

    from models.tsanet import build_tsanet

    options: dict[str, object] = dict(config.head_options)
    # A score reaches regression and usdl as 0 to 100 within its action's range, see TubeModule.
    unit = {"regression": "score_scale", "usdl": "score_max"}.get(config.head)
    if unit is not None:
        options.setdefault(unit, 100.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_tsanet(
            backbone=config.backbone,
            split=config.split,
            weights=config.weights,
            attention=config.attention,
            stacks=config.stacks,
            affinity=config.affinity,
            attention_options=dict(config.block_options()),
            head=config.head,
            head_options=options,
            compat=config.compat,
        )
