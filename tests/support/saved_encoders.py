"""Tiny encoders with random weights, saved by `transformers` itself as its users save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoMAEModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)
from transformers.utils import logging

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
    "initializer_range": 0.2,  # so that tokens are far from equal
}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
PLAIN = {"videomae": VideoMAEModel, "vit": ViTModel}
OF_TASK = {"videomae": VideoMAEForVideoClassification, "vit": ViTForImageClassification}
CONFIGS = {"videomae": VideoMAEConfig, "vit": ViTConfig}


def encoder(kind: str, with_task: bool = False, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random network, in evaluation mode, by itself or with what a task puts behind it."""
    torch.manual_seed(seed)
    network: PreTrainedModel = (OF_TASK if with_task else PLAIN)[kind](CONFIGS[kind](**TINY | changes)).eval()
    return network


def save_encoder(network: PreTrainedModel, folder: Path) -> Path:
    """With a preprocessor's statistics."""
    logging.disable_progress_bar()
    network.save_pretrained(folder)
    told = {"do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return folder
