"""A server whose sockets are held, flooded or asked for what it doesn't speak goes on answering, and says little."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from flows.view.connections import SaidOnce
from tests.support import REPO
from tests.support.tiny_workspace import DATASET

HANDLES = 64
TOO_MANY = 100
HALF_OPEN = (b"", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n")
UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
}


class Served:
    """A server with few file handles, and what it wrote so far."""

    def __init__(self, url: str, log: Path) -> None:
        self.url, self._log = url, log

    def status(self, path: str = "api/session", **settings: object) -> int:
        headers = settings.get("headers")
        assert headers is None or isinstance(headers, dict)
        return httpx.get(self.url + path, timeout=60, headers=headers).status_code

    def log(self) -> list[str]:
        return self._log.read_text().splitlines()

    def tracebacks(self) -> list[str]:
        """What it wrote, if a traceback is among it."""
        return self.log() if any("Traceback" in line for line in self.log()) else []

    def open(self, first: bytes = b"") -> socket.socket:
        address = urlsplit(self.url)
        assert address.hostname is not None
        assert address.port is not None
        opened = socket.create_connection((address.hostname, address.port), 10)
        if first:
            opened.sendall(first)
        return opened


@pytest.fixture(scope="module")
def served(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("log") / "view.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "view", "--port", "0", "--workspace", str(finished_workspace)],
            cwd=REPO,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (HANDLES, HANDLES)),
        )
    try:
        assert process.stdout is not None
        yield Served(process.stdout.readline().strip(), log)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130)
    finally:
        process.kill()
        process.wait(20)


def closed_by_peer(opened: socket.socket, seconds: float) -> bool:
    opened.settimeout(seconds)
    try:
        return opened.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def test_missing_handles_are_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("test_hostile_sockets")
    logger.addFilter(SaidOnce())
    for _ in range(3):
        logger.error("socket.accept() out of system resource\nsocket: 5", exc_info=OSError(24, "Too many open files"))
    assert [(record.getMessage().count("\n"), record.exc_info) for record in caplog.records] == [(0, None)]


def test_half_open_sockets_leave_the_server_alive_and_quiet(served: Served) -> None:
    """Of all three kinds at once: the server closes them in its own time, which this test waits for."""
    assert served.status() == 200
    with contextlib.ExitStack() as stack:
        for number in range(TOO_MANY):
            with contextlib.suppress(OSError):
                stack.enter_context(served.open(HALF_OPEN[number % len(HALF_OPEN)]))
        assert served.status() == 200
        clip = httpx.get(f"{served.url}api/clip", params={"dataset": DATASET, "clip": "diving_0000"}, timeout=60)
        assert served.status(f"frames/{clip.json()['frames']['key']}/all") == 200
    assert served.status() == 200
    assert len([line for line in served.log() if "connections at once" in line or "socket.accept()" in line]) <= 2
    assert served.tracebacks() == []


def test_a_request_that_never_ends_is_closed_in_time(served: Served) -> None:
    start = time.monotonic()
    with served.open(b"GET / HTTP/1.1\r\n") as half, served.open() as silent:
        for _ in range(3):  # a drop now and then doesn't make it live longer
            time.sleep(1)
            half.sendall(b"x-more: y\r\n")
        assert closed_by_peer(half, 30)
        assert closed_by_peer(silent, 30)
    assert time.monotonic() - start < 30


def test_one_connection_may_ask_again_and_again(served: Served) -> None:
    with httpx.Client(base_url=served.url, timeout=60) as client:
        for _ in range(5):
            assert client.get("/api/session").status_code == 200
            time.sleep(0.5)


@pytest.mark.parametrize("path", ["frames", "files"])
@pytest.mark.parametrize("wanted", ["bytes=" + "9" * 5000 + "-", "bytes=-" + "9" * 5000, "bytes=0-" + "9" * 5000])
def test_a_range_of_thousands_of_digits_is_416(served: Served, path: str, wanted: str) -> None:
    clip = httpx.get(f"{served.url}api/clip", params={"dataset": DATASET, "clip": "diving_0000"}, timeout=60).json()
    key = clip["frames"]["key"]
    address = f"frames/{key}/all" if path == "frames" else f"files/normalize/{key}.h5"
    assert served.status(address, headers={"range": wanted}) == 416
    assert served.tracebacks() == []


def test_a_web_socket_is_400_without_a_traceback(served: Served) -> None:
    for path in ("api/session", "", "nowhere"):
        assert served.status(path, headers=UPGRADE) == 400
    assert not any("Traceback" in line or "Error" in line for line in served.log())


def test_a_length_of_thousands_of_digits_is_413(served: Served) -> None:
    csrf = httpx.get(f"{served.url}api/session", timeout=60).json()["csrf"]
    with served.open() as opened:
        host = urlsplit(served.url).netloc
        opened.sendall(
            f"POST /api/labels HTTP/1.1\r\nhost: {host}\r\nx-tubeflow-csrf: {csrf}\r\n"
            f"content-type: application/json\r\ncontent-length: {'9' * 5000}\r\n\r\n".encode()
        )
        opened.settimeout(30)
        assert opened.recv(12) in (b"HTTP/1.1 413", b"HTTP/1.1 400")
    assert served.tracebacks() == []
