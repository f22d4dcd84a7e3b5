"""Figures of README's table stand in the pages that it names, which say what printed them."""

from __future__ import annotations

import re

from tests.support import REPO

README = (REPO / "README.md").read_text()
SOURCES = ("trackers.md", "detectors.md", "results.md")


def table() -> list[list[str]]:
    """The rows of "What it reaches, and on what"."""
    section = README.partition("## What it reaches")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return rows[2:]


def test_figures_stand_in_the_pages_that_are_named() -> None:
    pages = " ".join((REPO / "docs" / name).read_text() for name in SOURCES)
    section = README.partition("## What it reaches")[2].partition("\n## ")[0]
    assert all(f"docs/{name}" in section for name in SOURCES)
    figures = re.findall(r"0?\.\d{3}", " ".join(" ".join(row[2:]) for row in table()))
    assert len(figures) >= 8
    for figure in figures:
        assert re.search(rf"(?<![\d.])0?{re.escape(figure.removeprefix('0'))}(?!\d)", pages), figure


def test_real_footage_comes_first_and_what_is_missing_is_said() -> None:
    kinds = [row[0].split()[0].rstrip(":") for row in table()]
    assert kinds == sorted(kinds, key=lambda kind: kind != "real")
    assert {"real", "drawn"} == set(kinds)
    assert any("not measured" in row[2] for row in table())
