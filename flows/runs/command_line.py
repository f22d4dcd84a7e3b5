"""The command that a run, or a page, was made by."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

_said: ContextVar[str | None] = ContextVar("_said", default=None)


@contextlib.contextmanager
def said_as(call: str) -> Iterator[None]:
    """While the block runs, what is made was made by this call of the Python API, not by the process's own command."""
    token = _said.set(call)
    try:
        yield
    finally:
        _said.reset(token)


def command_line() -> str:
    """The command of this process, as one would type it."""
    if (call := _said.get()) is not None:
        return call
    program = Path(sys.argv[0])
    if program.name == "tubeflow" or program.parts[-2:] == ("cli", "__main__.py"):
        return shlex.join(["tubeflow", *sys.argv[1:]])
    if "PREFECT__FLOW_RUN_ID" in os.environ:  # a worker started this process for a run that somebody asked for
        return "prefect deployment run"
    return shlex.join(["python", *sys.orig_argv[1:]])
