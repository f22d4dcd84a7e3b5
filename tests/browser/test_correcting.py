"""Correcting a clip in the browser: boxes by mouse and keys, a bad clip, in and out; running again and what changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.browser_pages import WRONG_CLIP, Opener, Site, at_frame, settled
from tests.support.tiny_workspace import DATASET

WIDTH, HEIGHT = 228, 128  # of the tiny workspace's frames
RERUN_MS = 180_000  # a real `tubeflow run` in a process of its own, with Prefect's start


@pytest.fixture
def clip(open_page: Opener, site: Site) -> Any:
    page = open_page(site.clip(WRONG_CLIP))
    page.wait_for_selector("#canvas[data-loaded=true]")
    at_frame(page, 0)
    return page


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag on the picture, in pixels of the frame."""
    edge = page.locator(".box-picture").bounding_box()

    def place(x: float, y: float) -> tuple[float, float]:
        return edge["x"] + x / WIDTH * edge["width"], edge["y"] + y / HEIGHT * edge["height"]

    page.mouse.move(*place(*start))
    page.mouse.down()
    page.mouse.move(*place((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
    page.mouse.move(*place(*end))
    page.mouse.up()


def fields(page: Any, athlete: int = 0) -> list[float]:
    """Left, top, width and height as the panel shows them."""
    inputs = page.locator("#edit-panel fieldset").nth(athlete).locator("input").all()
    return [float(field.input_value()) for field in inputs]


def saved_boxes(site: Site, clip: str) -> list[list[float]]:
    (record,) = site.workspace.datasets.clips(DATASET, [clip])
    return [list(box) for box in record.boxes]


def test_a_box_is_drawn_moved_and_resized_by_mouse(clip: Any) -> None:
    clip.get_by_role("button", name="Edit the first-frame box").click()
    drag(clip, (100, 30), (130, 90))
    assert fields(clip) == pytest.approx([100, 30, 30, 60], abs=0.6)
    drag(clip, (115, 60), (125, 50))  # from its inside: moves
    assert fields(clip) == pytest.approx([110, 20, 30, 60], abs=1)
    drag(clip, (140, 80), (160, 100))  # from its lower right corner: resizes
    assert fields(clip) == pytest.approx([110, 20, 50, 80], abs=1.5)
    drag(clip, (135, 60), (400, 60))  # never out of the frame
    left, _, width, _ = fields(clip)
    assert left + width == pytest.approx(WIDTH, abs=0.11)


def test_a_box_is_moved_and_resized_by_keys_alone(clip: Any) -> None:
    clip.keyboard.press("e")
    clip.wait_for_function("() => document.activeElement.dataset.box === '0'")
    left, top, width, height = fields(clip)
    for keys in ("ArrowRight", "Shift+ArrowRight", "ArrowDown", "Alt+ArrowRight", "Alt+ArrowUp"):
        clip.keyboard.press(keys)
    assert fields(clip) == pytest.approx([left + 11, top + 1, width + 1, height - 1], abs=0.11)
    name = clip.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert name.startswith(f"Athlete 1: left {round(left + 11)}, top")
    assert clip.locator("#announce").inner_text().startswith("Athlete 1: left")
    clip.keyboard.press("Escape")
    assert clip.locator("#boxes").is_hidden()


def test_a_second_athlete_is_added_and_removed(clip: Any) -> None:
    clip.get_by_role("button", name="Edit the first-frame box").click()
    first = fields(clip)
    clip.get_by_role("button", name="Add athlete").click()
    drag(clip, (180, 20), (200, 80))
    assert fields(clip, 1) == pytest.approx([180, 20, 20, 60], abs=0.6)
    assert fields(clip) == first
    clip.get_by_role("button", name="Remove athlete 2").click()
    assert clip.locator("#edit-panel fieldset").count() == 1
    clip.get_by_role("button", name="Remove athlete 1").click()
    assert clip.locator("#save-boxes").is_disabled()


def test_numbers_place_a_box_too(clip: Any) -> None:
    clip.get_by_role("button", name="Edit the first-frame box").click()
    for name, value in (("left", "50"), ("top", "40"), ("width", "25"), ("height", "60")):
        field = clip.locator("#edit-panel fieldset").get_by_label(name)
        field.fill(value)
        field.press("Tab")
    shape = clip.locator("[data-box='0'] .box-line")
    assert [float(shape.get_attribute(name)) for name in ("x", "y", "width", "height")] == [50, 40, 25, 60]


def test_a_clip_is_marked_bad_with_a_reason_and_used_again(open_page: Opener, site: Site) -> None:
    page = open_page(site.clip("diving_0001"))
    page.get_by_text("Leave this clip out").click()
    page.get_by_role("button", name="Mark as bad").click()
    page.get_by_text("Say why this clip is bad").wait_for()
    page.get_by_label("Reason").fill("two dives in one clip")
    page.get_by_role("button", name="Mark as bad").click()
    page.get_by_text("Left out of every run: two dives in one clip").wait_for()
    assert site.workspace.datasets.bad(DATASET) == ["diving_0001"]
    assert "two dives in one clip" in page.locator("#history-panel").inner_text()
    page.get_by_role("button", name="Use this clip again").click()
    page.get_by_text("Leave this clip out").wait_for()
    assert site.workspace.datasets.bad(DATASET) == []


def test_in_and_out_are_set_and_taken_back(open_page: Opener, site: Site) -> None:
    page = open_page(site.clip("diving_0002", frame="6"))
    page.get_by_text("Where the clip begins and ends").click()
    page.get_by_role("button", name="Set to here").first.click()
    source = int(page.get_by_label("In: first frame").input_value())
    assert source > 0
    page.get_by_role("button", name="Save in and out").click()
    page.wait_for_selector("#rerun-panel >> text=runs again")
    stages = dict(row.split("\n")[:2] for row in page.locator(".stages li").all_inner_texts())
    assert stages["normalize"] == "runs again"
    assert site.workspace.datasets.clips(DATASET, ["diving_0002"])[0].start_frame == source
    page.get_by_role("button", name="Take back: start_frame to none").click()
    page.wait_for_selector("#history-panel li:nth-child(2)")
    assert site.workspace.datasets.clips(DATASET, ["diving_0002"])[0].start_frame is None
    assert page.locator(".stages").filter(has_text="normalizeruns again").count() == 0


@pytest.mark.timeout(400)
def test_a_wrong_box_is_drawn_again_and_the_run_shows_a_new_tube_and_score(
    clip: Any, open_page: Opener, site: Site
) -> None:
    """The whole way: see the wrong tube, draw the box, save, run what that invalidates, see the tube change."""
    before = clip.request.get(f"{site.url}/api/clip?dataset={DATASET}&clip={WRONG_CLIP}").json()
    clip.wait_for_selector(".score-now")
    wrong_picture = settled(clip)
    (truth,) = before["truth"]
    xs, ys = np.array(truth[0])[:, 0], np.array(truth[0])[:, 1]

    clip.get_by_role("button", name="Edit the first-frame box").click()
    drag(clip, (xs.min(), ys.min()), (xs.max(), ys.max()))
    clip.get_by_role("button", name="Save").click()
    command = clip.locator(".rerun-command").first
    command.wait_for()
    assert f"--clip {WRONG_CLIP}" in command.locator("code").inner_text()
    stages = dict(row.split("\n")[:2] for row in clip.locator(".stages li").all_inner_texts())
    assert [stages[name] for name in ("normalize", "detect", "track", "masks")] == ["kept", *["runs again"] * 3]
    scale = 320 / WIDTH, 240 / HEIGHT
    drawn = [xs.min() * scale[0], ys.min() * scale[1], np.ptp(xs) * scale[0], np.ptp(ys) * scale[1]]
    assert saved_boxes(site, WRONG_CLIP)[0] == pytest.approx(drawn, abs=2)
    assert "box" in clip.locator("#history-panel li").first.inner_text()

    command.get_by_role("button", name="Run").click()
    clip.get_by_role("progressbar").wait_for()
    result = clip.locator(".result [data-figure=score]")
    result.wait_for(timeout=RERUN_MS)
    after = clip.request.get(f"{site.url}/api/clip?dataset={DATASET}&clip={WRONG_CLIP}").json()
    assert after["tube"]["track_key"] != before["tube"]["track_key"]
    assert overlap_with_truth(after, truth) > 0.3 > 0.05 > overlap_with_truth(before, truth)
    old, new = float(result.get_attribute("data-before")), float(result.get_attribute("data-after"))
    run = clip.get_by_label("Run", exact=True).input_value()
    told = clip.request.get(f"{site.url}/api/score?dataset={DATASET}&clip={WRONG_CLIP}&run={run}&weights=last").json()
    assert new == told["score"] != old
    assert settled(clip) != wrong_picture
    assert "new tube" in clip.locator(".result").inner_text()
    assert clip.locator("[data-layer=before]").get_attribute("aria-pressed") == "true"

    clip.get_by_role("link", name="Compare before and after").click()
    clip.wait_for_selector("#mean-overlap >> text=Mean overlap")
    gallery = open_page(f"{site.url}/")
    gallery.wait_for_selector(f"text={WRONG_CLIP}")


def overlap_with_truth(data: dict[str, Any], truth: list[Any]) -> float:
    """Mean IoU of the first frames' upright boxes: what was drawn must be what is followed."""

    def edges(quad: Any) -> np.ndarray:
        corners = np.array(quad, float)
        return np.concatenate([corners.min(axis=0), corners.max(axis=0)])

    shares = []
    for quad, true in list(zip(data["tube"]["quads"][0], truth, strict=True))[:5]:
        one, other = edges(quad), edges(true)
        inner = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
        shares.append(inner / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - inner))
    return float(np.mean(shares))
