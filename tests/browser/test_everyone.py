"""Pages that everybody can use: names for screen readers, keys alone, a phone's width, light and dark."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.browser_pages import WRONG_CLIP, Opener, Site
from tests.support.tiny_workspace import DATASET

PAGES = {
    "gallery": "/",
    "clip": f"/clip?dataset={DATASET}&clip={WRONG_CLIP}",
    "compare": f"/compare?dataset={DATASET}&clip={WRONG_CLIP}",
    "disagreements": f"/compare?dataset={DATASET}",
}
# Everything that can be used and has no name that a screen reader could say.
NAMELESS = """() => [...document.querySelectorAll(
    'a, button, input, select, textarea, meter, progress, img, canvas, [tabindex="0"], [role=img], [role=application]')]
  .filter((one) => one.checkVisibility() && !one.closest('[aria-hidden=true]'))
  .filter((one) => !(one.getAttribute('aria-label') || one.getAttribute('aria-labelledby') || one.labels?.length
    || one.textContent.trim() || one.title || one.hasAttribute('alt')))
  .map((one) => one.outerHTML.slice(0, 120))"""
WIDER = """() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"""
OUTLINE = """() => { const style = getComputedStyle(document.activeElement);
  return { width: parseFloat(style.outlineWidth), style: style.outlineStyle,
    who: document.activeElement.outerHTML.slice(0, 90), body: document.activeElement === document.body }; }"""
COLOURS = "() => ['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name])"


@pytest.fixture(params=list(PAGES))
def address(request: pytest.FixtureRequest, site: Site) -> str:
    return f"{site.url}{PAGES[request.param]}"


def whole(page: Any) -> Any:
    """Wait until what the page asks for is there."""
    page.wait_for_load_state("networkidle")
    return page


def test_everything_has_a_name(open_page: Opener, address: str) -> None:
    page = whole(open_page(address))
    assert page.evaluate(NAMELESS) == []
    assert page.locator("main").count() == 1
    assert page.locator("h1").count() == 1
    assert page.evaluate("() => document.documentElement.lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(open_page: Opener, address: str, scheme: str) -> None:
    page = whole(open_page(address, width=390, height=844, has_touch=True, color_scheme=scheme))
    content, window = page.evaluate(WIDER)
    assert content <= window == 390
    ink, ground = page.evaluate(COLOURS)
    assert (brightness(ground) < brightness(ink)) == (scheme == "dark")


def brightness(colour: str) -> int:
    """Sum of red, green and blue of `rgb(r, g, b)`."""
    return sum(int(float(part)) for part in colour.split("(")[1].rstrip(")").split(",")[:3])


def test_the_tab_key_reaches_things_and_shows_where_it_is(open_page: Opener, address: str) -> None:
    page = whole(open_page(address))
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        at = page.evaluate(OUTLINE)
        if at["body"]:
            break
        reached.append(at["who"])
        assert at["style"] != "none", at
        assert at["width"] >= 1, at
    assert len(set(reached)) >= 6


def test_a_finger_draws_a_box(open_page: Opener, site: Site) -> None:
    page = open_page(site.clip(WRONG_CLIP), width=390, height=844, has_touch=True, is_mobile=True)
    page.wait_for_selector("#canvas[data-loaded=true]")
    page.get_by_role("button", name="Edit the first-frame box").tap()
    edge = page.locator(".box-picture").bounding_box()
    client = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        where = [{"x": edge["x"] + x * edge["width"], "y": edge["y"] + y * edge["height"]} for x, y in points]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

    touch("touchStart", (0.5, 0.2))
    touch("touchMove", (0.55, 0.5))
    touch("touchMove", (0.6, 0.8))
    touch("touchEnd")
    left, top, width, height = (float(one.input_value()) for one in page.locator("#edit-panel fieldset input").all())
    assert [left / 228, top / 128, width / 228, height / 128] == pytest.approx([0.5, 0.2, 0.1, 0.6], abs=0.01)
    assert page.evaluate("() => window.scrollX") == 0


def test_what_is_missing_is_told_in_a_sentence(open_page: Opener, site: Site) -> None:
    page = open_page(site.url)
    told = page.request.get(f"{site.url}/api/clip?dataset={DATASET}&clip=nobody")
    assert told.status == 404
    assert "nobody" in told.json()["error"]
