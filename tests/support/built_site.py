"""The documentation, built as `make docs` builds it, and what a built page says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

from tests.support import REPO


def mkdocs(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build a site into a folder."""
    program = Path(sys.executable).parent / "mkdocs"
    command = [program, "build", "--config-file", config, "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(REPO)}
    return subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)


@dataclass
class BuiltPage(HTMLParser):
    """One page: its ids, its text, what its links lead to, and what a browser loads for it."""

    html: str
    ids: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.update(filter(None, [given.get("id")]))
        address = given.get("src") or given.get("data") or (given.get("href") if tag != "a" else None)
        self.loads += filter(None, [address])
        if tag == "a":
            self.leads += filter(None, [given.get("href")])

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @cached_property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read_page(site: Path, name: str) -> BuiltPage:
    """A page by its path on the site."""
    return BuiltPage((site / name).read_text(encoding="utf-8"))
