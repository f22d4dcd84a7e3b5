"""The network that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.training.config import ModelConfig

if TYPE_CHECKING:
    from models.feature_network import FeatureNetwork
    from models.tsanet import FrozenPart, TSANet

FROZEN_SEED = 0
"""Of a frozen part that no weights are named for: its features are the same for every seed of the training."""


def build_network(
    config: ModelConfig, seed: int, frozen: FrozenPart = "none", form: str | None = None
) -> TSANet:
    """The network with weights that depend on the seed alone; the process's random state is left as it was.

    Args:
        config: which network.
        seed: of weights that no file gives.
        frozen: the part of the backbone that stays as it is; what no weights give of it is random, of `FROZEN_SEED`.
        form: sizes of a backbone that depend on its weights, where those will be put in later (`trained_form`).

    Raises:
        ValueError: the network can't be built, or that part of it can't be frozen.
    """
    network = _build(config, seed, form)
    network.freeze(frozen)
    random = config.weights is None or Path(config.weights).suffix == ".json"  # a size without weights
    if frozen != "none" and random and seed != FROZEN_SEED:
        same = _build(config, FROZEN_SEED, form)
        same.freeze(frozen)
        for layer, of_all_seeds in zip(network.frozen_layers(), same.frozen_layers(), strict=True):
            layer.load_state_dict(of_all_seeds.state_dict())
    return network


def trained_form(state: Mapping[str, NDArray[Any]]) -> str | None:
    """What trained weights say of the sizes of their backbone; None of one whose name says all.

    Args:
        state: tensors by name, of any shape and dtype; what is read is (n,) uint8.

    Raises:
        ValueError: it is damaged.
    """
    import torch

    from models.backbones.encoder_form import FORM, form_text

    found = state.get(f"backbone.{FORM}")
    return None if found is None else form_text(torch.from_numpy(np.array(found)))


def _build(config: ModelConfig, seed: int, form: str | None) -> TSANet:
    import torch

    from models.tsanet import build_tsanet

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
            head_options=_head_options(config),
            compat=config.compat,
            temporal=config.temporal,
            temporal_options=dict(config.temporal_options),
            form=form,
        )


def build_network_on_features(config: ModelConfig, features: int, seed: int) -> FeatureNetwork:
    """The network on features that were made elsewhere, `features` a step, with weights that depend on the seed alone.

    Raises:
        ValueError: temporal module or head can't be built.
    """
    import torch

    from models.feature_network import build_feature_network

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_feature_network(
            features, config.temporal, dict(config.temporal_options), config.head, _head_options(config)
        )


def _head_options(config: ModelConfig) -> dict[str, object]:
    """With the unit of a score: it reaches the head as 0 to 100 within its action's range, see TubeModule."""
    options: dict[str, object] = dict(config.head_options)
    of_one_number = dict.fromkeys(("regression", "linear", "gaussian", "likert", "contrastive"), "score_scale")
    unit = (of_one_number | {"usdl": "score_max"}).get(config.head)
    if unit is not None:
        options.setdefault(unit, 100.0)
    return options
