"""Looking at clips: the gallery, the player, its layers, its plot, its keys."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.browser_pages import WRONG_CLIP, Opener, Site, at_frame, settled, shortened
from tests.support.tiny_workspace import DATASET


@pytest.fixture
def clip(open_page: Opener, site: Site) -> Any:
    page = open_page(site.clip(WRONG_CLIP))
    page.wait_for_selector("#canvas[data-loaded=true]")
    at_frame(page, 0)
    page.wait_for_selector(".score-now")
    return page


def test_the_gallery_leads_to_the_clip_with_the_wrong_tube(open_page: Opener, site: Site) -> None:
    page = open_page(f"{site.url}/")
    page.wait_for_selector(f"text={WRONG_CLIP}")
    cards = page.locator("#clips .card .name").all_inner_texts()
    assert len(cards) == 4
    assert cards[0] == WRONG_CLIP  # the most suspicious first
    page.get_by_label("Split").select_option("test")
    page.wait_for_function("() => document.querySelectorAll('#clips .card .name').length === 1")
    page.locator("#clips .card").first.click()
    page.wait_for_selector("main[aria-busy=false]")
    assert page.locator("h1").inner_text() == WRONG_CLIP
    assert page.locator("#quality-panel li").count() >= 1


def test_scrubbing_and_the_plot_show_other_frames(clip: Any) -> None:
    first = settled(clip)
    clip.locator(".scrub").fill("17")
    at_frame(clip, 17)
    assert "frame 17 of 23" in clip.locator(".readout").inner_text()
    assert settled(clip) != first
    box = clip.locator(".plot-picture").bounding_box()
    clip.mouse.click(box["x"] + box["width"] * 5.5 / 24, box["y"] + 30)
    at_frame(clip, 5)
    cursor = float(clip.locator(".plot-cursor").get_attribute("x1"))
    assert cursor == pytest.approx(box["width"] * 5.5 / 24, abs=1)


def test_the_clip_plays_to_its_end_and_stops(clip: Any) -> None:
    clip.get_by_role("button", name="Play").click()
    clip.get_by_role("button", name="Pause").wait_for()
    at_frame(clip, 23)
    clip.get_by_role("button", name="Play").wait_for()


def test_keys_move_through_the_frames(clip: Any) -> None:
    there, back = (
        [("ArrowRight", 1), ("Shift+ArrowRight", 11), ("ArrowLeft", 10)],
        [("Shift+ArrowLeft", 13), ("Home", 0)],
    )
    for keys, frame in [*there, ("End", 23), *back]:
        clip.keyboard.press(keys)
        at_frame(clip, frame)
    clip.keyboard.press("Space")
    clip.wait_for_function("() => Number(document.querySelector('#canvas').dataset.frame) > 2")
    clip.keyboard.press("Space")
    assert clip.get_by_role("button", name="Play").is_visible()


LAYERS = ("quad", "crop", "grid", "tube", "truth")


def test_a_layer_is_painted_while_it_is_switched_on(open_page: Opener, site: Site) -> None:
    page = open_page(site.clip("diving_0000", frame="8"))
    page.wait_for_selector("#canvas[data-loaded=true]")
    page.wait_for_selector(".score-now")
    for layer in (*LAYERS, "score"):
        if page.locator(f"[data-layer={layer}]").get_attribute("aria-pressed") == "true":
            page.click(f"[data-layer={layer}]")
    at_frame(page, 8)
    bare = settled(page)
    pictures = {}
    for layer in LAYERS:
        switch = page.locator(f"[data-layer={layer}]")
        switch.click()
        assert switch.get_attribute("aria-pressed") == "true"
        pictures[layer] = settled(page)
        page.keyboard.press(switch.get_attribute("aria-keyshortcuts"))
        assert switch.get_attribute("aria-pressed") == "false"
        assert settled(page) == bare
    assert len({bare, *pictures.values()}) == 1 + len(LAYERS)  # each its own
    assert page.locator(".stage-corner").is_hidden()
    page.click("[data-layer=score]")
    page.locator(".stage-corner").wait_for(state="visible")  # painted with the next frame


def test_each_segment_has_the_score_that_the_server_tells(clip: Any, site: Site) -> None:
    run = clip.get_by_label("Run").input_value()
    told = clip.request.get(f"{site.url}/api/score?dataset={DATASET}&clip={WRONG_CLIP}&run={run}&weights=last").json()
    assert clip.locator(".plot-segment").count() == len(told["segments"]) == 2
    for number, score in enumerate(told["segments"]):
        assert f"score {shortened(score)}" in clip.locator(f"[data-segment='{number}'] title").text_content()
    assert clip.locator(".score-now").inner_text() == shortened(told["score"])
    assert shortened(told["segments"][0]) in clip.locator(".stage-corner").inner_text()


def test_a_clicked_cell_shows_what_it_attends_to(open_page: Opener, site: Site) -> None:
    page = open_page(site.clip("diving_0000"))
    page.wait_for_selector("#canvas[data-loaded=true]")
    page.wait_for_selector("[data-layer=attention]")
    before = settled(page)
    page.keyboard.press("a")
    page.wait_for_selector("text=/Attention from row \\d+, column \\d+ in step \\d of segment \\d: orange/")
    assert settled(page) != before
    box = page.locator("#canvas").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 8)
    page.wait_for_selector("text=/column \\d+ in step \\d of segment \\d: outside the tube/")


def test_suspicious_clips_follow_each_other(clip: Any) -> None:
    clip.wait_for_selector("#neighbours >> text=1 of 4")
    clip.keyboard.press("j")
    clip.wait_for_url(lambda url: WRONG_CLIP not in url)
    clip.wait_for_selector("#neighbours a[data-which=previous]")
    clip.keyboard.press("k")
    clip.wait_for_url(lambda url: WRONG_CLIP in url)


def test_where_the_files_are_is_told(clip: Any, site: Site) -> None:
    rows = clip.locator(".lineage")
    assert rows.locator("b").all_inner_texts() == ["normalize", "detect", "track", "masks"]
    rows.nth(2).locator("summary").click()
    path = rows.nth(2).locator(".path").inner_text()
    assert path.startswith(str(site.root))
    assert path.endswith(".h5")
    with clip.expect_download() as download:
        rows.nth(2).get_by_role("link", name="Download").click()
    with open(path, "rb") as kept, open(download.value.path(), "rb") as got:
        assert got.read() == kept.read()
