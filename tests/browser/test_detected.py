"""Clips whose athletes a detector found and a segmenting tracker followed: masks, detections, stopping a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.stages import STAGE_NAMES
from tests.support.browser_pages import Opener, Site, at_frame, settled
from tests.support.tiny_workspace import DATASET, copy_workspace, run

CLIPS = [f"diving_{number:04d}" for number in range(4)]
RERUN_MS = 180_000


@pytest.fixture(scope="module")
def shown(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished workspace, its tubes made once more as the demo makes them."""
    root = copy_workspace(finished_workspace, tmp_path_factory.mktemp("detected") / "workspace")
    detected = ("detect.detector=athlete-n", "detect.select=followed", "detect.min_score=0.05")
    tracked = ("track.tracker=siammask", "track.weights=siammask-s")
    assert run(root, *detected, *tracked, selected=STAGE_NAMES[:4]).failures == []
    return root


def told(page: Any, site: Site, clip: str) -> dict[str, Any]:
    """What the server says of a clip."""
    return dict(page.request.get(f"{site.url}/api/clip?dataset={DATASET}&clip={clip}").json())


def opened(open_page: Opener, site: Site, clip: str, frame: int = 0) -> Any:
    page = open_page(site.clip(clip, frame=str(frame)))
    page.wait_for_selector("#canvas[data-loaded=true]")
    at_frame(page, frame)
    return page


def with_others(open_page: Opener, site: Site) -> tuple[Any, dict[str, Any]]:
    """A clip in whose first frame more than the athlete was found, being edited."""
    page = open_page(f"{site.url}/")
    about = next(one for clip in CLIPS if len((one := told(page, site, clip))["detections"]["boxes"]) > 1)
    page = opened(open_page, site, about["clip"])
    page.get_by_role("button", name="Edit the first-frame box").click()
    return page, about


def edges(page: Any) -> list[float]:
    """Left, top, right and bottom of the box that is drawn, in pixels of the frame."""
    shape = page.locator("[data-box='0'] .box-line")
    left, top, width, height = (float(shape.get_attribute(name)) for name in ("x", "y", "width", "height"))
    return [left, top, left + width, top + height]


def test_the_athletes_mask_is_painted_while_it_is_switched_on(open_page: Opener, site: Site) -> None:
    page = opened(open_page, site, "diving_0000", 8)
    switch = page.locator("[data-layer=athlete]")
    assert switch.get_attribute("aria-pressed") == "true"  # the outline is what such a tracker is chosen for
    for layer in ("quad", "score"):
        if page.locator(f"[data-layer={layer}][aria-pressed=true]").count():
            page.click(f"[data-layer={layer}]")
    with_mask = settled(page)
    switch.click()
    assert switch.get_attribute("aria-pressed") == "false"
    bare = settled(page)
    assert bare != with_mask
    page.keyboard.press("m")
    assert switch.get_attribute("aria-pressed") == "true"
    assert settled(page) == with_mask
    page.keyboard.press("Home")  # the first frame has a box and no mask
    at_frame(page, 0)
    first = settled(page)
    switch.click()
    assert settled(page) == first


def test_a_detection_is_chosen_as_the_first_box(open_page: Opener, site: Site) -> None:
    page, about = with_others(open_page, site)
    found = about["detections"]
    buttons = page.get_by_role("group", name="People found in the first frame").get_by_role("button")
    words = [f"Person {n + 1} \u00b7 {score:.2f}" for n, score in enumerate(found["scores"])]
    assert buttons.all_inner_texts() == words
    assert page.locator(".person").count() == len(words)
    other = next(n for n in range(len(words)) if n not in found["chosen"])
    assert edges(page) == pytest.approx(found["boxes"][found["chosen"][0]], abs=0.06)
    buttons.nth(other).click()
    assert edges(page) == pytest.approx(found["boxes"][other], abs=0.06)
    page.wait_for_function("() => document.querySelector('#announce').textContent.includes('chosen for athlete 1')")
    page.get_by_role("button", name="Save").click()
    page.wait_for_selector("#rerun-panel >> text=runs again")
    (record,) = site.workspace.datasets.clips(DATASET, [about["clip"]])
    scale = 320 / about["tube"]["width"], 240 / about["tube"]["height"]
    left, top, right, bottom = found["boxes"][other]
    wanted = [left * scale[0], top * scale[1], (right - left) * scale[0], (bottom - top) * scale[1]]
    assert list(record.boxes[0]) == pytest.approx(wanted, abs=0.2)
    page.get_by_role("button", name="Take back").first.click()
    page.wait_for_selector("#history-panel li:nth-child(2)")


def test_a_detection_is_chosen_by_a_click_in_the_picture(open_page: Opener, site: Site) -> None:
    page, about = with_others(open_page, site)
    boxes = about["detections"]["boxes"]
    page.get_by_role("button", name="Remove athlete 1").click()
    assert page.locator("#save-boxes").is_disabled()
    edge, scale = page.locator(".box-picture").bounding_box(), page.evaluate(
        "width => document.querySelector('.box-picture').clientWidth / width", about["tube"]["width"]
    )  # fmt: skip
    # On its right edge, where no smaller box lies over it.
    number = max(range(len(boxes)), key=lambda n: boxes[n][2])
    _, top, right, bottom = boxes[number]
    page.mouse.click(edge["x"] + right * scale, edge["y"] + (top + bottom) / 2 * scale)
    assert edges(page) == pytest.approx(boxes[number], abs=0.06)
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#boxes").is_hidden()
    assert told(page, site, about["clip"])["labels"]["boxes_by_person"] is False  # nothing was saved


@pytest.mark.timeout(400)
def test_a_run_is_stopped_and_can_be_started_again(open_page: Opener, site: Site) -> None:
    page = opened(open_page, site, "diving_0001")
    before = told(page, site, "diving_0001")["tube"]["track_key"]
    page.get_by_role("button", name="Edit the first-frame box").click()
    page.locator("[data-box='0']").press("Shift+ArrowRight")
    page.get_by_role("button", name="Save").click()
    start = page.locator(".rerun-command [data-scope=clip]")
    start.click()
    page.get_by_role("progressbar").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("The run was cancelled; what it had finished is kept.").wait_for()
    (job,) = page.request.get(f"{site.url}/api/jobs").json()
    assert job["state"] == "cancelled"
    assert told(page, site, "diving_0001")["plan"]["commands"][0]["scope"] == "clip"  # still to be done
    assert page.get_by_role("progressbar").count() == 0
    start.click()
    page.wait_for_selector(".result", timeout=RERUN_MS)
    assert told(page, site, "diving_0001")["tube"]["track_key"] != before
    again, stopped = page.request.get(f"{site.url}/api/jobs").json()
    assert (again["state"], stopped["state"]) == ("done", "cancelled")
