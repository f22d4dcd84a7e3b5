"""`reference/config.md`, made from the fields of `PipelineConfig`, as pydantic knows them, and the presets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from flows.config import PipelineConfig, preset_names, preset_path
from flows.tables.config_table import ConfigField, config_fields


def section_of(field: ConfigField) -> str:
    """The first word of `section.field`."""
    return field.name.partition(".")[0]


def as_cell(text: str) -> str:
    """Text for a cell of a table, which a bar would end."""
    return text.replace("|", "\\|")


def config_page() -> Iterator[str]:
    """The page's lines: a heading a section, a row a field."""
    for section, fields in groupby(config_fields(), section_of):
        annotation = PipelineConfig.model_fields[section].annotation
        yield f"\n## {section}\n\n{(getattr(annotation, '__doc__', None) or '').splitlines()[0]}\n"
        yield "| field | meaning |"
        yield "|---|---|"
        for field in fields:
            name = f'<a id="{field.name}"></a>`{field.name}` = `{field.default}`'
            yield f"| {as_cell(name)} | {as_cell(field.description)} *{field.type}* |"
    yield "\n## Presets\n"
    for name in preset_names():
        yield f"\n### {name}\n\n```yaml\n{preset_path(name).read_text(encoding='utf-8')}```\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lay the reference below what the page says itself."""
    if page.file.src_uri != "reference/config.md":
        return markdown
    return "\n".join([markdown, *config_page()])
