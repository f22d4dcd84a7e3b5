"""Poses in the page of a clip: drawn beside the tube, counted, and said frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.browser_pages import Opener, Site, at_frame, settled
from tests.support.tiny_poses import CLIP, posed_workspace


@pytest.fixture(scope="module")
def shown(finished_workspace: Path, tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return posed_workspace(finished_workspace, tiny_videos, tmp_path_factory.mktemp("posed"))[0]


@pytest.fixture
def clip(open_page: Opener, site: Site) -> Any:
    page = open_page(site.clip(CLIP))
    page.wait_for_selector("#canvas[data-loaded=true]")
    at_frame(page, 0)
    page.wait_for_selector(".score-now")
    return page


def test_the_pose_is_a_layer_that_can_be_taken_off(clip: Any) -> None:
    switch = clip.get_by_role("button", name="Pose", exact=True)
    assert switch.get_attribute("aria-pressed") == "true"
    before = settled(clip)
    clip.keyboard.press("o")
    assert switch.get_attribute("aria-pressed") == "false"
    assert settled(clip) != before
    clip.keyboard.press("o")
    assert settled(clip) == before


def test_missing_and_wrong_ones_are_counted_and_lead_to_their_frames(clip: Any) -> None:
    panel = clip.locator("#quality-panel")
    assert "off the tube." in panel.get_by_text("Poses in").inner_text()
    for words in ("no pose", "pose off the tube"):
        panel.get_by_role("button", name=words).first.click()
        clip.wait_for_function(
            "words => document.getElementById('canvas').getAttribute('aria-label').includes(words)",
            arg=words.replace("pose off", "pose is off"),
        )
