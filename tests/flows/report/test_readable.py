"""Colours of reports and clip files, in light, in dark and on paper; what every table, plot and picture is called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.report import page
from flows.report.page import render_report
from tests.support.contrast import CONTROL, TEXT, colour_tokens, too_close
from tests.support.full_report import full_report

TEMPLATES = Path(page.__file__).parent / "templates"
CSS = (TEMPLATES / "report.css").read_text(encoding="utf-8")
COLOURS = colour_tokens(CSS)
GROUNDS = ("page", "card")
PLOTTED = ("blue", "pink", "green", "amber", "violet", "grey")


@pytest.mark.parametrize("scheme", COLOURS)
def test_words_lines_and_edges_stand_out(scheme: str) -> None:
    words = [(word, ground) for word in ("ink", "soft", "accent", "alarm", "good", "pink") for ground in GROUNDS]
    assert too_close(COLOURS[scheme], [*words, ("banner-ink", "banner")], TEXT) == []
    lines = [(line, ground) for line in (*PLOTTED, "edge") for ground in GROUNDS]
    assert too_close(COLOURS[scheme], lines, CONTROL) == []


def test_paper_stays_white() -> None:
    """A dark page is dark on a screen only."""
    (query,) = re.findall(r"@media ([^{]*prefers-color-scheme[^{]*)\{", CSS)
    assert query.strip() == "screen and (prefers-color-scheme: dark)"
    assert set(COLOURS["dark"]) == set(COLOURS["light"])


def test_plots_have_no_colour_of_their_own(tmp_path: Path) -> None:
    """Each is the page's ink or one of its named colours, so none is black on dark."""
    html = render_report(tmp_path / "report.html", full_report()).read_text(encoding="utf-8")
    plots = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(plots) >= 5
    for plot in plots:
        assert re.findall(r"#[0-9a-fA-F]{6}\b|rgb\(|black|white", re.sub(r">[^<]*<", "><", plot)) == []
        assert set(re.findall(r"var\(--(\w+)\)", plot)) <= set(PLOTTED)
        assert "currentColor" in plot


def test_landmarks_are_few_and_scrolled_tables_have_names(tmp_path: Path) -> None:
    html = render_report(tmp_path / "report.html", full_report()).read_text(encoding="utf-8")
    assert (html.count("<main"), html.count("<h1"), html.count('<html lang="en">')) == (1, 1, 1)
    scrolled = re.findall(r'<div class="scroll"[^>]*>', html)
    assert len(scrolled) > 8
    for one in scrolled:
        assert 'role="group"' in one
        assert 'tabindex="0"' in one
        assert "aria-label" in one
