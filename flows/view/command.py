"""The command that makes what is shown: the nearest preset, what differs from it, and nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import JsonValue

from flows.config import PipelineConfig, load_config, preset_names
from flows.stages import STAGE_NAMES


def run_words(
    config: PipelineConfig,
    dataset: str,
    workspace: Path,
    *,
    clip: str | None = None,
    where: str | None = None,
    until: str = STAGE_NAMES[-1],
) -> list[str]:
    """The words of `tubeflow run …` after which every artifact of `config` is there.

    Args:
        clip: work on this clip alone.
        where: work on this part of the dataset.
        until: last stage.
    """
    preset, overrides = nearest_preset(config)
    words = ["tubeflow", "run", preset, "--dataset", dataset]
    words += [word for override in overrides for word in ("-o", override)]
    if clip is not None:
        words += ["--clip", clip]
    if where is not None:
        words += ["--where", where]
    if until != STAGE_NAMES[-1]:
        words += ["--until", until]
    return [*words, "--workspace", str(workspace)]


def shown(words: list[str]) -> str:
    """As one types it."""
    return shlex.join(words)


def nearest_preset(config: PipelineConfig) -> tuple[str, list[str]]:
    """The preset that needs the fewest overrides to become this config, and those overrides."""
    wanted = config.model_dump(mode="json")
    found = []
    for name in preset_names():
        differences = _differences("", load_config(name).model_dump(mode="json"), wanted)
        overrides = [f"{field}={_yaml_value(value)}" for field, value in differences.items()]
        if load_config(name, overrides) == config:
            found.append((len(overrides), name, overrides))
    if not found:
        raise ValueError("no preset with overrides amounts to this config")
    _, name, overrides = min(found)
    return name, overrides


def _differences(prefix: str, preset: Mapping[str, JsonValue], wanted: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """`section.field` → value, for every leaf in which two configs differ."""
    found: dict[str, JsonValue] = {}
    for name, value in wanted.items():
        given = preset.get(name)
        if isinstance(value, dict) and isinstance(given, dict) and value and given:
            found |= _differences(f"{prefix}{name}.", given, value)
        elif value != given:
            found[prefix + name] = value
    return found


def _yaml_value(value: JsonValue) -> str:
    """What an override says so that the same value is read from it."""
    if value is None:
        return ""
    if isinstance(value, str) and value and yaml.safe_load(value) == value:
        return value
    return json.dumps(value)
