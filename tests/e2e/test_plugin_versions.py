"""A worker in another environment, whose plug-in has another version than the run's, ends the run before any work."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from data_catalog.system import kill_group
from flows.plugins.new_package import new_package
from tests.support.fresh_environment import FreshEnvironment
from tests.support.tiny_workspace import DATASET, SETTINGS, new_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
WAIT_SECONDS = 120


@contextmanager
def cluster(scheduler: FreshEnvironment, worker: FreshEnvironment, folder: Path) -> Iterator[Path]:
    """Dask's scheduler in one environment and a worker in another; yields the scheduler's file."""
    folder.mkdir()
    file, log = folder / "scheduler.json", folder / "log.txt"
    with_file = ("--scheduler-file", file, "--no-dashboard")
    started = [scheduler.start("-m", "distributed.cli.dask_scheduler", *with_file, "--port", "0", log=log)]
    try:
        wait_until(file.is_file, log)
        words = (*with_file, "--nworkers", "1", "--nthreads", "1")
        started.append(worker.start("-m", "distributed.cli.dask_worker", *words, log=log))
        wait_until(lambda: "Registered to" in log.read_text(), log)
        yield file
    finally:
        for process in reversed(started):
            kill_group(process)
            process.wait()


def wait_until(done: object, log: Path) -> None:
    limit = time.monotonic() + WAIT_SECONDS
    while not done():  # type: ignore[operator]
        assert time.monotonic() < limit, log.read_text()
        time.sleep(0.2)


def test_the_run_ends_with_one_sentence_and_goes_on_with_the_same_version(tiny_videos: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    new_package("tracker", "template", package)
    head, worker = FreshEnvironment(tmp_path / "head"), FreshEnvironment(tmp_path / "worker")
    head.install(package)
    project = (package / "pyproject.toml").read_text()
    (package / "pyproject.toml").write_text(project.replace('version = "0.1.0"', 'version = "0.2.0"'))
    worker.install(package)
    new_workspace(tmp_path / "ws", tiny_videos)
    settings = [*SETTINGS, "track.tracker=template", "engine.runner=dask"]

    def run(file: Path, status: int) -> str:
        overrides = [word for one in (*settings, f"engine.address={file}") for word in ("-o", one)]
        words = ("run", "demo", "-d", DATASET, *overrides, "--until", "track", "-w", tmp_path / "ws")
        return head.run("-m", "flows.cli", *words, cwd=tmp_path, status=status).stderr

    with cluster(head, worker, tmp_path / "other") as file:
        said = run(file, status=2)
    sentence = r"^The worker \d+ on \S+ has tubeflow-template 0\.2\.0 instead of 0\.1\.0; install the same versions"
    assert re.search(sentence, said, re.MULTILINE), said
    assert "Traceback" not in said
    store = Workspace(tmp_path / "ws").store
    assert [stage for stage in ("normalize", "detect", "track") if list(store.scan(stage))] == []

    with cluster(head, head, tmp_path / "same") as file:
        run(file, status=0)
    made = [store.lineage("track", key).config["track"]["tracker_plugin"] for key in store.scan("track")]
    assert made == ["tubeflow-template 0.1.0"] * 4
