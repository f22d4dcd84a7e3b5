"""Heads by name. Apart from the heads themselves, so that a config is checked without loading PyTorch."""

from collections.abc import Callable
from typing import Any

from models.registry import Entry, Registry

HEADS: Registry[Entry[Callable[..., Any]]] = Registry("head", {
    "regression": Entry("models.heads:RegressionHead"),
    "usdl": Entry("models.heads:UsdlHead"),
    "musdl": Entry("models.heads:MusdlHead"),
    "linear": Entry("models.heads:LinearHead"),
    "gaussian": Entry("models.heads.gaussian:GaussianHead"),
    "likert": Entry("models.heads:LikertHead"),
    "classification": Entry("models.heads:ClassificationHead"),
    "contrastive": Entry("models.heads.contrastive:ContrastiveHead"),
}, group="tubeflow.heads", plain=Entry)
