"""A real Chromium on a real `tubeflow view` process over a real, small workspace.

Every page that a test opens is watched: at its end it must have logged no error, failed no request, and asked no other
host than the server. The browser is the system's own (`apt-get install chromium`); TUBEFLOW_CHROMIUM names another.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from data_catalog.catalog import Workspace
from flows.datasets.labels import set_labels
from flows.stages import STAGE_NAMES
from tests.support.browser_pages import WRONG_BOX, WRONG_CLIP, Opener, Site, Watch
from tests.support.chromium import FLAGS, find_chromium
from tests.support.tiny_workspace import DATASET, copy_workspace, run

STARTED = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\]):\d+")
START_SECONDS, WAIT_MS = 90.0, 90_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the browser, so nothing here can forget to say so."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One headless Chromium; each page gets a profile of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make setup")
    path = find_chromium()
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium, or set TUBEFLOW_CHROMIUM to its path")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def corrected_wrongly(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished workspace after somebody gave one clip a wrong first-frame box and ran everything again.

    Before that its clips were tracked in a second way, on frames of less quality, with the right box still.
    """
    root = copy_workspace(finished_workspace, tmp_path_factory.mktemp("browser") / "workspace")
    assert run(root, "normalize.jpeg_quality=60", selected=STAGE_NAMES[:4]).failures == []
    set_labels(Workspace(root), DATASET, WRONG_CLIP, [f"box={WRONG_BOX}"], "a stranger")
    summary = run(root)
    assert summary.failures == []
    return root


@pytest.fixture(scope="module")
def shown(corrected_wrongly: Path) -> Path:
    """The workspace whose copy is shown; a module that needs another one has a fixture of this name."""
    return corrected_wrongly


@pytest.fixture(scope="module")
def site(shown: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server of the module's own on a copy that its tests may change."""
    root = copy_workspace(shown, tmp_path_factory.mktemp("site") / "workspace")
    log = root.parent / "view.log"
    with log.open("w") as file:
        command = [str(Path(sys.executable).parent / "tubeflow"), "view", "--workspace", str(root), "--port", "0"]
        # Prefect's own server, which a re-run starts, may be slow on a busy machine.
        patient = os.environ | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, text=True, env=patient)
    try:
        yield Site(_address(server, log), root)
    finally:
        server.terminate()
        server.wait(20)


def _address(server: subprocess.Popen[str], log: Path) -> str:
    """The address that the server prints once it listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = STARTED.search(log.read_text())
        if found:
            return found[0]
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"tubeflow view did not start:\n{log.read_text()}")


@pytest.fixture
def open_page(browser: Any, site: Site) -> Iterator[Opener]:
    """Open an address in a fresh profile; what the pages did is judged when the test is over."""
    watch, contexts = Watch(urlsplit(site.url).netloc), []

    def opened(url: str, width: int = 1280, height: int = 900, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, locale="en-GB", **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        watch.on(page)
        page.goto(url)
        page.wait_for_selector("main:not([aria-busy=true])")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert watch.errors == []
    assert watch.strangers == []
