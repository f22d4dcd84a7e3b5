"""The tutorials as programs: their commands, and the files that they have somebody save."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.support import REPO

FOLDER = REPO / "docs" / "tutorials"
BLOCK = re.compile(r'^```(\w*)(?: title="([\w./-]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of code: its language, the file that it is to be saved as, if any, and what stands in it."""

    language: str
    file: str
    text: str


def blocks(page: str) -> list[Block]:
    """All blocks of a tutorial. Raises ValueError for one that nobody could carry out."""
    found = [Block(*match) for match in BLOCK.findall((FOLDER / page).read_text(encoding="utf-8"))]
    for block in found:
        if block.language != "bash" and not block.file:
            raise ValueError(f"{page}: a block of '{block.language}' is neither a command nor a file to be saved")
    return found


def carry_out(page: str, folder: Path) -> str:
    """Do what a tutorial says in a folder; what its commands printed. A command that fails is an AssertionError."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPO),
        "COLUMNS": "160",
    }
    said = []
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
            continue
        command = ["bash", "-euo", "pipefail", "-c", block.text]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page}:\n{block.text}\n{done.stdout}{done.stderr}"
        said.append(done.stdout + done.stderr)
    return "\n".join(said)
