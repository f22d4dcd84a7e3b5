"""axe-core objects to nothing, of whatever impact: on every page, in every state, light and dark, desk and phone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from flows.cli.main import app
from flows.datasets.ingest import ingest
from flows.datasets.labels import set_labels
from flows.report.page import render_report
from flows.stages import STAGE_NAMES
from tests.support.axe import findings
from tests.support.browser_pages import WRONG_CLIP, Site
from tests.support.full_report import full_report
from tests.support.looks import LOOKS, Doing, looking, unfold
from tests.support.tiny_workspace import DATASET, copy_workspace, run

ODD, SET_ASIDE, BAD = "odd", "diving_0002", "diving_0001"


@pytest.fixture(scope="module")
def shown(corrected_wrongly: Path, tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a second dataset, one of whose clips is broken, one marked bad, and on which nothing was trained."""
    folder = tmp_path_factory.mktemp("states")
    root = copy_workspace(corrected_wrongly, folder / "workspace")
    videos = Path(shutil.copytree(tiny_videos, folder / "videos"))
    (broken,) = videos.rglob(f"{SET_ASIDE}.mp4")
    broken.write_bytes(broken.read_bytes()[:500])
    ingest(Workspace.open(root), ODD, "procedural", videos)
    (failure,) = run(root, dataset=ODD, selected=STAGE_NAMES[:4]).failures
    assert failure.clip_id == SET_ASIDE
    set_labels(Workspace(root), ODD, BAD, ["bad=true", "bad_reason=two dives in one clip"], "a stranger")
    return root


def loaded(page: Any) -> None:
    page.wait_for_selector("#canvas[data-loaded=true]")
    page.wait_for_selector(".score-now")


def with_every_layer(page: Any) -> None:
    loaded(page)
    for key in "cgtadr":
        page.keyboard.press(key)
    page.wait_for_selector("text=/orange draws/")


def editing(page: Any) -> None:
    loaded(page)
    page.keyboard.press("e")
    page.wait_for_selector("[data-box='0']")


def refused(page: Any) -> None:
    """A form that says what is missing, in a message."""
    page.get_by_text("Leave this clip out").click()
    page.get_by_role("button", name="Mark as bad").click()
    page.wait_for_selector(".toast.alarm")


def clip(name: str, dataset: str = DATASET, frame: int = 0) -> str:
    return f"/clip?dataset={dataset}&clip={name}&frame={frame}"


STATES: dict[str, tuple[str, Doing]] = {
    "gallery": ("/", lambda page: page.wait_for_selector("#clips .card img")),
    "gallery of nothing": ("/?q=nobody", lambda page: page.wait_for_selector("text=/widen the search/")),
    "clip": (clip(WRONG_CLIP, frame=8), loaded),
    "clip, every layer": (clip("diving_0000", frame=8), with_every_layer),
    "clip, box being drawn": (clip(WRONG_CLIP), editing),
    "clip, everything open": (clip(WRONG_CLIP), unfold),
    "clip, a message": (clip("diving_0000"), refused),
    "clip, set aside": (clip(SET_ASIDE, ODD), unfold),
    "clip, marked bad": (clip(BAD, ODD), unfold),
    "clip, no run yet": (clip("diving_0000", ODD), unfold),
    "no such clip": (clip("nobody"), lambda page: page.wait_for_selector("text=/can't be shown/")),
    "two tubes": (
        f"/compare?dataset={DATASET}&clip={WRONG_CLIP}",
        lambda page: page.wait_for_selector("#canvas-b[data-loaded=true]"),
    ),
    "disagreements": (f"/compare?dataset={DATASET}", lambda page: page.wait_for_selector(".disagreements img")),
    "tracked in one way": (f"/compare?dataset={ODD}", lambda page: page.wait_for_selector("text=/in one way only/")),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("state", STATES)
def test_a_page_of_the_viewer(browser: Any, site: Site, state: str, look: str) -> None:
    address, reach = STATES[state]
    with looking(browser, look) as page:
        page.goto(site.url + address)
        page.wait_for_selector("main:not([aria-busy=true])")
        reach(page)
        page.wait_for_load_state("networkidle")
        assert findings(page) == []


def test_a_run_that_goes_on_and_one_that_was_stopped(browser: Any, site: Site) -> None:
    """Its progress, output and time left as every look has them, then what is left of it."""
    address = site.url + clip("diving_0000")
    with looking(browser, "light-desk") as page:
        page.goto(address)
        editing(page)
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Enter")
        page.locator(".rerun-command").first.wait_for()
        assert findings(page) == []
        page.locator(".rerun-command [data-scope=clip]").click()
        page.get_by_role("progressbar").wait_for()
        for look in LOOKS:
            with looking(browser, look) as other:
                other.goto(address)
                other.get_by_role("progressbar").wait_for()
                assert findings(other) == []
        page.get_by_role("button", name="Cancel").click()
        page.get_by_text("The run was cancelled").wait_for()
        unfold(page)
        assert findings(page) == []


@pytest.fixture(scope="module")
def files(shown: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What is written as one file: a clip, the report of a run, a report that has every section."""
    folder = tmp_path_factory.mktemp("files")
    words = ["inspect", WRONG_CLIP, "-w", str(shown), "-d", DATASET, "--html", "--out", str(folder)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    reports = sorted(shown.glob("runs/*/report.html"))
    everything = folder / "report.html"
    render_report(everything, full_report())
    return {"clip": folder / f"{WRONG_CLIP}.html", "report": reports[-1], "every section": everything}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", ["clip", "report", "every section"])
def test_a_file(browser: Any, files: dict[str, Path], name: str, look: str) -> None:
    with looking(browser, look) as page:
        page.goto(files[name].as_uri())
        unfold(page)
        assert findings(page) == []


def test_axe_itself_finds_what_is_wrong(browser: Any) -> None:
    with looking(browser, "light-desk") as page:
        page.set_content("<html lang=en><title>t</title><main><h1>t</h1><img src='data:,'><p style='color:#aaa'>pale")
        assert {line.split(":")[0] for line in findings(page)} == {"critical image-alt", "serious color-contrast"}
