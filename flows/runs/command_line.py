"""The command that a run, or a page, was made by."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path


def command_line() -> str:
    """The command of this process, as one would type it."""
    program = Path(sys.argv[0])
    if program.name == "tubeflow" or program.parts[-2:] == ("cli", "__main__.py"):
        return shlex.join(["tubeflow", *sys.argv[1:]])
    if "PREFECT__FLOW_RUN_ID" in os.environ:  # a worker started this process for a run that somebody asked for
        return "prefect deployment run"
    return shlex.join(["python", *sys.orig_argv[1:]])
