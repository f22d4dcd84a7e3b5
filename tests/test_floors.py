"""The oldest versions that pyproject.toml admits exist, fit together, and have wheels, for every Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support import REPO

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
USERS = ("excel", "onnx", "redis", "tensorboard")  # extras that bring no cluster or service, nor ask for a newer core
UNREACHABLE = re.compile(r"Failed to fetch|error sending request|dns error|Connection refused|network was disabled")


def find_uv() -> str | None:
    """The program beside this Python, or anywhere."""
    return shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def resolve(python: str, folder: Path) -> dict[str, Version]:
    """What uv chooses if it takes the oldest version of everything that pyproject names; wheels alone."""
    uv = find_uv()
    if uv is None:
        pytest.skip("needs uv: pip install 'tubeflow[test]'")
    command = [uv, "pip", "compile", "--no-config", "--quiet", "--no-annotate", "--no-header", "pyproject.toml"]
    command += [word for extra in USERS for word in ("--extra", extra)]
    command += ["--resolution", "lowest-direct", "--only-binary", ":all:", "--python-version", python]
    shutil.copy(REPO / "pyproject.toml", folder)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if UNREACHABLE.search(done.stderr):
        pytest.skip(f"the package index can't be reached: {done.stderr.strip().splitlines()[-1].strip()}")
    assert done.returncode == 0, done.stderr
    pairs = [line.split("==") for line in done.stdout.split()]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def floors(*lines: str) -> dict[str, Version]:
    """Package → the version that its bound begins with."""
    found = {}
    for requirement in map(Requirement, lines):
        (low,) = [one.version for one in requirement.specifier if one.operator == ">="]
        found[canonicalize_name(requirement.name)] = Version(low)
    return found


def user_floors() -> dict[str, Version]:
    extras = PROJECT["optional-dependencies"]
    return floors(*PROJECT["dependencies"], *(line for extra in USERS for line in extras[extra]))


def test_the_oldest_python_gets_the_floors_themselves(tmp_path: Path) -> None:
    """A floor that nothing can reach is no floor: something else would ask for a newer version."""
    resolved = resolve("3.11", tmp_path)
    above = {
        name: (str(floor), str(resolved[name]))
        for name, floor in user_floors().items()
        if resolved[name].release[: len(floor.release)] != floor.release
    }
    assert above == {}


def test_the_newest_python_has_wheels(tmp_path: Path) -> None:
    """Where the floor is older than this Python, the first version with a wheel for it is taken."""
    resolved = resolve("3.13", tmp_path)
    assert all(resolved[name] >= floor for name, floor in user_floors().items())
    assert resolved["torch"].release[:2] == (2, 6)


def test_what_laboratories_have_is_admitted() -> None:
    """Torch 2.6, NumPy 2.0, pandas 2.2, OpenCV 4.10; where exactly the floor lies stands in docs/install.md."""
    found = user_floors()
    wanted = {"torch": "2.6", "numpy": "2.0", "pandas": "2.2", "opencv-python": "4.10"}
    page = (REPO / "docs" / "install.md").read_text()
    for name, version in wanted.items():
        floor = found[name]
        assert floor.release[:2] <= Version(version).release[:2], f"{name} {floor} is newer than {version}"
        assert f"| {name} | {floor} |" in page, f"docs/install.md says nothing of {name} {floor}"
    for requirement in map(Requirement, PROJECT["dependencies"]):
        if requirement.name == "torch":
            assert requirement.specifier.contains("2.14.1")
            assert not requirement.specifier.contains("2.15.0")


def test_the_page_says_of_every_floor_why_it_is_not_older() -> None:
    """A row for each package of the core, or one for several, with the floors in the order of the names."""
    page = (REPO / "docs" / "install.md").read_text()
    rows = re.findall(r"^\| ([a-z][\w, -]*) \| ([\d., ]+) \| (.+) \|$", page, re.MULTILINE)
    said = {
        canonicalize_name(name): (Version(floor), why)
        for names, floors_of_them, why in rows
        for name, floor in zip(names.split(", "), floors_of_them.split(", "), strict=True)
    }
    assert {name: floor for name, (floor, _) in said.items()} == floors(*PROJECT["dependencies"])
    assert all(len(why) > 10 for _, why in said.values())
