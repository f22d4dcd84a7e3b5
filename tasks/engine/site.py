"""Whether a worker sees what the run sees: the same workspace, the same versions, the same Prefect server.

A worker that doesn't would find nothing that others made, and every clip's video missing. It looks once, before its
first shard of a run.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_catalog.catalog import Workspace
from tasks.engine.errors import EngineError

PATIENCE_SECONDS = 3.0  # for a file system that shows another machine's files a moment later
LOOK_SECONDS = 0.1
LIBRARIES = ("tubeflow", "numpy", "av", "opencv-python", "h5py", "torch", "torchvision", "ultralytics", "prefect")


NO_PLUGINS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Site:
    """What every worker of a run has to find.

    Attributes:
        file: a file of the workspace, relative to its root, made for this run.
        token: what is written in it.
        folders: where the clips' videos are.
        server: the API of the Prefect server.
        versions: of Python and of the libraries.
    """

    file: str
    token: str
    folders: tuple[str, ...]
    server: str | None
    versions: tuple[tuple[str, str], ...]

    @classmethod
    def make(
        cls, workspace: Workspace, folders: tuple[str, ...], server: str | None, plugins: Mapping[str, str] = NO_PLUGINS
    ) -> Site:
        """The site of a run that begins; its file goes with the store's folder for temporary files.

        `plugins`: version of each package that brings a part which the run asks for.
        """
        path, token = workspace.store.scratch("site"), secrets.token_hex(16)
        path.write_text(token)
        wanted = tuple((versions() | dict(plugins)).items())
        return cls(str(path.relative_to(workspace.root)), token, folders, server, wanted)


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change what a stage makes, or how shards travel."""
    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"Python": ".".join(map(str, sys.version_info[:2])), **found}


@functools.lru_cache(maxsize=16)
def check_in(site: Site, root: Path) -> None:
    """See that this process is where the run is. What it found once, it doesn't look for again.

    Raises:
        EngineError: it isn't; the sentence says what is missing on which machine, and what to do.
    """
    here = f"The worker {os.getpid()} on {socket.gethostname()}"
    mine = {name: _version(name) for name, _ in site.versions}
    other = [f"{name} {mine[name]} instead of {wanted}" for name, wanted in site.versions if mine[name] != wanted]
    if other:
        raise EngineError(f"{here} has {', '.join(other)}; install the same versions on every machine.")
    if _read(root / site.file) != site.token:
        raise EngineError(
            f"{here} doesn't see this run's workspace at {root}; mount the same folder there, at the same path."
        )
    missing = [folder for folder in site.folders if not os.path.isdir(folder)]
    if missing:
        raise EngineError(f"{here} doesn't see the videos in {missing[0]}; mount that folder there, at the same path.")
    if site.server is not None:
        _reach(site.server, here)


def _version(name: str) -> str:
    """The version that this process has, also of a plug-in's package, which may not be there at all."""
    if name in versions():
        return versions()[name]
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _read(path: Path) -> str | None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return path.read_text()
        except (OSError, UnicodeDecodeError):
            if time.monotonic() > limit:
                return None
            time.sleep(LOOK_SECONDS)


def _reach(server: str, here: str) -> None:
    import httpx  # only workers need it, not every command that makes a plan

    try:
        httpx.get(f"{server.rstrip('/')}/health", timeout=8.0)
    except httpx.HTTPError as exc:
        raise EngineError(
            f"{here} doesn't reach the Prefect server {server} ({type(exc).__name__}); start one that every machine "
            "reaches, set PREFECT_API_URL to its address, and run again."
        ) from exc
