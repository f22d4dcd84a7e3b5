"""A dataset of hostile names on every page: nothing of it runs, asks anybody, or reads as something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from typer.testing import CliRunner

from data_catalog.foreign_text import visible
from flows.cli.main import app
from tests.support.browser_pages import Opener, Site
from tests.support.hostile_dataset import ACTIONS, DATASET, IDS, MARKUP, hostile_workspace

TURNING = "\u202e"


@pytest.fixture(scope="module")
def shown(tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Replaces the workspace that is shown."""
    return hostile_workspace(tmp_path_factory.mktemp("hostile") / "workspace", tiny_videos)


def is_harmless(page: Any, *names: str) -> None:
    """The names are there as text, whole; no element came from them, no title changed, nothing turns the writing."""
    text = page.evaluate("() => document.documentElement.innerText")
    for name in names:
        assert visible(name) in text, name
    assert TURNING not in text
    assert TURNING not in page.title()
    assert page.title() != "owned"
    assert page.locator("img[src=x], b[onmouseover]").count() == 0
    assert page.evaluate("() => [...document.scripts].every((one) => !one.text.startsWith('document.title'))")


def test_the_gallery(open_page: Opener, site: Site) -> None:
    page = open_page(f"{site.url}/")
    page.wait_for_function("count => document.querySelectorAll('a[href*=\"/clip\"]').length >= count", arg=len(IDS))
    is_harmless(page, *IDS)


@pytest.mark.parametrize("number", range(len(IDS)))
def test_the_page_of_a_clip(open_page: Opener, site: Site, number: int) -> None:
    page = open_page(f"{site.url}/clip?{urlencode({'dataset': DATASET, 'clip': IDS[number]})}")
    page.wait_for_function("() => document.getElementById('title').textContent.length > 3")
    is_harmless(page, IDS[number], ACTIONS[number])


def test_a_reason_with_markup_and_codes(open_page: Opener, site: Site) -> None:
    page = open_page(f"{site.url}/clip?{urlencode({'dataset': DATASET, 'clip': 'plain'})}")
    page.get_by_text("a stranger").first.wait_for(state="attached")
    assert "\x1b" not in page.content()
    is_harmless(page, "plain")


@pytest.fixture
def opened(browser: Any) -> Any:
    """A page for files, and all that one does: complaints and requests."""
    complaints: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: complaints.append(asked.url) if not asked.url.startswith("file:") else None)
        yield page
    assert [one for one in complaints if not one.startswith(("data:", "blob:"))] == []


def test_the_report(opened: Any, shown: Path) -> None:
    (report,) = shown.glob("runs/*/report.html")
    opened.goto(report.as_uri())
    is_harmless(opened)
    assert any(visible(name) in opened.evaluate("() => document.documentElement.textContent") for name in IDS)


@pytest.mark.parametrize("clip", IDS)
def test_a_clip_as_one_file(opened: Any, shown: Path, tmp_path: Path, clip: str) -> None:
    words = ["inspect", clip, "-w", str(shown), "--html", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert TURNING not in result.output
    (file,) = tmp_path.glob("*.html")
    opened.goto(file.as_uri())
    is_harmless(opened, clip)
    assert clip != MARKUP or opened.locator("img").count() <= 1  # the first frame, where there are no scripts
