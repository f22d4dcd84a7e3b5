"""`tubeflow plugins`: what other packages bring, and whether it can be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from data_catalog.datasets import ADAPTERS
from flows.console import sentence
from models.backbones import BACKBONES
from models.detectors import DETECTORS
from models.head_names import HEADS
from models.plugins import Plugin, PluginError
from models.registry import Entry, Registry
from models.trackers import TRACKERS

KINDS: Mapping[str, Registry[Any]] = {
    "tracker": TRACKERS,
    "detector": DETECTORS,
    "backbone": BACKBONES,
    "head": HEADS,
    "dataset": ADAPTERS,
}
"""What a plug-in can be, in the words of the command line, and where Tubeflow's own ones are."""


@dataclass(frozen=True)
class PluginRow:
    """One plug-in.

    Attributes:
        kind: a key of `KINDS`.
        name: what it is called in a config.
        distribution: the package that brings it.
        version: of the package.
        loads: whether asking for it by name works.
        problem: why it doesn't, one sentence; empty where it does.
    """

    kind: str
    name: str
    distribution: str
    version: str
    loads: bool
    problem: str

    def as_json(self) -> dict[str, object]:
        """What `tubeflow plugins --json` prints of it."""
        return asdict(self)


def list_plugins() -> list[PluginRow]:
    """Every installed plug-in, imported to see whether it can be."""
    return [_row(kind, plugin) for kind, known in KINDS.items() for plugin in known.plugins()]


def _row(kind: str, plugin: Plugin) -> PluginRow:
    problem = name_taken(kind, plugin) or _problem(KINDS[kind], plugin)
    return PluginRow(kind, plugin.name, plugin.distribution, plugin.version, not problem, problem)


def name_taken(kind: str, plugin: Plugin) -> str:
    """A sentence where a part of Tubeflow has the plug-in's name and wins; empty where none has."""
    known = KINDS[kind]
    if plugin.name not in known and plugin.name not in known.also:
        return ""
    return f"The package {plugin.origin} brings a {kind} '{plugin.name}' as well; Tubeflow's own one is taken."


def _problem(known: Registry[Entry[object]], plugin: Plugin) -> str:
    try:
        known.find(plugin.name).load()
    except PluginError as exc:
        return sentence(str(exc))
    return ""
