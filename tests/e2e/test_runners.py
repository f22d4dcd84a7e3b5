"""One run on worker processes: on each runner the same keys and the same content, and a quiet terminal."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from distributed import Client, get_task_stream
from threadpoolctl import threadpool_info

from tests.support.clusters import dask_cluster, ray_cluster
from tests.support.prefect_server import PrefectServer, serving
from tests.support.tiny_workspace import DATASET, SETTINGS, digests, leftovers, new_workspace

WORKER_RUNNERS = ("processes", "dask", "ray")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


def run(
    server: PrefectServer, root: Path, *overrides: str, until: str = "evaluate"
) -> subprocess.CompletedProcess[str]:
    """`tubeflow run` of the tiny clips."""
    settings = [word for override in (*SETTINGS, *overrides) for word in ("-o", override)]
    words = ("run", "demo", "-d", DATASET, "-w", str(root), "--until", until, "--json", *settings)
    return server.command("flows.cli", *words, timeout=280)


@pytest.mark.parametrize("runner", WORKER_RUNNERS)
def test_a_run_on_worker_processes_makes_what_threads_make(
    server: PrefectServer, tiny_videos: Path, finished_workspace: Path, tmp_path: Path, runner: str
) -> None:
    new_workspace(tmp_path / "w", tiny_videos)
    done = run(server, tmp_path / "w", f"engine.runner={runner}")
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


def test_on_a_dask_cluster_that_runs_already_networks_go_to_the_worker_that_announces_a_gpu(
    server: PrefectServer, tiny_videos: Path, finished_workspace: Path, tmp_path: Path
) -> None:
    """The scheduler itself says which worker did what."""
    new_workspace(tmp_path / "w", tiny_videos)
    free = {name: value for name, value in server.environment.items() if name != "OMP_NUM_THREADS"}
    with dask_cluster(tmp_path, free, {"plain": "", "gpu": "GPU=1"}) as file, Client(
        scheduler_file=str(file), set_as_default=False
    ) as client:  # fmt: skip
        names = {address: worker["name"] for address, worker in client.scheduler_info(n_workers=-1)["workers"].items()}
        with get_task_stream(client) as stream:
            done = run(
                server, tmp_path / "w", "engine.runner=dask", f"engine.address={file}", "engine.resources={GPU: 1}",
                until="masks",
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        threads = client.run(threads_here)
    where: dict[str, set[str]] = {}
    for shard in stream.data:
        where.setdefault(shard["key"].rpartition("-")[0], set()).add(names[shard["worker"]])
    assert where["detect"] == where["track"] == {"gpu"}
    assert where["normalize"] | where["masks"] == {"plain", "gpu"}
    assert threads == dict.fromkeys(names, (1, 1, {1}))
    expected = digests(finished_workspace)
    assert digests(tmp_path / "w") == {path: expected[path] for path in expected if path.split("/")[1] in where}


def threads_here() -> tuple[Any, ...]:
    """On how many threads OpenCV, torch and the libraries below NumPy compute in this process."""
    return cv2.getNumThreads(), torch.get_num_threads(), {library["num_threads"] for library in threadpool_info()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["client", "head"])
def test_on_a_ray_cluster_that_runs_already(
    server: PrefectServer, tiny_videos: Path, finished_workspace: Path, tmp_path: Path, kind: str
) -> None:
    """Two nodes of one machine; detect and track ask for what only the second one has."""
    new_workspace(tmp_path / "w", tiny_videos)
    with ray_cluster(server.environment, [[], ["--num-gpus=1", '--resources={"special": 1}']]) as addresses:
        done = run(
            server, tmp_path / "w", "engine.runner=ray", f"engine.address={addresses[kind]}",
            "engine.resources={GPU: 1, special: 1}",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "w") == digests(finished_workspace)
