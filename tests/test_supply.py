"""What gets installed: every package pinned with the digests of its wheels, and nothing else let in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import REPO

LOCKS = ("run", "dev", "tools")
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
BLOCK = re.compile(r"(\S+)==(\S+)(?: ; ([^\\]+?))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")


def pins(name: str) -> dict[str, dict[str, str]]:
    """The versions of each package in `requirements/NAME.txt`, each with its whole entry."""
    found: dict[str, dict[str, str]] = {}
    for entry in BLOCK.finditer((REPO / "requirements" / f"{name}.txt").read_text()):
        found.setdefault(canonicalize_name(entry[1]), {})[entry[2]] = entry[0]
    return found


def digests(versions: dict[str, str]) -> dict[str, list[str]]:
    """What each version's wheels are, without the marker that says where it is needed."""
    return {version: re.findall(r"--hash=\S+", entry) for version, entry in versions.items()}


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_nothing_but_pins_with_digests(name: str) -> None:
    """No package without a digest, and no option or address: where packages come from is the machine's own matter."""
    text = (REPO / "requirements" / f"{name}.txt").read_text()
    assert BLOCK.sub("", text) == ""
    assert "://" not in text


def test_locks_fulfil_what_pyproject_asks_for() -> None:
    run, dev = pins("run"), pins("dev")
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    for lines, lock in ((PROJECT["dependencies"], run), (extras, dev)):
        for wanted in map(Requirement, lines):
            name = canonicalize_name(wanted.name)
            if name != PROJECT["name"]:
                assert name in lock, f"{wanted} is not locked: make lock"
                assert all(wanted.specifier.contains(version) for version in lock[name]), f"{wanted}: make lock"
    # On which interpreters a package is needed may differ: an extra may want it on more of them.
    other = [name for name, versions in run.items() if digests(dev[name]) != digests(versions)]
    assert other == [], "run.txt is no part of dev.txt: make lock"
    assert not {"pytest", "ruff", "playwright", "wandb"} & run.keys()


def test_tools_fulfil_what_is_asked_for() -> None:
    for wanted in map(Requirement, (REPO / "requirements" / "tools.in").read_text().split()):
        (version,) = pins("tools")[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), f"{wanted}: make lock"


def wheel(folder: Path, name: str, content: str) -> Path:
    """A wheel of one module."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


@pytest.mark.parametrize("case", ["as locked", "other bytes", "not locked"])
def test_make_setup_installs_locked_bytes_only(case: str, tmp_path: Path) -> None:
    """The Makefile's own command, with a folder of wheels in the registry's place."""
    shutil.copy(REPO / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    made = wheel(wheels, "divepool", "DEPTH = 5\n")
    hashed = subprocess.run([sys.executable, "-m", "pip", "hash", made], capture_output=True, text=True, check=True)
    lock = f"divepool==1.0 {hashed.stdout.split()[-1]}\n"
    (tmp_path / "requirements" / "dev.txt").write_text("divepool==1.0\n" if case == "not locked" else lock)
    if case == "other bytes":
        wheel(wheels, "divepool", "DEPTH = 4\n")
    (tmp_path / "pyproject.toml").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    command = ["make", "setup", f"PYTHON={sys.executable}"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    installed = list(tmp_path.glob(".venv/lib/python*/site-packages/divepool.py"))
    said = result.stdout + result.stderr
    assert bool(installed) is (case == "as locked"), said
    if case == "other bytes":
        assert "DO NOT MATCH THE HASHES" in said
    if case == "not locked":
        assert "Hashes are required" in said


def test_every_install_is_locked_or_said_not_to_be() -> None:
    makefile = (REPO / "Makefile").read_text()
    installs = re.findall(r"^\t.*(?:pip install|\$\(LOCKED\)).*$", makefile, re.MULTILINE)
    assert len(installs) == 3
    assert all("$(LOCKED)" in line or "--no-deps --no-build-isolation -e ." in line for line in installs)
    assert re.search(r"^LOCKED := .*--require-hashes --only-binary=:all:$", makefile, re.MULTILINE)
    dockerfile = re.sub(r"\\\n", "", (REPO / "Dockerfile").read_text())
    installs = re.findall(r"pip install[^&\n]*", dockerfile)
    locked, torch, ours = installs
    assert "--no-deps --require-hashes --only-binary=:all:" in locked
    assert "torch(vision)?" in torch
    assert "--no-deps --no-build-isolation --no-index ." in ours


def test_image_takes_everything_but_torch_with_digests(tmp_path: Path) -> None:
    """The Dockerfile's own programs take run.txt apart."""
    dockerfile = (REPO / "Dockerfile").read_text()
    (program,) = re.findall(r"awk '[^']+' requirements/run\.txt", dockerfile)
    kept = subprocess.run(program, shell=True, cwd=REPO, capture_output=True, text=True, check=True).stdout
    left_out = pins("run").keys() - {canonicalize_name(entry[1]) for entry in BLOCK.finditer(kept)}
    assert BLOCK.sub("", kept) == ""
    of_torch = {name for name in pins("run") if re.match(r"(cuda|nvidia)-", name)} - {"nvidia-ml-py"}
    assert left_out == {"torch", "torchvision", "triton"} | of_torch
    (program,) = re.findall(r"\$\((grep .*)\)", dockerfile)
    words = subprocess.run(program, shell=True, cwd=REPO, capture_output=True, text=True, check=True).stdout.split()
    assert words == [f"{name}=={version}" for name in ("torch", "torchvision") for version in pins("run")[name]]


@pytest.mark.slow
def test_the_bill_of_materials_lists_every_pin(tmp_path: Path) -> None:
    """`make sbom`; the tool that writes the file checks it against CycloneDX's schema before."""
    if os.environ.get("PIP_NO_INDEX"):
        pytest.skip("make sbom fetches its tool")
    for name in ("Makefile", "pyproject.toml", "requirements"):
        copy = shutil.copytree if (REPO / name).is_dir() else shutil.copy
        copy(REPO / name, tmp_path / name)
    result = subprocess.run(["make", "sbom"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    bill = json.loads((tmp_path / "build" / "sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == PROJECT["name"]
    listed = {(canonicalize_name(one["name"]), one["version"]) for one in bill["components"]}
    assert listed == {(name, version) for name, versions in pins("run").items() for version in versions}
    for one in bill["components"]:
        digests = {each["content"] for reference in one["externalReferences"] for each in reference["hashes"]}
        entry = pins("run")[canonicalize_name(one["name"])][one["version"]]
        assert digests == set(re.findall("sha256:([0-9a-f]{64})", entry))
