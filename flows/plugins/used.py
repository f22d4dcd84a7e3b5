"""The plug-ins that a config asks for."""

from __future__ import annotations

from collections.abc import Iterator

from flows.config import ConfigError, PipelineConfig
from flows.console import sentence
from flows.plugins.listing import KINDS, name_taken
from models.plugins import Plugin, PluginError


def used_plugins(config: PipelineConfig) -> list[Plugin]:
    """Those behind the names in a config, whose detector is settled; nothing of them is imported."""
    found = [KINDS[kind].plugin(name) for kind, name in _names(config)]
    return [plugin for plugin in found if plugin is not None]


def load_plugins(config: PipelineConfig) -> None:
    """Import those that a config asks for, before hours of work that would end in one that can't be.

    Raises:
        ConfigError: one can't be; names its package.
    """
    for kind, name in _names(config):
        if KINDS[kind].plugin(name) is not None:
            try:
                KINDS[kind].find(name).load()
            except PluginError as exc:
                raise ConfigError(sentence(str(exc))) from exc


def taken_names(config: PipelineConfig) -> list[str]:
    """A sentence for each name in a config that a plug-in would have had, if Tubeflow had no part of that name."""
    return [
        said
        for kind, name in _names(config)
        for plugin in KINDS[kind].plugins()
        if plugin.name == name and (said := name_taken(kind, plugin))
    ]


def _names(config: PipelineConfig) -> Iterator[tuple[str, str]]:
    """Kind and name of each part that the stages of a config use."""
    if config.features.mode != "own":
        yield "tracker", config.track.tracker
        if config.detect.needs_model:
            yield "detector", config.detect.detector
        yield "backbone", config.model.backbone
    yield "head", config.model.head
