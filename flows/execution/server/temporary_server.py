"""A Prefect server for one command, where none is configured; it ends with the command, also when that is killed.

Prefect can start one by itself, but ties its life to ours only by `atexit`, which SIGKILL skips. Ours listens before it
loads anything, on a port that the system chooses and it tells us, so none can be taken in between, and its process
watches us from its first line on (`flows.execution.server.server_process`). Who calls a flow from Python without it
gets Prefect's; a guard ends that one.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO

import httpx
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from data_catalog.catalog import CatalogError
from flows.execution.server.named_server import OURS, server_is_named

PATIENCE_SECONDS = 300.0  # a busy machine takes more than Prefect's 20 s
SILENT_SECONDS = 3.0  # a longer wait is reported
STOP_SECONDS = 5.0
SERVER_SETTINGS = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_SERVER_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",  # what Prefect sets for the temporary server that it starts itself
    "PREFECT__SERVER_FINAL": "1",
}

WAIT_AND_END = """
import contextlib, os, signal, sys
sys.stdin.read()
with contextlib.suppress(ProcessLookupError):
    os.kill(int(sys.argv[1]), signal.SIGTERM)
"""

_guards: list[subprocess.Popen[bytes]] = []  # as long as one is kept, its pipe is open


@contextlib.contextmanager
def temporary_server(waiting: Callable[[str], None], meanwhile: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Run the body with a Prefect server of its own, unless one is named, or is running for us already.

    Args:
        waiting: called once with a sentence where the server takes longer than `SILENT_SECONDS`.
        meanwhile: called while ours starts; what the body needs and takes seconds itself, such as an import.

    Raises:
        CatalogError: a named server does not answer, or ours does not start.
    """
    if OURS:
        yield
        return
    if server_is_named():
        _check_named_server(str(get_current_settings().api.url))
        yield
        return
    _require_redis()
    with tempfile.TemporaryFile() as complaints:
        process = _start(complaints)
        try:
            url = f"http://127.0.0.1:{_port(process, complaints)}/api"
            meanwhile()
            _wait_until_ready(url, process, complaints, waiting)
            OURS.append(url)
            with temporary_settings({PREFECT_API_URL: url}):
                yield
        finally:
            OURS.clear()
            _stop_sending()
            _stop(process)


def _require_redis() -> None:
    """Our server takes the user's settings, and those that name `prefect_redis` need it here."""
    if importlib.util.find_spec("prefect_redis") is not None:
        return
    settings = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
    for name, value in settings.items():
        if name.startswith("PREFECT_") and value.startswith("prefect_redis"):
            raise CatalogError(
                f"{name} is {value}, but the package prefect-redis isn't installed; "
                f"pip install 'tubeflow[redis]', or unset {name}."
            )


def _start(complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    environment = {**os.environ, **settings, **SERVER_SETTINGS}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "flows.execution.server.server_process", str(os.getpid())]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
    )


def _port(process: subprocess.Popen[bytes], complaints: IO[bytes]) -> int:
    """Where the server listens, as it says before it loads anything. Raises CatalogError where it ended before."""
    assert process.stdout is not None
    with process.stdout as said:
        line = said.readline()
    if line.strip().isdigit():
        return int(line)
    process.wait(STOP_SECONDS)
    raise _ended_at_once(complaints)


def _ended_at_once(complaints: IO[bytes]) -> CatalogError:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").strip().splitlines() or ["it printed nothing"]
    return CatalogError(f"Prefect's temporary server ended at once: {lines[-1]}")


def _wait_until_ready(
    url: str, process: subprocess.Popen[bytes], complaints: IO[bytes], waiting: Callable[[str], None]
) -> None:
    started, silent = time.monotonic(), True
    with httpx.Client(trust_env=False, timeout=2.0) as client:  # loopback is never reached through a proxy
        while time.monotonic() - started < PATIENCE_SECONDS:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{url}/health").is_success:
                    return
            if process.poll() is not None:
                raise _ended_at_once(complaints)
            if silent and time.monotonic() - started > SILENT_SECONDS:
                silent = False
                waiting("Waiting for Prefect's temporary server to start …")
            time.sleep(0.05)
    raise CatalogError(
        f"Prefect's temporary server did not start within {PATIENCE_SECONDS:.0f} s; start one with "
        "'prefect server start', set PREFECT_API_URL=http://127.0.0.1:4200/api, and run again."
    )


def _check_named_server(url: str) -> None:
    try:
        httpx.get(f"{url.rstrip('/')}/health", timeout=8.0, trust_env="127.0.0.1" not in url and "localhost" not in url)
    except httpx.HTTPError as exc:
        raise CatalogError(
            f"The Prefect server {url} doesn't answer ({type(exc).__name__}); start it, or unset PREFECT_API_URL "
            "(and leave the profile that names it) to run without."
        ) from exc


def _stop_sending() -> None:
    """End what sends this process's events and logs; the next flow begins anew, at the server that is there then.

    Prefect keeps one sender a process, which would go on to call a server that has ended: for seconds an event, and at
    the end of the process for all of them.
    """
    # In a thread, because where a loop is running, as in a notebook, Prefect would want it to do the waiting.
    events = functools.partial(EventsWorker.drain_all, timeout=STOP_SECONDS, at_exit=False)
    logs = functools.partial(APILogWorker.drain_all, timeout=STOP_SECONDS, at_exit=False)
    threads = [threading.Thread(target=one, daemon=True) for one in (events, logs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(STOP_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdin is not None:
            process.stdin.close()


@functools.cache
def end_prefects_server_with_us() -> None:
    """Where Prefect started its own temporary server, see that it ends with us; call it once it runs."""
    module = sys.modules.get("prefect.server.api.server")  # importing it takes seconds, and means nothing by itself
    server = module.SubprocessASGIServer().server_process if module is not None else None
    if server is not None:
        waiting = [sys.executable, "-I", "-S", "-c", WAIT_AND_END, str(server.pid)]
        _guards.append(subprocess.Popen(waiting, stdin=subprocess.PIPE, start_new_session=True))
