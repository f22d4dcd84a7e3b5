"""One run on worker processes: on each runner the same keys and the same content, and a quiet terminal."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from distributed import Client, get_task_stream
from threadpoolctl import threadpool_info

from data_catalog.catalog import Workspace
from tests.support import REPO
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
    deadline = time.monotonic() + (30 if runner == "ray" else 0)
    while leftovers(tmp_path / "w") and time.monotonic() < deadline:
        # Ray kills workers that are slow to go; the empty folders that they leave are the next run's to sweep.
        assert Workspace(tmp_path / "w").store.sweep() == []
        time.sleep(0.5)
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


HIDDEN = 'mount -t tmpfs none {0} && mkdir {0}/artifacts && exec "$@"'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("versions", "has h5py 0.1 instead of {h5py}; install the same versions on every machine."),
        ("workspace", "doesn't see this run's workspace at {root}; mount the same folder there, at the same path."),
    ],
)
def test_a_worker_that_is_elsewhere_ends_the_run_with_a_sentence(
    server: PrefectServer, tiny_videos: Path, tmp_path: Path, other: str, said: str
) -> None:
    """A worker process with the metadata of another h5py, and one that has another folder at the workspace's path."""
    root, environment, before = tmp_path / "w", dict(server.environment), []
    new_workspace(root, tiny_videos)
    if other == "versions":
        (tmp_path / "h5py-0.1.dist-info").mkdir()
        (tmp_path / "h5py-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: h5py\nVersion: 0.1\n")
        environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(REPO)])
    else:
        before = ["unshare", "--mount", "sh", "-c", HIDDEN.format(root), "sh"]
        if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
            pytest.skip("unshare --mount is not permitted here")
    with dask_cluster(tmp_path, environment, {"elsewhere": ""}, before) as file:
        done = run(server, root, "engine.runner=dask", f"engine.address={file}", until="masks")
    assert done.returncode == 2, done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("The worker")]
    assert sentence.endswith(said.format(h5py=importlib.metadata.version("h5py"), root=root))
    assert all(Workspace(root).quarantine.keys(stage) == set() for stage in ("normalize", "detect", "track", "masks"))
    assert list(root.glob("artifacts/*/??/*.h5")) == []


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
