"""The habits that machines can check: pre-commit's hooks, the citation, and the tree that CONTRIBUTING.md shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.support import REPO

BIN = Path(sys.executable).parent
PACKAGES = ("flows", "tasks", "models", "data_catalog")
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]


def pre_commit(folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PRE_COMMIT_HOME": str(home)}
    command = [str(BIN / "pre-commit"), "run", "--all-files", "--show-diff-on-failure", "--color=never"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that git knows, as they are now, in a repository of their own: hooks mend what they find."""
    folder = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("needs a git checkout: which files are the project's is what git knows")
    for name in listed.stdout.split("\0"):
        if (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, folder / name)
    for words in (["init", "-q"], ["add", "--all"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def test_hooks_are_content_and_find_what_they_are_for(checkout: Path, tmp_path: Path) -> None:
    found = pre_commit(checkout, tmp_path / "home")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("Passed") == 5, found.stdout
    (checkout / "tasks" / "bad.py").write_text("import os\n")
    (checkout / "misspelt.md").write_text("T" + "eh tube.\n")  # in two parts, or the hook finds it in this file
    (checkout / "trailing.md").write_text("A tube. \n")
    (checkout / "open.md").write_text("A tube.")
    (checkout / "large.bin").write_bytes(bytes(7_000_000))
    subprocess.run(["git", "add", "--all"], cwd=checkout, check=True)
    found = pre_commit(checkout, tmp_path / "home")
    assert found.stdout.count("Failed") == 5, found.stdout
    for name in ("bad.py", "misspelt.md", "trailing.md", "open.md", "large.bin"):
        assert name in found.stdout


def test_citation_is_of_this_version() -> None:
    """Checked against the schema of the Citation File Format 1.2.0 by cffconvert when it was written."""
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what the format requires
    assert citation["cff-version"] == "1.2.0"
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert all(person.keys() <= {"name", "family-names", "given-names"} for person in citation["authors"])


def rooms() -> dict[str, set[str]]:
    """The packages and the folders directly below them that hold files of the project."""
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        found[package] = {
            path.relative_to(REPO / package).parts[0]
            for path in (REPO / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.parent != REPO / package
        }
    return found


def test_contributing_shows_every_room_with_a_line() -> None:
    page = (REPO / "CONTRIBUTING.md").read_text()
    tree = re.search(r"```\n(flows/ .*?)```", page, re.DOTALL)
    assert tree
    shown: dict[str, set[str]] = {}
    package = ""
    for line in tree[1].splitlines():
        match = re.fullmatch(r"( *)([\w]+)/ {2,}(\S.{10,})", line)
        if not match:
            assert re.fullmatch(r" {10,}\S.*", line), f"neither a room nor a line that continues one: {line!r}"
        elif match[1]:
            shown[package].add(match[2])
        else:
            package = match[2]
            shown[package] = set()
    assert shown == rooms()
