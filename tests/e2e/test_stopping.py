"""Ctrl-C and SIGTERM end a command in good order; proxies, HOME and servers that are down don't hold it up."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.execution.stopping import SENTENCE
from tests.support.prefect_home import prefect_home
from tests.support.prefect_server import free_port, serving
from tests.support.tiny_workspace import DATASET, SETTINGS, new_workspace

END_SECONDS = 5.0
STAGES = ("normalize", "track", "train")
Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def ingested(tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stopping") / "w"
    new_workspace(root, tiny_videos)
    return root


@pytest.fixture
def start(ingested: Path, tmp_path: Path) -> Started:
    """Start the true `tubeflow run` on a copy of the workspace."""

    def run(*words: str, **environment: str) -> subprocess.Popen[str]:
        root = Path(shutil.copytree(ingested, tmp_path / "w"))
        settings = [word for override in SETTINGS for word in ("-o", override)]
        command = [sys.executable, "-m", "flows.cli", "run", "demo", "-d", DATASET, "-w", str(root), *settings, *words]
        return subprocess.Popen(
            command,
            env={
                **os.environ, "OMP_NUM_THREADS": "1", "PREFECT_HOME": str(prefect_home(tmp_path / "prefect")),
                "TUBEFLOW_PROGRESS": "lines", **environment,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )  # fmt: skip

    return run


def wait_for(process: subprocess.Popen[str], stage: str) -> None:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if f'"stage": "{stage}"' in line:
            return
    raise AssertionError("".join(seen))


def stop(process: subprocess.Popen[str], number: int) -> str:
    """Send the signal; what the process said last. It and all of its children are gone in time."""
    family = psutil.Process(process.pid).children(recursive=True)
    started = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - started < END_SECONDS
    assert process.returncode == 128 + number
    assert psutil.wait_procs(family, timeout=2)[1] == []
    return said


@pytest.mark.parametrize("delay", [0.4, 1.0])
def test_while_it_is_importing(start: Started, delay: float) -> None:
    process = start()
    time.sleep(delay)
    said = stop(process, signal.SIGINT)
    assert said.strip().splitlines() == [SENTENCE]


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("train", signal.SIGTERM),
        *(
            pytest.param(stage, number, marks=pytest.mark.slow)
            for stage in STAGES
            for number in (signal.SIGINT, signal.SIGTERM)
        ),
    ],
)
def test_in_a_stage(start: Started, stage: str, number: int) -> None:
    process = start()
    wait_for(process, stage)
    said = stop(process, number)
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith('{"progress"')]
    assert lines == [SENTENCE]


@pytest.mark.slow
def test_a_server_that_goes_on_hears_of_it(start: Started, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server") as server:
        process = start(PREFECT_API_URL=server.url)
        wait_for(process, "track")
        assert SENTENCE in stop(process, signal.SIGINT)
        (run,) = server.post("/flow_runs/filter")
        assert (run["state"]["type"], run["state"]["message"]) == ("CRASHED", SENTENCE)


@pytest.mark.parametrize(
    "runner", ["processes", pytest.param("dask", marks=pytest.mark.slow), pytest.param("ray", marks=pytest.mark.slow)]
)
def test_with_worker_processes_nothing_is_left(start: Started, runner: str) -> None:
    process = start("-o", f"engine.runner={runner}")
    wait_for(process, "normalize")
    assert SENTENCE in stop(process, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_while_the_server_starts_nobody_is_left(start: Started, tmp_path: Path) -> None:
    """50 SIGKILLs over the first ten seconds: after five more seconds nothing that was started is there."""
    chance, left = random.Random(4), []
    for _ in range(50):
        process = start()
        moment = time.monotonic() + chance.uniform(0, 10)
        family: list[psutil.Process] = []
        while time.monotonic() < moment and process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True) or family
            time.sleep(0.02)
        process.kill()
        process.communicate()
        left += [child.cmdline() for child in psutil.wait_procs(family, timeout=5)[1]]
        shutil.rmtree(tmp_path / "w")
    assert left == []


def run_to_the_end(process: subprocess.Popen[str], timeout: float = 280) -> str:
    _, said = process.communicate(timeout=timeout)
    return said


HTTP, SOCKS = "http://127.0.0.1:9", "socks5://127.0.0.1:9"


@pytest.mark.parametrize(
    "proxy",
    [
        {"HTTP_PROXY": HTTP, "http_proxy": HTTP, "ALL_PROXY": SOCKS},
        pytest.param({"HTTP_PROXY": HTTP, "http_proxy": HTTP}, marks=pytest.mark.slow),
        pytest.param({"ALL_PROXY": SOCKS}, marks=pytest.mark.slow),
    ],
)
def test_a_proxy_never_stands_before_our_own_server(start: Started, proxy: dict[str, str]) -> None:
    process = start("--until", "normalize", **proxy)
    said = run_to_the_end(process)
    assert process.returncode == 0, said


def test_without_a_home_everything_is_kept_in_the_workspace(
    ingested: Path, tmp_path: Path, where_permissions_bite: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    root = Path(shutil.copytree(ingested, tmp_path / "w"))
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_HOME"} | {"HOME": str(home)}
    command = [sys.executable, "-m", "flows.cli", "run", "demo", "-d", DATASET, "-w", str(root), "--until", "normalize"]
    done = where_permissions_bite(*command, env=environment)
    assert done.returncode == 0, done.stderr
    assert (root / "home" / "prefect").is_dir()
    assert list(home.iterdir()) == []


def test_a_named_server_that_is_down_is_one_sentence(start: Started) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    started = time.monotonic()
    process = start(PREFECT_API_URL=url)
    said = run_to_the_end(process)
    assert process.returncode == 2
    (sentence,) = [line for line in said.splitlines() if line.strip()]
    assert url in sentence
    assert time.monotonic() - started < 60  # most of it imports, on a busy machine


LOCKLESS = (
    "import errno, fcntl, os, sys\n"
    "def flock(file, operation):\n"
    "    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))\n"
    "fcntl.flock = flock\n"
    "from flows.cli import app\n"
    "app()\n"
)


def test_on_a_file_system_without_locks_a_run_works_and_says_so_once(ingested: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(ingested, tmp_path / "w"))
    command = [sys.executable, "-c", LOCKLESS, "run", "demo", "-d", DATASET, "-w", str(root), "--until", "normalize"]
    environment = os.environ | {"PREFECT_HOME": str(prefect_home(tmp_path / "prefect"))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert " ".join((done.stdout + done.stderr).split()).count("has no locks") == 1
