"""Fixtures of the flows' tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.prefect_server import PrefectServer, serving
from tests.support.tiny_workspace import copy_workspace
from tests.support.view_pages import Pages, pages_of


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine, a small workspace is read again at once and not behind the answer."""
    monkeypatch.setattr("flows.view.state.QUICK_SECONDS", 1e6)


@pytest.fixture(scope="module")
def pages(finished_workspace: Path) -> Iterator[Pages]:
    """`tubeflow view` on the finished workspace; not to be changed."""
    with pages_of(finished_workspace) as found:
        yield found


@pytest.fixture
def root(finished_workspace: Path, tmp_path: Path) -> Path:
    """A copy of the finished workspace, to be changed."""
    return copy_workspace(finished_workspace, tmp_path / "ws")


@pytest.fixture(scope="package")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A real Prefect server with nothing on it, for tests that need no worker; seconds to start, so one for all."""
    with serving(tmp_path_factory.mktemp("prefect")) as server:
        yield server
