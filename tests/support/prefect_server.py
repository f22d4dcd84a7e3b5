"""A real Prefect server on a free loopback port, with a folder of its own; and a worker beside it.

Every process that is started here is ended when its block ends, with whatever it started itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support import REPO
from tests.support.prefect_home import prefect_home

SERVER_SECONDS = 240  # to start, with every core busy
BUSY_SECONDS = 30  # a server that was just started may keep its database for a while


@dataclass(frozen=True)
class PrefectServer:
    """A running server: its API, its log, and the environment that names it to another process."""

    url: str
    folder: Path
    environment: dict[str, str]

    def command(self, *words: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """Run `python -m words…` from the repository as a user would, without a terminal."""
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=REPO,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def post(self, path: str, **filters: Any) -> Any:
        """What the API answers to a POST."""
        return self._answer("POST", path, json=filters)

    def get(self, path: str) -> Any:
        """What the API answers to a GET."""
        return self._answer("GET", path)

    def _answer(self, method: str, path: str, **settings: Any) -> Any:
        """Asks again, as Prefect's own client does, where SQLite is busy: the server says 503 and has done nothing."""
        limit = time.monotonic() + BUSY_SECONDS
        user, _, password = self.environment.get("PREFECT_API_AUTH_STRING", "").partition(":")
        auth = httpx.BasicAuth(user, password) if user else None
        while True:
            response = httpx.request(method, self.url + path, timeout=30, auth=auth, **settings)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > limit:
                response.raise_for_status()
                return response.json()
            time.sleep(0.5)


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(
    name: str, words: list[str], environment: dict[str, str], folder: Path, before: Sequence[str] = ()
) -> Iterator[psutil.Popen]:
    """A process `python -m words…` that writes to `folder/name.log`; at the end it and its descendants are gone.

    `before` is a command that starts another one, such as `nice`.
    """
    with (folder / f"{name}.log").open("w") as log:
        process = psutil.Popen(
            [*before, sys.executable, "-m", *words],
            cwd=REPO,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            end(process)


def end(process: psutil.Popen) -> None:
    """Ask a process and its descendants to stop, and kill what is left after ten seconds."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    _, stubborn = psutil.wait_procs(family, timeout=10)
    for member in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(stubborn, timeout=10)


def server_in(folder: Path, **settings: str) -> PrefectServer:
    """A server with its state in `folder`, on a free port; not started. `settings` are environment variables."""
    url = f"http://127.0.0.1:{free_port()}/api"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "TUBEFLOW_"))}
    environment = inherited | {
        "PREFECT_HOME": str(prefect_home(folder / "home")),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "TUBEFLOW_WORKSPACE": str(folder / "workspace"),
        "OMP_NUM_THREADS": "1",
        **settings,
    }
    return PrefectServer(url, folder, environment)


@contextlib.contextmanager
def started(server: PrefectServer, log: str = "server") -> Iterator[psutil.Popen]:
    """The server's process, ready for requests; after it was killed it can be started again, with all that it knew."""
    port = server.url.split(":")[2].removesuffix("/api")
    words = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    with running(log, words, server.environment, server.folder) as process:
        wait_until_healthy(process, server.url, server.folder / f"{log}.log")
        yield process


@contextlib.contextmanager
def serving(folder: Path, **settings: str) -> Iterator[PrefectServer]:
    """Start a server with its state in `folder`; `settings` are further environment variables."""
    server = server_in(folder, **settings)
    with started(server):
        yield server


def wait_until_healthy(process: psutil.Popen, url: str, log: Path) -> None:
    """Raises RuntimeError with the end of the log where the server stops, or isn't there in time."""
    limit = time.monotonic() + SERVER_SECONDS
    while process.poll() is None and time.monotonic() < limit:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url + "/health", timeout=5).is_success:
                return
        time.sleep(0.1)
    raise RuntimeError("the Prefect server didn't start:\n" + log.read_text()[-2000:])


@contextlib.contextmanager
def working(server: PrefectServer, pool: str = "tubeflow", log: str = "worker") -> Iterator[psutil.Popen]:
    """A worker of the pool, ready for runs."""
    words = ["prefect", "worker", "start", "--pool", pool, "--name", "test"]
    with running(log, words, server.environment, server.folder) as process:
        yield process
