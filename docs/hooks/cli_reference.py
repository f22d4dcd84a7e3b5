"""`reference/cli.md`, made by walking the tree of commands that Typer built."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from flows.cli.main import COMMANDS, app


def as_cell(text: str) -> str:
    """Text for a cell of a table, which a bar would end."""
    return " ".join(text.split()).replace("|", "\\|")


def walk(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and all commands below it, each with the words that call it."""
    yield words, command
    for name, one in getattr(command, "commands", {}).items():
        if not one.hidden:
            yield from walk((*words, name), one)


def command_section(words: tuple[str, ...], command: Any) -> Iterator[str]:
    """Heading, usage, help, and a row for each argument and option, of one command."""
    called = " ".join(words)
    context = command.context_class(command, info_name=called)
    yield f"\n{'#' * len(words)} {called}\n"
    yield f"```\n{' '.join([called, *command.collect_usage_pieces(context)])}\n```\n"
    yield inspect.cleandoc(command.help or "") + "\n"
    records = [parameter.get_help_record(context) for parameter in command.params]
    if any(records):
        yield "| written | meaning |\n|---|---|"
        yield from (f"| `{as_cell(record[0])}` | {as_cell(record[1])} |" for record in records if record)


def front_page(program: Any) -> Iterator[str]:
    """What `tubeflow --help` says: how to start, then a table a panel, each command with a link to its section."""
    yield inspect.cleandoc(program.help) + "\n"
    for panel, names in groupby(COMMANDS, lambda name: COMMANDS[name].panel):
        yield f"\n**{panel}**\n\n| command | what it does |\n|---|---|"
        yield from (f"| [{name}](#tubeflow-{name}) | {as_cell(COMMANDS[name].help)} |" for name in names)


def cli_page() -> Iterator[str]:
    """The page's lines, commands in the order of `tubeflow --help`."""
    program: Any = typer.main.get_command(app)
    program.load_all()
    yield from front_page(program)
    for words, command in walk(("tubeflow",), program):
        if len(words) > 1:
            yield from command_section(words, command)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lay the reference below what the page says itself."""
    if page.file.src_uri != "reference/cli.md":
        return markdown
    return "\n".join([markdown, *cli_page()])
