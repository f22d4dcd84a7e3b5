"""Every config field explains itself, on Prefect's form and by `tubeflow run --help-config`."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

import tasks
from flows import console
from flows.cli.main import app
from flows.config import EngineConfig, PipelineConfig, apply_overrides
from flows.tables.config_table import config_fields
from tasks.engine.config import StageConfig


def config_classes() -> Iterator[type[BaseModel]]:
    """Every pydantic class that a module of tasks defines, and the engine's."""
    yield EngineConfig
    for module in pkgutil.walk_packages(tasks.__path__, "tasks."):
        found = vars(importlib.import_module(module.name)).values()
        for kind in found:
            own = isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == module.name
            if own and kind is not StageConfig:
                yield kind


@pytest.mark.parametrize("kind", list(config_classes()), ids=lambda kind: kind.__name__)
def test_every_field_has_a_description(kind: type[BaseModel]) -> None:
    assert kind.model_fields
    for name, field in kind.model_fields.items():
        text = field.description or ""
        assert text.endswith("."), f"{kind.__name__}.{name}: {text!r}"
        if type(None) in getattr(field.annotation, "__args__", ()):
            assert "None" in text, f"{kind.__name__}.{name} says nothing of None: {text!r}"


def test_the_table_has_every_field_and_defaults_that_an_override_takes() -> None:
    fields = config_fields()
    config = PipelineConfig()
    sections = {section: getattr(config, section) for section in type(config).model_fields}
    names = [f"{section}.{name}" for section, own in sections.items() for name in type(own).model_fields]
    assert [field.name for field in fields] == names
    shown = {field.name: field for field in fields}
    assert shown["train.patience"].type == "integer ≥ 1 or null"
    assert shown["track.weights"].default == "null"
    assert json.loads(shown["masks.grid"].default) == [14, 14]
    assert apply_overrides({}, [f"{field.name}={field.default}" for field in fields]) == config


def test_the_command_shows_it_without_a_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "width", 200)
    answer = CliRunner().invoke(app, ["run", "--help-config"])
    assert answer.exit_code == 0, answer.output
    assert "train.weight_decay" in answer.output
    assert "1e-05" in answer.output
