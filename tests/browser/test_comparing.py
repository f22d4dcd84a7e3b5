"""Two tubes side by side, and the clips on which two ways to track disagree."""

from __future__ import annotations

import pytest

from tests.support.browser_pages import WRONG_CLIP, Opener, Site
from tests.support.tiny_workspace import DATASET


def test_the_clip_on_which_two_ways_disagree_most_comes_first(open_page: Opener, site: Site) -> None:
    page = open_page(f"{site.url}/compare?dataset={DATASET}")
    page.wait_for_selector("text=/4 clips tracked in both ways/")
    rows = page.locator(".disagreements li")
    assert rows.count() == 4
    assert WRONG_CLIP in rows.first.inner_text()
    overlaps = [float(row.split("IoU ")[1].split()[0]) for row in rows.all_inner_texts()]
    assert overlaps == sorted(overlaps)
    assert overlaps[0] < 0.1 < overlaps[-1]
    loaded = "() => [...document.querySelectorAll('.thumbs img')].every((one) => one.complete && one.naturalWidth > 0)"
    page.wait_for_function(loaded)
    rows.first.locator("a").click()
    page.wait_for_selector("#mean-overlap >> text=Mean overlap")
    assert WRONG_CLIP in page.locator("h1").inner_text()


def test_two_tubes_move_together_and_their_overlap_is_told(open_page: Opener, site: Site) -> None:
    clip = open_page(site.clip(WRONG_CLIP))
    tubes = clip.request.get(f"{site.url}/api/clip?dataset={DATASET}&clip={WRONG_CLIP}").json()["variants"]
    a, b = tubes[1]["key"], tubes[0]["key"]
    told = clip.request.get(f"{site.url}/api/iou?a={a}&b={b}").json()
    page = open_page(f"{site.url}/compare?dataset={DATASET}&clip={WRONG_CLIP}&a={a}&b={b}")
    page.wait_for_selector(f"text=Mean overlap (IoU) {told['mean']:.3f}")
    page.wait_for_selector("#canvas-b[data-loaded=true]")
    page.locator(".scrub").fill("9")
    for side in "ab":
        page.wait_for_selector(f"#canvas-{side}[data-frame='9']")
    assert f"overlap (IoU) {told['iou'][9]:.3f}" in page.locator(".readout").inner_text()
    points = page.locator(".plot-overlap").get_attribute("d").count("L") + 1
    assert points == told["count"] == 24
    page.get_by_role("button", name="Go to the worst frame").click()
    page.wait_for_selector(f"#canvas-a[data-frame='{told['worst']}']")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_pictures_stand_below_each_other_where_there_is_no_room(open_page: Opener, site: Site, width: int) -> None:
    page = open_page(f"{site.url}/compare?dataset={DATASET}&clip={WRONG_CLIP}", width=width, height=844)
    page.wait_for_selector("#canvas-b[data-loaded=true]")
    first, second = (page.locator(f"#canvas-{side}").bounding_box() for side in "ab")
    assert (second["y"] > first["y"]) == (width == 390)
    assert (second["x"] > first["x"]) == (width == 1280)
