"""Dask and Ray clusters of real processes, as a user starts them by hand; all of them end with their block."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from tests.support import REPO
from tests.support.prefect_server import end, free_port, running

START_SECONDS = 120


@contextlib.contextmanager
def dask_cluster(
    folder: Path, environment: Mapping[str, str], workers: Mapping[str, str], before: Sequence[str] = ()
) -> Iterator[Path]:
    """`dask scheduler` and workers of one thread, by name with their resources; the scheduler's file.

    `before` is a command that starts another one, here each worker.
    """
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = ["dask", "scheduler", "--host", "127.0.0.1", "--port", "0", *common]
    with contextlib.ExitStack() as stack:
        stack.enter_context(running("scheduler", scheduler, dict(environment), folder))
        for name, resources in workers.items():
            words = ["dask", "worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--name", name, *common]
            words += ["--local-directory", str(folder / name), *(["--resources", resources] if resources else [])]
            stack.enter_context(running(name, words, dict(environment), folder, before))
        limit = time.monotonic() + START_SECONDS
        while not all("Registered to" in (folder / f"{name}.log").read_text() for name in workers):
            assert time.monotonic() < limit, [path.read_text() for path in folder.glob("*.log")]
            time.sleep(0.1)
        yield file


@contextlib.contextmanager
def ray_cluster(environment: dict[str, str], nodes: Sequence[Sequence[str]]) -> Iterator[dict[str, str]]:
    """A Ray head and further nodes, of one processor each, with their options.

    `environment` is given what a run needs to be let in.

    Yields:
        The head's addresses: for Ray's client (`client`), and as its nodes know it (`head`).
    """
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as folder,
        contextlib.ExitStack() as stack,
    ):  # sockets' paths are short
        environment |= {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        port, client = free_port(), free_port()
        first = ["--head", f"--port={port}", f"--ray-client-server-port={client}", "--include-dashboard=false"]
        for number, options in enumerate(nodes):
            place = first if number == 0 else [f"--address=127.0.0.1:{port}"]
            words = ["start", *place, "--block", "--num-cpus=1", "--disable-usage-stats", *options]
            command = [str(Path(sys.executable).with_name("ray")), *words, "--object-store-memory=80000000"]
            log = Path(folder) / f"node{number}.log"
            node = psutil.Popen(
                command, cwd=REPO, env=environment, stdin=subprocess.DEVNULL, stdout=log.open("w"),
                stderr=subprocess.STDOUT,
            )  # fmt: skip
            stack.callback(end, node)
            limit = time.monotonic() + START_SECONDS
            while "Ray runtime started" not in log.read_text():
                assert node.poll() is None, log.read_text()
                assert time.monotonic() < limit, log.read_text()
                time.sleep(0.1)
        yield {"client": f"ray://127.0.0.1:{client}", "head": f"127.0.0.1:{port}"}
