"""Fixtures that every room uses."""

import ctypes
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_catalog.system import processors
from tests.support import REPO

SLOW_SECONDS = 1200  # long forms may take as long on a machine that others use as well


def pytest_configure(config: pytest.Config) -> None:
    """Side by side, each worker and what it starts take their share of the processors, not all of them again.

    Threads of OpenMP that wait for each other spin, so that two workers with two threads each on two processors take
    longer than one after the other. Set before torch is imported, which reads it once.
    """
    if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, processors() // workers)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The default limit is for fast tests; a slow one that names none gets a longer one."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips, annotations and independent numbers kept beside a developer's checkout."""
    folder = Path(os.environ.get("TUBEFLOW_SHARED", REPO.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the development data folder {folder.name}/ beside the checkout (set TUBEFLOW_SHARED)")
    return folder


@pytest.fixture
def where_permissions_bite() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in a process that file permissions hold back: root without the capabilities to ignore them."""

    def give_up_overriding() -> None:
        if os.geteuid() == 0:
            drop_from_bounding_set, override, read_search = 24, 1, 2  # prctl(2), capabilities(7)
            for capability in (override, read_search):
                ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)

    def run(*command: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, preexec_fn=give_up_overriding, capture_output=True, text=True, check=False, timeout=120, **settings
        )

    return run


@pytest.fixture(scope="session")
def tiny_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four procedural clips with their labels, drawn once; not to be changed."""
    from tests.support.tiny_workspace import draw_clips

    return draw_clips(tmp_path_factory.mktemp("tiny") / "videos")


@pytest.fixture(scope="session")
def finished_workspace(tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the whole pipeline ran once, undisturbed; not to be changed (see `copy_workspace`)."""
    from tests.support.tiny_workspace import new_workspace, run

    root = tmp_path_factory.mktemp("tiny") / "finished"
    new_workspace(root, tiny_videos)
    summary = run(root)
    assert (summary.failures, summary.notes) == ([], [])
    return root


@pytest.fixture(scope="session")
def docs_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as `make docs` builds it, strictly: a wrong link fails every test that asks for it."""
    from tests.support.built_site import mkdocs

    folder = tmp_path_factory.mktemp("docs") / "site"
    built = mkdocs(REPO / "mkdocs.yml", folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder
