"""Every task of the pages with the keyboard alone: no test here touches a mouse."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.support.browser_pages import WRONG_CLIP, Opener, Site, at_frame
from tests.support.tiny_workspace import DATASET

RERUN_MS = 180_000
# The name as a screen reader says it: of an element, or of its label, without what is hidden from it.
FOCUSED = """() => { const one = document.activeElement;
  if (one === document.body) return 'the page';
  if (one.hasAttribute('aria-label')) return one.getAttribute('aria-label');
  const words = (one.labels?.[0] ?? one).cloneNode(true);
  words.querySelectorAll('[aria-hidden=true], select, input').forEach((part) => part.remove());
  return words.textContent.trim(); }"""
# Below and right of where the keyboard was is on; the columns of the clip page are gone through one after the other.
EVERY = """() => [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
  .filter((one) => one.checkVisibility() && !one.disabled && one.tabIndex >= 0).length"""
PLACE = """() => { const one = document.activeElement, edge = one.getBoundingClientRect();
  return [one.closest('.clip-right') ? 1 : 0, Math.round(edge.top + scrollY)]; }"""


def tab_to(page: Any, wanted: str, most: int = 80) -> None:
    """Press Tab until what has this name has the keyboard."""
    seen = []
    for _ in range(most):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
        if seen[-1] == wanted:
            return
    raise AssertionError(f"Tab never came to {wanted!r}, only to {[name[:60] for name in seen]}")


def focused(page: Any) -> str:
    return str(page.evaluate(FOCUSED))


@pytest.fixture
def clip(open_page: Opener, site: Site) -> Callable[..., Any]:
    def opened(name: str, **extra: str) -> Any:
        page = open_page(site.clip(name, **extra))
        page.wait_for_selector("#canvas[data-loaded=true]")
        page.wait_for_selector(".score-now")
        return page

    return opened


def test_the_first_stop_skips_what_every_page_begins_with(open_page: Opener, site: Site) -> None:
    page = open_page(site.url)
    page.wait_for_selector("#clips .card")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the clips"
    assert page.locator(".skip").bounding_box()["x"] >= 0  # seen while it has the keyboard
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused(page).startswith(f"{WRONG_CLIP}, ")


def test_the_gallery_is_filtered_and_a_clip_opened(open_page: Opener, site: Site) -> None:
    page = open_page(site.url)
    page.wait_for_selector("#clips .card")
    page.keyboard.press("/")
    page.keyboard.type("0002")
    page.wait_for_function("() => document.querySelectorAll('#clips .card .name').length === 1")
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.wait_for_function("() => document.querySelectorAll('#clips .card .name').length === 4")
    tab_to(page, "Split")
    page.keyboard.type("test")
    page.wait_for_function("() => document.querySelectorAll('#clips .card .name').length === 1")
    page.keyboard.press("Home")
    page.wait_for_function("() => document.querySelectorAll('#clips .card .name').length === 4")
    while not focused(page).startswith(f"{WRONG_CLIP}, "):
        page.keyboard.press("Tab")
    second = page.locator("#clips .card").nth(1).get_attribute("aria-label")
    page.keyboard.press("ArrowRight")
    assert focused(page) == second
    page.keyboard.press("Enter")
    page.wait_for_url("**/clip?**")
    page.wait_for_selector("main[aria-busy=false]")
    assert second.startswith(page.locator("h1").inner_text())


def test_every_control_of_a_clip_comes_once_and_in_the_order_of_the_page(clip: Callable[..., Any]) -> None:
    page = clip(WRONG_CLIP)
    every = page.evaluate(EVERY)
    names, places = [], []
    for _ in range(every):
        page.keyboard.press("Tab")
        names.append(focused(page))
        places.append(tuple(page.evaluate(PLACE)))
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement === document.body || document.activeElement.matches('.skip')")
    for wanted in ("Play", "Frame", "Speed", "Run", "Edit the first-frame box", "Compare", "‹ Previous", "Next ›"):
        assert wanted in names or wanted == "‹ Previous"  # the first clip has none before it
    main = places[names.index("Play") :]
    columns = [column for column, _ in main]
    assert columns == sorted(columns)
    for column in (0, 1):
        tops = [top for one, top in main if one == column]
        assert all(later >= earlier - 40 for earlier, later in pairwise(tops))  # a row is one line


def test_frames_are_played_and_stepped_with_the_buttons_as_well(clip: Callable[..., Any]) -> None:
    page = clip("diving_0000")
    tab_to(page, "One frame on")
    page.keyboard.press("Enter")
    at_frame(page, 1)
    page.keyboard.press("Shift+Tab")
    assert focused(page) == "Play"
    page.keyboard.press("Space")
    at_frame(page, 23)
    tab_to(page, "Frame")
    page.keyboard.press("Home")
    at_frame(page, 0)
    assert page.locator(".readout").get_attribute("aria-live") == "polite"


def test_a_segment_is_kept_to_and_a_cell_attends(clip: Callable[..., Any]) -> None:
    page = clip("diving_0000")
    first = page.locator("[data-segment='0']").get_attribute("aria-label")
    tab_to(page, first)
    page.keyboard.press("ArrowRight")
    assert focused(page).startswith("segment 1, frames 8 to 23")
    page.keyboard.press("Enter")
    at_frame(page, 16)
    assert page.locator("[data-segment='1']").get_attribute("aria-pressed") == "true"
    assert focused(page).startswith("segment 1, ")  # the plot was drawn anew, the keyboard stayed
    page.keyboard.press("Escape")
    tab_to(page, "Attention")
    page.keyboard.press("Enter")
    told = page.locator(".attention-note")
    page.wait_for_selector("text=/Attention from row \\d+, column \\d+ in step \\d of segment 1: orange/")
    row = int(told.inner_text().split("row ")[1].split(",")[0])
    tab_to(page, "Row")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    page.wait_for_selector(f"text=/Attention from row {row + 1}, column \\d+ in step \\d of segment 1(:| …)/")


def test_letters_can_be_left_to_those_who_dictate(clip: Callable[..., Any]) -> None:
    page = clip("diving_0000")
    tab_to(page, "Keys of one letter act (off is for those who dictate)")
    page.keyboard.press("Space")
    page.reload()
    page.wait_for_selector("#canvas[data-loaded=true]")
    layer = page.locator("[data-layer=quad]")
    page.keyboard.press("q")
    assert layer.get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowRight")
    at_frame(page, 1)
    page.locator("#letters").focus()
    page.keyboard.press("Space")
    page.keyboard.press("q")
    assert layer.get_attribute("aria-pressed") == "false"


def test_a_box_is_corrected_saved_and_run_again(clip: Callable[..., Any], site: Site) -> None:
    page = clip(WRONG_CLIP)
    tab_to(page, "Edit the first-frame box")
    page.keyboard.press("Enter")
    before = box(page)
    for keys in ("Shift+ArrowRight", "ArrowDown", "+", "+", "-", "Alt+ArrowDown"):
        page.keyboard.press(keys)
    assert box(page) == pytest.approx([before[0] + 9, before[1], before[2] + 2, before[3] + 3], abs=0.11)
    page.keyboard.press("Escape")
    assert focused(page) == "Edit the first-frame box"
    assert page.locator("#boxes").is_hidden()
    page.keyboard.press("Enter")
    assert box(page) == pytest.approx(before, abs=0.11)  # Escape left it as it was
    page.keyboard.press("Shift+ArrowRight")
    wanted = box(page)
    page.keyboard.press("Enter")
    page.locator(".rerun-command").first.wait_for()
    (record,) = site.workspace.datasets.clips(DATASET, [WRONG_CLIP])
    saved = [value * scale for value, scale in zip(wanted, (320 / 228, 240 / 128) * 2, strict=True)]
    assert list(record.boxes[0]) == pytest.approx(saved, abs=0.2)
    runs_again(page)


def runs_again(page: Any) -> None:
    """The run that the keyboard was led to: started, watched, its Cancel kept in reach, its end told."""
    page.wait_for_function("() => document.activeElement.dataset.scope === 'clip'", timeout=20_000)
    page.keyboard.press("Enter")
    page.get_by_role("progressbar").wait_for()
    assert page.locator("#announce").inner_text().startswith("Running: ")
    tab_to(page, "Cancel", most=200)
    page.wait_for_timeout(1500)  # words and bar went on meanwhile
    if page.get_by_role("progressbar").count():
        assert focused(page) == "Cancel"
    page.wait_for_selector(".result", timeout=RERUN_MS)
    assert focused(page) == "Done"  # the heading of the panel where the keyboard was
    assert page.locator("#announce").inner_text().startswith("The clip has a new tube.")
    tab_to(page, "Compare before and after")
    page.keyboard.press("Enter")
    page.wait_for_selector("#mean-overlap >> text=Mean overlap")
    tab_to(page, "Go to the worst frame")
    page.keyboard.press("Enter")
    page.wait_for_selector("#canvas-b[data-loaded=true]")


def box(page: Any) -> list[float]:
    shape = page.locator("[data-box='0'] .box-line")
    return [float(shape.get_attribute(name)) for name in ("x", "y", "width", "height")]


def test_athletes_are_added_and_removed(clip: Callable[..., Any]) -> None:
    page = clip("diving_0001")
    page.keyboard.press("e")
    tab_to(page, "Add athlete")
    page.keyboard.press("Enter")
    assert focused(page).startswith("Athlete 2: left")
    page.keyboard.press("Delete")
    assert focused(page).startswith("Athlete 1: left")
    page.keyboard.press("Delete")
    assert focused(page) == "Add athlete"  # nothing else is left to do
    page.keyboard.press("Escape")
    assert focused(page) == "Edit the first-frame box"


def test_a_clip_is_marked_bad_and_taken_back(clip: Callable[..., Any], site: Site) -> None:
    page = clip("diving_0001")
    tab_to(page, "Leave this clip out")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("two dives in one clip")
    tab_to(page, "Mark as bad", most=2)
    page.keyboard.press("Enter")
    page.get_by_text("Left out of every run: two dives in one clip").wait_for()
    assert site.workspace.datasets.bad(DATASET) == ["diving_0001"]
    tab_to(page, "Use this clip again", most=200)
    page.keyboard.press("Enter")
    page.get_by_text("Leave this clip out").wait_for()
    assert site.workspace.datasets.bad(DATASET) == []


def test_two_ways_to_track_are_chosen_and_a_clip_of_them_opened(open_page: Opener, site: Site) -> None:
    page = open_page(f"{site.url}/compare?dataset={DATASET}")
    page.wait_for_selector("text=/tracked in both ways/")
    tab_to(page, "First way")
    before = [page.get_by_label(f"{side} way").input_value() for side in ("First", "Second")]
    page.keyboard.type(page.get_by_label("Second way").locator("option:checked").inner_text())
    page.wait_for_function("way => document.querySelector('[aria-label=\"First way\"]').value === way", arg=before[1])
    page.wait_for_selector("text=/tracked in both ways/")
    assert [page.get_by_label(f"{side} way").input_value() for side in ("First", "Second")] == before[::-1]
    assert focused(page) == "First way"  # the list was drawn anew, the keyboard stayed
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    clip = focused(page)
    page.keyboard.press("Enter")
    page.wait_for_selector("#mean-overlap")
    assert page.locator("h1").inner_text().split()[-1] in clip
