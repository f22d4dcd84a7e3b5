"""Runs that a person starts from the pages: the command itself in a process of its own, or a Prefect deployment.

A local job is exactly the command that the page shows, as a child process: it can be stopped, it outlives no server,
and what it completed is kept whatever happens to it. The child tells its progress in lines of JSON among its output.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from data_catalog.catalog import CatalogError
from data_catalog.system import interrupt_group, kill_group
from flows.console import PROGRESS, PROGRESS_LINES
from flows.view.command import shown

State = Literal["running", "done", "failed", "cancelled"]
LINES, KEPT_JOBS = 40, 50
PATIENCE_SECONDS = 10.0
PROGRAM = "import sys; sys.argv[0] = 'tubeflow'; from flows.cli import app; app()"


@dataclass
class RerunJob:
    """One run under way or ended.

    Attributes:
        scope: `clip` for one clip's tube, `all` for everything that follows.
        done, total: of the stage that it is in.
        left: seconds that the run still takes; None where nobody knows.
        message: why it failed, in one sentence, or what Prefect says.
        url: its page in Prefect's own pages.
    """

    via: Literal["local", "prefect"]
    dataset: str
    clip: str
    scope: str
    command: str
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    state: State = "running"
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    stage: str | None = None
    done: int = 0
    total: int | None = None
    left: float | None = None
    message: str | None = None
    url: str | None = None
    lines: collections.deque[str] = field(default_factory=lambda: collections.deque(maxlen=LINES))
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def as_json(self) -> dict[str, object]:
        """What the pages poll."""
        names = ("id", "via", "dataset", "clip", "scope", "command", "state", "started")
        seconds = (self.ended or time.monotonic()) - self.began
        told = {name: getattr(self, name) for name in (*names, "stage", "done", "total", "left", "message", "url")}
        return {**told, "seconds": round(seconds, 1), "lines": list(self.lines)}

    def end(self, state: State, message: str | None = None) -> None:
        """From here on nothing changes any more."""
        self.message = message if message is not None else self.message
        self.ended = time.monotonic()
        self.state = state


class NoJob(CatalogError):
    """There is no job of this id."""


class Jobs:
    """All jobs of one server; at most one local run of a dataset at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: collections.OrderedDict[str, RerunJob] = collections.OrderedDict()
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def all(self) -> list[RerunJob]:
        """Newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def get(self, name: str) -> RerunJob:
        """Raises NoJob."""
        with self._lock:
            job = self._jobs.get(name)
        if job is None:
            raise NoJob("This run isn't known to the server, which was started after it.")
        return job

    def add(self, job: RerunJob) -> None:
        """Remember a job. Raises CatalogError where one of its dataset is under way."""
        with self._lock:
            for other in self._jobs.values():
                if other.state == "running" and other.via == job.via and other.dataset == job.dataset:
                    raise CatalogError(f"A run of dataset '{job.dataset}' is under way; wait for it, or stop it.")
            self._jobs[job.id] = job
            while len(self._jobs) > KEPT_JOBS:
                self._jobs.popitem(last=False)

    def start_local(self, job: RerunJob, words: Sequence[str], finished: Callable[[], None]) -> RerunJob:
        """Run `tubeflow …` in a process of its own; `finished` is called before its end is told."""
        job.command = shown(list(words))
        self.add(job)
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, PROGRESS: PROGRESS_LINES, "COLUMNS": "120"},
                start_new_session=True,  # so that it can be stopped with everything that it started
            )
        except OSError as exc:
            job.end("failed", f"The run could not be started: {exc.strerror}.")
            return job
        with self._lock:
            self._processes[job.id] = process
        threading.Thread(target=self._follow, args=(job, process, finished), daemon=True).start()
        return job

    def _follow(self, job: RerunJob, process: subprocess.Popen[str], finished: Callable[[], None]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            _read_line(job, line)
        status = process.wait()
        with self._lock:
            self._processes.pop(job.id, None)
        stopped = job.message == STOPPED
        with contextlib.suppress(Exception):  # the next request reads the workspace again anyway
            finished()
        if stopped:
            job.end("cancelled")
        elif status == 0:
            job.end("done")
        else:
            last = next((line for line in reversed(job.lines) if line.strip()), "")
            job.end("failed", last or f"The run ended with status {status}.")

    def cancel(self, name: str) -> RerunJob:
        """Ask a local run to stop, and make it after ten seconds. Raises NoJob, CatalogError."""
        job = self.get(name)
        with self._lock:
            process = self._processes.get(name)
        if job.state != "running":
            return job
        if process is None:
            raise CatalogError("This run belongs to the Prefect server; stop it on its page there.")
        job.message = STOPPED
        _stop(process, interrupt_group)
        timer = threading.Timer(PATIENCE_SECONDS, _stop, (process, kill_group))
        timer.daemon = True
        timer.start()
        return job

    def close(self) -> None:
        """Stop what is still running; the server ends."""
        with self._lock:
            processes = list(self._processes.values())
        for process in processes:
            _stop(process, interrupt_group)
        for process in processes:
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                _stop(process, kill_group)
                process.wait()  # nothing is left when this returns


STOPPED = "Stopped; what it completed is kept."


def _stop(process: subprocess.Popen[str], how: Callable[[subprocess.Popen[str]], None]) -> None:
    if process.poll() is None:
        how(process)


def _read_line(job: RerunJob, line: str) -> None:
    """A line of the child's output: progress, or something that a person reads."""
    if line.startswith('{"progress"'):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            told = json.loads(line)["progress"]
            if told["stage"] != job.stage:
                job.total = None
            job.stage, job.done = str(told["stage"]), int(told["done"])
            job.total = job.total if told["total"] is None else int(told["total"])
            job.left = None if told.get("left") is None else float(told["left"])
            return
    job.lines.append(line.rstrip("\n"))
