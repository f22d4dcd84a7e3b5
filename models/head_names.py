"""Heads by name. Apart from the heads themselves, so that a config is checked without loading PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from models.registry import Entry, Registry


@dataclass(frozen=True)
class HeadEntry(Entry[Callable[..., Any]]):
    """Where a head is.

    `fitted`: it is fitted at once to features that stay as they are (`models.heads.FittedHead`), by the package
    `needs`, which is also the name of the extra.
    """

    fitted: bool = False
    needs: str | None = None


HEADS: Registry[Entry[Callable[..., Any]]] = Registry("head", {
    "regression": HeadEntry("models.heads:RegressionHead"),
    "usdl": HeadEntry("models.heads:UsdlHead"),
    "musdl": HeadEntry("models.heads:MusdlHead"),
    "linear": HeadEntry("models.heads:LinearHead"),
    "gaussian": HeadEntry("models.heads.gaussian:GaussianHead"),
    "likert": HeadEntry("models.heads:LikertHead"),
    "classification": HeadEntry("models.heads:ClassificationHead"),
    "contrastive": HeadEntry("models.heads.contrastive:ContrastiveHead"),
    "svr": HeadEntry("models.heads.svr:SvrHead", fitted=True, needs="sklearn"),
}, group="tubeflow.heads", plain=HeadEntry)


def is_fitted(name: str) -> bool:
    """Whether a head is fitted at once and not trained; of a plug-in's never."""
    entry = HEADS.get(name)
    return isinstance(entry, HeadEntry) and entry.fitted


def missing_for_head(name: str) -> str | None:
    """The package that a head needs and that isn't installed, which is also the extra's name."""
    entry = HEADS.get(name)
    needs = entry.needs if isinstance(entry, HeadEntry) else None
    return None if needs is None or find_spec(needs) is not None else needs
