"""Video networks by name.

A new one is a file with a `SplitBackbone` (see `models/backbones/split.py`) and one line in `BACKBONES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.registry import Entry, Registry

if TYPE_CHECKING:
    from models.backbones.split import Backbone, Layout, SplitBackbone

__all__ = [
    "BACKBONES",
    "I3D_SPLITS",
    "Backbone",
    "BackboneEntry",
    "Layout",
    "SplitBackbone",
    "backbone_form",
    "build_backbone",
    "has_form",
    "has_parts",
    "missing_package",
]

I3D_SPLITS = {"paper": "mixed_4e", "released": "maxpool_4a"}
"""Where an I3D is cut that nobody says more of, by `compat`; other backbones have one place of their own."""


@dataclass(frozen=True)
class BackboneEntry(Entry[Callable[..., "SplitBackbone"]]):
    """Where a backbone's factory is, which takes (split: str | None, weights: str | Path | None).

    `parts`: its second stage works on the map at the cut alone, so that the first can be computed once and kept.

    `form`: "module:function" of a backbone whose sizes depend on its weights, from their path to a text that says them;
    the factory takes that as `form` besides, and keeps it as its tensor `form`. Its weights are files, never names.

    `needs`: a package that isn't among those that Tubeflow always has, which is also the name of the extra.
    """

    parts: bool = True
    form: str | None = None
    needs: str | None = None


BACKBONES: Registry[Entry[Callable[..., SplitBackbone]]] = Registry("backbone", {
    "i3d": BackboneEntry("models.backbones.i3d:build_i3d"),
    "i3d_small": BackboneEntry("models.backbones.i3d_small:build_i3d_small"),
    "c3d": BackboneEntry("models.backbones.c3d:build_c3d"),
    "c3d_pool5": BackboneEntry("models.backbones.c3d:build_c3d_pool5"),
    "r3d_18": BackboneEntry("models.backbones.torchvision:build_r3d_18"),
    "r2plus1d_18": BackboneEntry("models.backbones.torchvision:build_r2plus1d_18"),
    "s3d": BackboneEntry("models.backbones.torchvision:build_s3d"),
    "mvit_v2_s": BackboneEntry("models.backbones.torchvision:build_mvit_v2_s", parts=False),  # has a class token
    "swin3d_t": BackboneEntry("models.backbones.torchvision:build_swin3d_t"),
    "videomae": BackboneEntry(
        "models.backbones.encoders:build_videomae",
        form="models.backbones.encoders:videomae_form",
        needs="transformers",
    ),
    "vit": BackboneEntry(
        "models.backbones.encoders:build_vit",
        parts=False,  # has a class token a frame
        form="models.backbones.encoders:vit_form",
        needs="transformers",
    ),
}, group="tubeflow.backbones", plain=BackboneEntry)


def __getattr__(name: str) -> Any:
    """The classes of `split.py` on first use: who only asks for names need not wait for PyTorch."""
    if name in ("Backbone", "Layout", "SplitBackbone"):
        return getattr(import_module("models.backbones.split"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def has_parts(name: str) -> bool:
    """Whether a backbone's two stages can be run apart; an entry that doesn't say is taken to be able to."""
    entry = BACKBONES.find(name)
    return not isinstance(entry, BackboneEntry) or entry.parts


def has_form(name: str) -> bool:
    """Whether a backbone's sizes depend on its weights (`BackboneEntry.form`)."""
    entry = BACKBONES.get(name)  # of plug-ins none: to know it they would have to be imported
    return isinstance(entry, BackboneEntry) and entry.form is not None


def backbone_form(name: str, weights: str | Path | None) -> str | None:
    """What a backbone's weights say of its sizes, for `build_backbone`; None where they say nothing.

    Raises:
        ValueError: the file says nothing of such a network.
        FileNotFoundError: it does not exist, or what lies beside it.
    """
    entry = BACKBONES.get(name)
    if weights is None or not isinstance(entry, BackboneEntry) or entry.form is None:
        return None
    module, _, function = entry.form.partition(":")
    return str(getattr(import_module(module), function)(Path(weights)))


def missing_package(name: str) -> str | None:
    """The package that a backbone needs and that isn't installed, which is also the extra's name."""
    entry = BACKBONES.get(name)
    needs = entry.needs if isinstance(entry, BackboneEntry) else None
    return None if needs is None or find_spec(needs) is not None else needs


def build_backbone(
    name: str, split: str | None = None, weights: str | Path | None = None, form: str | None = None
) -> SplitBackbone:
    """Build a video network cut in two after a named layer.

    Args:
        name: a key of `BACKBONES`.
        split: layer behind which attention works; None takes the backbone's own default (`mixed_4e` of I3D).
        weights: a checkpoint file, or, for torchvision's networks, `"kinetics"` or a name of its weight enum.
            None starts from random weights.
        form: of `backbone_form`, for a network whose weights will be put in later; with `weights` their own counts.

    Raises:
        ValueError: an unknown name, split or weights, or a file that does not hold this network's weights.
        FileNotFoundError: the weights file does not exist.
    """
    sizes = {} if form is None or weights is not None else {"form": form}
    return BACKBONES.find(name).load()(split=split, weights=weights, **sizes)
