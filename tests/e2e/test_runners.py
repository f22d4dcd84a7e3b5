"""One run on worker processes: on each runner the same keys and the same content, and a quiet terminal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.prefect_server import PrefectServer, serving
from tests.support.tiny_workspace import DATASET, SETTINGS, digests, leftovers, new_workspace

WORKER_RUNNERS = ("processes", "dask", "ray")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.mark.parametrize("runner", WORKER_RUNNERS)
def test_a_run_on_worker_processes_makes_what_threads_make(
    server: PrefectServer, tiny_videos: Path, finished_workspace: Path, tmp_path: Path, runner: str
) -> None:
    new_workspace(tmp_path / "w", tiny_videos)
    settings = [word for override in (*SETTINGS, f"engine.runner={runner}") for word in ("-o", override)]
    done = server.command(
        "flows.cli", "run", "demo", "-d", DATASET, "-w", str(tmp_path / "w"), "--json", *settings, timeout=280
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["quarantined"], summary["notes"]) == ([], [])
    assert {name: count["computed"] for name, count in summary["stages"].items()} == {
        "normalize": 4, "detect": 4, "track": 4, "masks": 4, "pack": 1, "train": 1, "evaluate": 1,
    }  # fmt: skip
    assert digests(tmp_path / "w") == digests(finished_workspace)
    assert leftovers(tmp_path / "w") == []
    (forecast,) = [line for line in done.stderr.splitlines() if not line.endswith("…")]
    assert forecast.startswith("How long it takes")
    shutil.rmtree(tmp_path / "w")
