"""README, CONTRIBUTING and docs name files, modules and programs; each of them exists."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from tests.support import REPO

PAGES = sorted([*REPO.glob("*.md"), *(REPO / "docs").rglob("*.md")])
ROOMS = "flows|tasks|models|data_catalog|tests|benchmarks|docs"
FILE = re.compile(rf"(?<![\w/.-])(?:{ROOMS})/[\w./-]*\.(?:py|md|toml|yaml|json|html|png|css|js|j2)\b")
FOLDER = re.compile(rf"`((?:{ROOMS})(?:/[\w-]+)*/)`")
DOTTED = re.compile(r"`((?:flows|tasks|models|data_catalog|tests|benchmarks)(?:\.(?!py`)\w+)+)`")
PROGRAM = re.compile(r"python -m ([a-z_][\w.]*\w)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)")


def found_in(pattern: re.Pattern[str], page: Path) -> set[str]:
    return {name for name in pattern.findall(page.read_text()) if not re.search(r"\b(?:NAME|CLIP)\b", name)}


def exists(dotted: str) -> bool:
    """Whether this is a module, or an attribute of one."""
    words = dotted.split(".")
    for count in range(len(words), 0, -1):
        name = ".".join(words[:count])
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            continue
        if found is None:
            continue
        thing = importlib.import_module(name) if count < len(words) else found
        for word in words[count:]:
            if not hasattr(thing, word):
                return False
            thing = getattr(thing, word)
        return True
    return False


def test_patterns_find_what_they_are_for() -> None:
    everything = [page for page in PAGES if page.name != "CHANGELOG.md"]
    for pattern in (FILE, FOLDER, PROGRAM, LINK):
        assert len({name for page in everything for name in found_in(pattern, page)}) > 5, pattern
    assert exists("models.attention")
    assert exists("flows.cli.app")
    assert not exists("models.attention.no_such_thing")
    assert not exists("flows.no_such_module")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPO).as_posix())
def test_every_name_exists(page: Path) -> None:
    missing = [name for name in found_in(FILE, page) | found_in(FOLDER, page) if not (REPO / name).exists()]
    missing += [name for name in found_in(DOTTED, page) | found_in(PROGRAM, page) if not exists(name)]
    missing += [
        name for name in found_in(LINK, page)
        if not name.startswith(("http:", "https:", "mailto:")) and not (page.parent / name).exists()
    ]  # fmt: skip
    assert not missing, f"{page.relative_to(REPO)} names what does not exist: {sorted(missing)}"
