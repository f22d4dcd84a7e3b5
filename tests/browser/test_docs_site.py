"""The documentation, opened from the disk as a reader without a network does: searched, on a phone, in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.axe import findings
from tests.support.looks import LOOKS, looking

PHONE = {"width": 390, "height": 844}
ASIDE = "() => document.documentElement.scrollWidth > window.innerWidth"
SECONDS = 1000
# The theme's own script has made its bars and boxes.
READY = "() => document.readyState === 'complete' && document.documentElement.classList.contains('js')"


@pytest.fixture
def reader(browser: Any) -> Iterator[Any]:
    """A page on a phone that must log no error and ask no host."""
    context = browser.new_context(viewport=PHONE, locale="en-GB", color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(60 * SECONDS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url))
    yield page
    context.close()
    assert wrong == []


def test_no_page_is_wider_than_a_phone(docs_site: Path, reader: Any) -> None:
    # 404.html is a server's answer, its addresses begin at the server's root.
    names = [path for path in sorted(docs_site.rglob("*.html")) if path.name != "404.html"]
    assert len(names) > 40
    wider = []
    for path in names:
        reader.goto(path.as_uri())
        if reader.evaluate(ASIDE):
            wider.append(path.relative_to(docs_site).as_posix())
    assert wider == []


def test_the_search_finds_a_field_without_a_server(docs_site: Path, reader: Any) -> None:
    reader.goto((docs_site / "index.html").as_uri())
    reader.locator(".md-header label[for=__search]").first.click()
    reader.locator("input.md-search__input").press_sequentially("masks.tau")  # it listens to keys
    reader.locator(".md-search-result__link[href$='config.html?h=masks.tau#masks']").first.wait_for(state="attached")


def test_dark_colours_are_remembered(docs_site: Path, reader: Any) -> None:
    def shade() -> int:
        colour = reader.evaluate("() => getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))

    reader.goto((docs_site / "index.html").as_uri())
    light = shade()
    for name in ("Use light colours", "Use dark colours"):
        reader.locator(f"label[title='{name}']").click()
    assert shade() < light / 3
    reader.goto((docs_site / "reference" / "cli.html").as_uri())
    assert shade() < light / 3


@pytest.mark.timeout(1200)  # eighty pages, some of them long
@pytest.mark.parametrize("look", LOOKS)
def test_axe_objects_to_no_page(docs_site: Path, browser: Any, look: str) -> None:
    found = {}
    for path in sorted(docs_site.rglob("*.html")):
        if path.name == "404.html":
            continue
        with looking(browser, look) as page:  # a profile each: after some twenty pages in one, Chromium gives up
            page.goto(path.as_uri())
            page.wait_for_function(READY)
            objections = findings(page)
        if objections:
            found[path.relative_to(docs_site).as_posix()] = objections[:3]
    assert found == {}
