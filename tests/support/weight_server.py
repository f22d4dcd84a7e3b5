"""A real HTTP server on loopback that can be told to misbehave, one rule a path."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class Rule:
    """How one path is answered.

    `cut_after`: bytes after which the n-th request's connection is cut (one number a request, then whole).
    `stall`: wait instead of cutting. `claim`: the Content-Length that is stated instead of the true one.
    """

    body: bytes = b""
    status: int = 200
    etag: str | None = None
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    stall: bool = False
    claim: int | None = None
    content_type: str = "application/octet-stream"
    location: str | None = None
    statuses: list[int] = field(default_factory=list)
    slow_s: float = 0.0
    no_length: bool = False


@dataclass
class Request:
    path: str
    range: str | None
    if_range: str | None


class Server:
    def __init__(self) -> None:
        self.rules: dict[str, Rule] = {}
        self.requests: list[Request] = []
        self.release = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

            def do_GET(self) -> None:
                server.answer(self)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["Server"]:
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.release.set()
            self._http.shutdown()
            self._http.server_close()
            thread.join()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        rule = self.rules[path]
        headers = handler.headers
        self.requests.append(Request(path, headers.get("Range"), headers.get("If-Range")))
        status = rule.statuses.pop(0) if rule.statuses else rule.status
        if status != 200:
            handler.send_response(status)
            if rule.location:
                handler.send_header("Location", rule.location)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        start = self._start(rule, headers.get("Range"), headers.get("If-Range"))
        if start > 0 and start >= len(rule.body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(rule.body)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        self._send(handler, rule, start)

    def _start(self, rule: Rule, asked: str | None, if_range: str | None) -> int:
        if not asked or not rule.ranges or (if_range and if_range != rule.etag):
            return 0
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        assert match
        return int(match[1])

    def _send(self, handler: BaseHTTPRequestHandler, rule: Rule, start: int) -> None:
        handler.send_response(206 if start else 200)
        length = rule.claim if rule.claim is not None else len(rule.body)
        handler.send_header("Content-Type", rule.content_type)
        if not rule.no_length:
            handler.send_header("Content-Length", str(length - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{length - 1}/{length}")
        if rule.etag:
            handler.send_header("ETag", rule.etag)
        handler.end_headers()
        body = rule.body[start:]
        cut = rule.cut_after.pop(0) if rule.cut_after else len(body)
        try:
            for at in range(0, min(cut, len(body)), 1 << 14):
                handler.wfile.write(body[at : min(at + (1 << 14), cut)])
                time.sleep(rule.slow_s)
            handler.wfile.flush()
            if cut < len(body) and rule.stall:
                self.release.wait(20)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client gave up first, which some tests are about
        handler.close_connection = True


def write_registry(folder: Path, name: str, **fields: object) -> Path:
    """One registry entry with one file."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f'{key} = "{key} of {name}"' for key in ("purpose", "page", "licence", "citation")]
    lines += ["[[files]]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
    (folder / f"{name}.toml").write_text("\n".join(lines) + "\n")
    return folder
