"""A run over three machines with a Dask scheduler on one: a machine dies, a link is cut, the scheduler dies."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import psutil
import pytest

from data_catalog.catalog import Workspace
from tests.support import REPO
from tests.support.hosts import OURS, Host, hosts, permitted
from tests.support.prefect_server import PrefectServer, running, server_in, wait_until_healthy
from tests.support.tiny_workspace import DATASET, SETTINGS, digests, identities, leftovers, new_workspace

PORT, CUT_SECONDS = 8786, 30
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not permitted(), reason="network namespaces are not permitted here"),
]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PrefectServer, list[Host]]]:
    """Three machines, and a Prefect server that all of them reach."""
    folder = tmp_path_factory.mktemp("hosts")
    server = server_in(folder)
    port = server.url.split(":")[2].removesuffix("/api")
    server.environment["PREFECT_API_URL"] = f"http://{OURS}:{port}/api"
    server.environment["PYTHONPATH"] = str(REPO)
    with hosts(["tfone", "tftwo", "tfthree"], folder) as machines:
        words = ["prefect", "server", "start", "--host", "0.0.0.0", "--port", port]
        with running("server", words, server.environment, folder) as process:
            wait_until_healthy(process, server.url, folder / "server.log")
            yield server, machines


@contextlib.contextmanager
def cluster(server: PrefectServer, machines: list[Host], folder: Path) -> Iterator[psutil.Popen]:
    """The scheduler, on the first machine, and a worker on each."""
    one = machines[0]
    scheduler = ["dask", "scheduler", "--host", one.address, "--port", str(PORT), "--no-dashboard"]
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running("scheduler", scheduler, server.environment, folder, one.before))
        for machine in machines:
            words = ["dask", "worker", f"tcp://{one.address}:{PORT}", "--host", machine.address, "--nthreads", "1"]
            words += ["--no-dashboard", "--local-directory", str(folder / machine.name)]
            stack.enter_context(running(machine.name, words, server.environment, folder, machine.before))
        limit = time.monotonic() + 200
        while not all("Registered to" in (folder / f"{machine.name}.log").read_text() for machine in machines):
            assert time.monotonic() < limit, [path.read_text()[-1000:] for path in folder.glob("*.log")]
            time.sleep(0.2)
        yield process


def start(server: PrefectServer, machine: Host, root: Path) -> subprocess.Popen[str]:
    """`tubeflow run` of the four clip stages on a machine."""
    settings = [word for override in SETTINGS[:-2] for word in ("-o", override)]
    settings += ["-o", "engine.runner=dask", "-o", f"engine.address=tcp://{machine.address}:{PORT}"]
    words = ["flows.cli", "run", "demo", "-d", DATASET, "-w", str(root), "--until", "masks", "--json", *settings]
    return subprocess.Popen(
        [*machine.before, sys.executable, "-m", *words], cwd=REPO, env=server.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def cut(machines: list[Host], scheduler: psutil.Popen) -> None:
    machines[1].link("down")
    time.sleep(CUT_SECONDS)
    machines[1].link("up")


FAULTS: dict[str, Callable[[list[Host], psutil.Popen], Any]] = {
    "none": lambda machines, scheduler: None,
    "worker killed": lambda machines, scheduler: machines[2].kill(),
    "link cut": cut,
    "scheduler killed": lambda machines, scheduler: scheduler.kill(),
}


STOPPING = ("link cut", "scheduler killed")  # the run may stop with a sentence; the same command goes on


@pytest.mark.parametrize("fault", FAULTS)
def test_every_artifact_is_made_once_whatever_happens_to_a_machine(
    three: tuple[PrefectServer, list[Host]], tiny_videos: Path, finished_workspace: Path, tmp_path: Path, fault: str
) -> None:
    server, machines = three
    root = new_workspace(tmp_path / "w", tiny_videos).root
    with cluster(server, machines, tmp_path) as scheduler:
        run = start(server, machines[0], root)
        limit = time.monotonic() + 240
        while not any(root.glob("artifacts/normalize/??/*.h5")) and run.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        FAULTS[fault](machines, scheduler)
        said, complained = run.communicate(timeout=600)
    before = identities(root)
    if fault == "scheduler killed":
        assert "The cluster was lost while it was at" in complained
    if fault in STOPPING and run.returncode == 2:
        assert complained.rstrip().endswith("What is done is kept."), complained
        with cluster(server, machines, tmp_path):
            run = start(server, machines[0], root)
            said, complained = run.communicate(timeout=600)
    assert run.returncode == 0, complained
    summary = json.loads(said)
    assert summary["quarantined"] == []
    assert sum(stage["computed"] + stage["hits"] for stage in summary["stages"].values()) == 16
    after = identities(root)
    assert {path: after[path] for path in before} == before
    expected = digests(finished_workspace)
    assert digests(root) == {path: expected[path] for path in expected if path in after}
    Workspace(root).store.sweep()  # of workers that lived longer than the run
    assert (len(after), leftovers(root)) == (16, [])
    assert hosts_of(root) <= {machine.name for machine in machines}
    if fault == "none":
        assert len(hosts_of(root)) > 1


def hosts_of(root: Path) -> set[str]:
    """The machines that made the artifacts, as the artifacts say."""
    found = set()
    for path in root.glob("artifacts/*/??/*.h5"):
        with h5py.File(path) as file:
            found.add(str(file.attrs["host"]))
    return found
