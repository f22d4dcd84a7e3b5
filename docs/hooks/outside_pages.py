"""Files outside of `docs/` that pages link to become pages of their own below `source/`, and links lead there.

So a page reads the same in a checkout, where links are relative to the file, and on the site, which holds everything
that it refers to.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]+)(?=(?:#[^)\s]*)?\))")
FENCE = "`" * 6  # longer than any inside a Markdown file that is shown as it is


def place_on_site(name: str) -> str:
    """Where a file of the repository, `docs/view.md` or `tests/test_rooms.py`, is among the site's sources."""
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    return f"source/{name}" if name.endswith(".md") else f"source/{name}.md"


def place_in_repository(uri: str) -> str:
    """The other way round: the file that a page was made from."""
    if not uri.startswith("source/"):
        return f"docs/{uri}"
    name = uri.removeprefix("source/")
    return name if (ROOT / name).is_file() else name.removesuffix(".md")


def targets(name: str, text: str) -> Iterator[str]:
    """The files of the repository that a file links to."""
    for target in LINK.findall(text):
        linked = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        if (ROOT / linked).is_file():
            yield linked


def outside(names: Iterator[str]) -> set[str]:
    """Those that lie outside of docs/."""
    return {name for name in names if not name.startswith("docs/")}


def as_page(name: str) -> str:
    """A file as Markdown: a page as it is, anything else as code. The search doesn't look into these."""
    text = (ROOT / name).read_text(encoding="utf-8")
    head = "---\nsearch: {exclude: true}\n---\n"
    if name.endswith(".md"):
        return head + text
    return f"{head}# {name}\n\n{FENCE}{Path(name).suffix.removeprefix('.')}\n{text}{FENCE}\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked to, and what that links to in its turn."""
    waiting = {*ALWAYS}
    for file in files.documentation_pages():
        if file.generated_by is None:
            waiting |= outside(targets(f"docs/{file.src_uri}", file.content_string))
    done: set[str] = set()
    while waiting:
        name = waiting.pop()
        done.add(name)
        files.append(File.generated(config, place_on_site(name), content=as_page(name)))
        if name.endswith(".md"):
            waiting |= outside(targets(name, (ROOT / name).read_text(encoding="utf-8"))) - done
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links across the border of docs/ to where their targets are on the site."""
    here = page.file.src_uri
    name = place_in_repository(here)

    def led(match: re.Match[str]) -> str:
        linked = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[1]))
        if (linked.startswith("docs/") and name.startswith("docs/")) or not (ROOT / linked).is_file():
            return match[1]
        return posixpath.relpath(place_on_site(linked), posixpath.dirname(here) or ".")

    return LINK.sub(led, markdown)
