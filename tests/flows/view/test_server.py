"""`tubeflow view` as a process with a real socket: what it prints, large files in ranges, raw paths, its end."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.cli.view import address, listen
from tests.support import REPO
from tests.support.tiny_workspace import DATASET

ask = partial(httpx.get, timeout=60)  # every core may be busy


@contextmanager
def serving(root: Path, *words: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The address that the command prints, and its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "view", "--port", "0", "--workspace", str(root), *words],
        cwd=REPO,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.wait(20)


@pytest.fixture(scope="module")
def server(finished_workspace: Path) -> Iterator[str]:
    with serving(finished_workspace) as (url, _):
        yield url


def test_it_prints_an_address_of_this_machine_alone(server: str) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", server)
    answer = ask(server)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_a_large_file_comes_in_ranges(server: str) -> None:
    clip = ask(f"{server}api/clip", params={"dataset": DATASET, "clip": "diving_0000"}).json()
    file = next(entry for entry in clip["lineage"] if entry["stage"] == "normalize")
    whole = Path(file["path"]).read_bytes()
    frames = f"/frames/{clip['frames']['key']}/all"
    streams = ask(server + frames[1:]).content
    assert len(streams) == clip["frames"]["offsets"][-1]
    for path, content in ((file["download"], whole), (frames, streams)):
        size = len(content)
        for wanted, part in {
            "bytes=0-99": content[:100],
            "bytes=1000-": content[1000:],
            "bytes=-50": content[-50:],
            f"bytes=10-{10 * size}": content[10:],
        }.items():
            answer = ask(server + path[1:], headers={"range": wanted})
            assert (answer.status_code, answer.content) == (206, part), (path, wanted)
            begin = size - len(part) if wanted != "bytes=0-99" else 0
            assert answer.headers["content-range"] == f"bytes {begin}-{begin + len(part) - 1}/{size}"
        assert ask(server + path[1:], headers={"range": f"bytes={size}-"}).status_code == 416
        other = {"range": "bytes=0-9", "if-range": '"another"'}
        assert ask(server + path[1:], headers=other).status_code == 200
        with httpx.stream("GET", server + path[1:], timeout=60) as answer:  # in pieces, not in one
            assert b"".join(answer.iter_raw()) == content


def raw(server: str, request: bytes) -> bytes:
    """What a server answers to bytes that no client library has tidied up."""
    host, port = urlsplit(server).hostname, urlsplit(server).port
    with socket.create_connection((host or "", port or 0), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while block := connection.recv(65536):
            answer += block
        return answer


@pytest.mark.parametrize(
    "path",
    [
        b"/static/../clip_rows.py",
        b"/static/../../../../../../../../etc/passwd",
        b"/../../../../etc/passwd",
        b"/static/%2e%2e%2fclip_rows.py",
        b"//etc/passwd",
        b"/static//etc/passwd",
        b"/files/../../../etc/passwd",
        b"/files/normalize/..%2f..%2f..%2fetc%2fpasswd",
        b"/frames/..%00/all",
        b"http://evil.example/etc/passwd",
        b"/static/\xff\xfe",
    ],
)
def test_raw_paths_lead_nowhere(server: str, path: bytes) -> None:
    host = urlsplit(server).netloc.encode()
    answer = raw(server, b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 4\d\d ", answer), answer[:200]
    assert b"root:" not in answer
    assert b"import" not in answer


def test_two_host_headers_are_refused(server: str) -> None:
    host = urlsplit(server).netloc.encode()
    lines = b"Host: " + host + b"\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert b"HTTP/1.1 4" in raw(server, b"GET /api/session HTTP/1.1\r\n" + lines)[:12]


def test_bound_elsewhere_it_prints_a_token_once_and_ends_on_interrupt(finished_workspace: Path) -> None:
    with serving(finished_workspace, "--host", "0.0.0.0") as (url, process):
        token = urlsplit(url).query.removeprefix("token=")
        local = f"http://127.0.0.1:{urlsplit(url).port}/"
        assert len(token) >= 43
        assert ask(local).status_code == 401
        with httpx.Client(follow_redirects=True, timeout=60) as browser:
            assert browser.get(local, params={"token": token}).status_code == 200
            assert browser.get(f"{local}api/session").json()["csrf"] not in ("", token)
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=30)[0]
        assert token not in rest
        assert process.returncode in (0, -signal.SIGINT, 130)


def test_what_cannot_be_served_is_told_in_a_sentence(finished_workspace: Path, tmp_path: Path) -> None:
    def told(*words: str) -> str:
        result = CliRunner().invoke(app, ["view", *words])
        assert result.exit_code == 2, result.output
        return result.output

    assert "There is no workspace" in told("--workspace", str(tmp_path / "none"))
    there = ("--workspace", str(finished_workspace))
    assert "no dataset 'none'" in told("--dataset", "none", *there)
    assert "say which config" in told("-o", "masks.tau=0.3", *there)
    assert "no address of this machine" in told("--host", "host.invalid", *there)
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"Port {port} of 127.0.0.1 can't be used" in told("--port", port, *there)
    assert not (tmp_path / "none").exists()


def test_addresses() -> None:
    assert address("::1", 80, None) == "http://[::1]:80/"
    assert address("0.0.0.0", 80, "t").endswith(":80/?token=t")
