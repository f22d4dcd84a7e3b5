"""Every field of the pipeline's config in one table, generated from its schema: `tubeflow run --help-config`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from flows.config import PipelineConfig
from flows.console import out

BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


@dataclass(frozen=True)
class ConfigField:
    """One field as `-o` names it.

    Attributes:
        name: `section.field`.
        type: what it may be, with its bounds.
        default: as YAML writes it, which `-o` takes.
        description: what it means, its unit, and what null means.
    """

    name: str
    type: str
    default: str
    description: str


def config_fields() -> list[ConfigField]:
    """Every field of every section, in the order of the pipeline."""
    schema = PipelineConfig.model_json_schema()
    return [
        ConfigField(f"{section}.{name}", _type_text(field), json.dumps(field.get("default")), field["description"])
        for section, own in _sections(schema)
        for name, field in own["properties"].items()
    ]


def _sections(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for section, reference in schema["properties"].items():
        yield section, schema["$defs"][reference["$ref"].rpartition("/")[2]]


def _type_text(field: Mapping[str, Any]) -> str:
    """`integer ≥ 1 or null`, `uniform or tail`, `list of integer`."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type_text(one) for one in field["anyOf"]))
    if "enum" in field:
        return " or ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    if field["type"] == "array":
        if "prefixItems" in field:
            return ", ".join(_type_text(one) for one in field["prefixItems"])
        return f"list of {_type_text(field['items'])}"
    if field["type"] == "object":
        return "mapping"
    return " ".join([field["type"], *(f"{sign} {field[bound]:g}" for bound, sign in BOUNDS.items() if bound in field)])


def config_table(fields: list[ConfigField]) -> Table:
    """The fields as a table, a rule between two sections."""
    table = Table("field", "type", "default", "meaning", title="-o section.field=value")
    section = ""
    for field in fields:
        if section and not field.name.startswith(f"{section}."):
            table.add_section()
        section = field.name.partition(".")[0]
        table.add_row(*map(escape, (field.name, field.type, field.default, field.description)))
    return table


def print_config_help(wanted: bool) -> None:
    """The callback of `--help-config`: print the table and end, whatever else is missing on the command line."""
    if wanted:
        out.print(config_table(config_fields()))
        raise typer.Exit
