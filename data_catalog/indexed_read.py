"""From a key in an address to an artifact: only through the catalog's index, and never out of the workspace.

No part of an address is ever joined to a path. A key is looked up among the artifacts that the index knows, and the
file that the store names for it has to be a plain file that lies inside the workspace, links followed.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.plain_file import require_plain
from data_catalog.self_contained import open_self_contained
from data_catalog.store import Artifact, ArtifactDamaged
from data_catalog.tables.index import Record

KEY = re.compile(r"[0-9a-f]{40}", re.ASCII)
STAGES = ("normalize", "detect", "track", "masks", "features", "pack", "train", "evaluate")
KEPT_CLIPS = 8


class NoArtifact(CatalogError):
    """The catalog knows no such artifact, or its file isn't there."""


def find_record(workspace: Workspace, stage: str, key: str) -> Record:
    """The index's row of an artifact. Raises NoArtifact."""
    if stage not in STAGES or not KEY.fullmatch(key):
        raise NoArtifact("There is no such artifact.")
    record = workspace.index.rows.get((stage, key))
    if record is None:
        raise NoArtifact(f"The catalog knows no '{stage}' artifact of this key; it may be older than the page.")
    return record


def artifact_file(workspace: Workspace, stage: str, key: str) -> Path:
    """The file of a known artifact. Raises NoArtifact where it is gone, or is a link that leads out."""
    record = find_record(workspace, stage, key)
    path = workspace.store.path(record.stage, record.key)
    try:
        require_plain(path)
        inside = path.resolve(strict=True).is_relative_to(workspace.store.root.resolve())
    except ArtifactDamaged as exc:
        raise NoArtifact(workspace.discard(exc)) from exc
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        raise NoArtifact(f"The '{stage}' artifact is no longer there; run the dataset again.")
    return path


def read_artifact(workspace: Workspace, stage: str, key: str, names: Sequence[str] | None = None) -> Artifact:
    """A whole, verified artifact. Raises NoArtifact."""
    artifact_file(workspace, stage, key)
    try:
        return workspace.store.read(stage, key, names)
    except FileNotFoundError:
        raise NoArtifact(f"The '{stage}' artifact is no longer there; run the dataset again.") from None
    except ArtifactDamaged as exc:
        raise NoArtifact(workspace.discard(exc)) from exc


@contextmanager
def open_artifact(workspace: Workspace, stage: str, key: str) -> Iterator[h5py.File]:
    """The open file, for reading a small part of it; every chunk that is read is checked by its own checksum.

    Raises:
        NoArtifact: it isn't there, or can't be read.
    """
    path = artifact_file(workspace, stage, key)
    try:
        with open_self_contained(path) as file:
            yield file
    except (OSError, KeyError) as exc:
        raise NoArtifact(workspace.discard(ArtifactDamaged(path, "can't be read"))) from exc


class ClipFrames:
    """The JPEG streams of the clips that are looked at just now: read and verified once, then cut out of memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clips: OrderedDict[str, tuple[memoryview, NDArray[np.int64]]] = OrderedDict()

    def get(self, workspace: Workspace, key: str) -> tuple[memoryview, NDArray[np.int64]]:
        """All streams one after the other, and the (L + 1,) offsets between them. Raises NoArtifact."""
        with self._lock:
            if key in self._clips:
                self._clips.move_to_end(key)
                return self._clips[key]
        arrays = read_artifact(workspace, "normalize", key, ["frames", "frame_offsets"]).arrays
        found = memoryview(arrays["frames"].tobytes()), np.asarray(arrays["frame_offsets"], np.int64)
        with self._lock:
            self._clips[key] = found
            while len(self._clips) > KEPT_CLIPS:
                self._clips.popitem(last=False)
        return found
