"""The page of one clip in one file, opened from the disk as by double click."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.main import app

CLIP = "diving_0003"


@pytest.fixture(scope="module")
def file(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("file")
    result = CliRunner().invoke(app, ["inspect", CLIP, "-w", str(finished_workspace), "--html", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return folder / f"{CLIP}.html"


@pytest.fixture
def page(browser: Any, file: Path) -> Any:
    """The page; at the end it must have complained of nothing and asked nobody."""
    complaints: list[str] = []
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        opened = context.new_page()
        opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
        opened.goto(file.as_uri())
        yield opened
    assert complaints == []


def pixels(page: Any) -> list[int]:
    found: list[int] = page.evaluate(
        "() => [...document.getElementById('canvas').getContext('2d').getImageData(0, 0, 456, 256).data]"
    )
    return found


def test_frames_step_by_key_slider_and_plot(page: Any) -> None:
    where = page.locator("#where")
    assert where.inner_text() == "frame 0"
    for key, expected in (("ArrowRight", 1), ("Shift+ArrowRight", 11), ("ArrowLeft", 10), ("End", 23), ("Home", 0)):
        page.keyboard.press(key)
        assert where.inner_text() == f"frame {expected}"
    page.get_by_role("slider", name="Frame").fill("7")
    assert where.inner_text() == "frame 7"
    plot = page.get_by_role("img", name="tracker score over frames").bounding_box()
    page.mouse.click(plot["x"] + plot["width"] - 12, plot["y"] + 20)
    assert where.inner_text() == "frame 23"
    assert page.get_by_role("slider", name="Frame").get_attribute("aria-valuetext") == "frame 23 of 24"


def test_layers_change_the_picture(page: Any) -> None:
    page.wait_for_timeout(300)
    before = pixels(page)
    assert max(before) > 0
    for name in ("tube", "selected cells", "crop window", "tube mask of the segment", "ground truth"):
        box = page.get_by_role("checkbox", name=name, exact=True)
        box.click()
        assert pixels(page) != before, name
        box.click()
        assert pixels(page) == before, name
    page.keyboard.press("1")
    assert not page.get_by_role("checkbox", name="tube", exact=True).is_checked()


def test_it_plays_to_the_end_and_again(page: Any) -> None:
    page.keyboard.press("End")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => Number(document.getElementById('frame').value) >= 3", timeout=20_000)
    page.get_by_role("button", name="Pause").click()
    assert page.get_by_role("button", name="Play").is_visible()


def test_a_phone_shows_all_of_it(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert page.locator("#canvas").bounding_box()["width"] > 300
