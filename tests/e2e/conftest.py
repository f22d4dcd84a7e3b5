"""Engine processes for the tests that kill them or let two of them meet."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import REPO


class Engines:
    """Starts engine processes through one `engine_process.py`, which has `environment` beside ours."""

    def __init__(self, errors: Path, **environment: str) -> None:
        self._errors = errors
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)} | environment
        command = [sys.executable, str(Path(__file__).with_name("engine_process.py"))]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors.open("w"), text=True, env=environment
        )

    def start(self, *requests: dict[str, Any]) -> list[int]:
        """Start runs together; returns their process ids."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(requests) + "\n")
        self._server.stdin.flush()
        return [int(self._answer("pid")) for _ in requests]

    def wait(self, count: int = 1) -> list[int]:
        """Exit statuses of the runs started last; -9 is a kill."""
        return [int(self._answer("end")) for _ in range(count)]

    def _answer(self, kind: str) -> str:
        assert self._server.stdout is not None
        line = self._server.stdout.readline().split()
        assert line[:1] == [kind], f"{line} {self.errors}"
        return line[1]

    @property
    def errors(self) -> str:
        """What the processes wrote to their error stream."""
        return self._errors.read_text()

    def run(self, root: Path, dataset: str = "tiny", **request: Any) -> dict[str, Any]:
        """Run to the end; returns the summary."""
        self.start({"root": str(root), "dataset": dataset, **request})
        assert self.wait() == [0], self.errors
        summary: dict[str, Any] = json.loads(Path(f"{root}.json").read_text())
        return summary

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(30)


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """A server of engine processes."""
    found = Engines(tmp_path_factory.mktemp("engines") / "errors.txt")
    yield found
    found.close()


@pytest.fixture
def engines_by() -> Iterator[Callable[..., Engines]]:
    """Starts further servers of engine processes, by the file for their errors and their environment."""
    with contextlib.ExitStack() as stack:

        def start(errors: Path, **environment: str) -> Engines:
            found = Engines(errors, **environment)
            stack.callback(found.close)
            return found

        yield start
