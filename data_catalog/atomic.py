"""Replace a file in one step: written beside it under a locked temporary name, synced, renamed.

The temporary file is locked (flock) by the process that writes it, so whoever finds one without a lock knows that
its writer was killed, on this machine or another, and `sweep` removes it.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from data_catalog.locks import hold_lock, try_lock
from data_catalog.plain_file import make_room
from data_catalog.system import sync_folder


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; afterwards it is `path`, or after an exception it is gone.

    The block must write into the file that is there (opening it for writing is fine), not put another in its place.

    Raises:
        OSError: the disk is full or the folder can't be written; `path` is what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, lock = _locked_file(path)
    try:
        yield temporary
        os.fsync(lock.fileno())
        make_room(path)
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        lock.close()


def _locked_file(path: Path) -> tuple[Path, IO[bytes]]:
    while True:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        file = temporary.open("xb")
        hold_lock(file)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # swept in the moment between its creation and the lock


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files of dead writers below a folder; those of live ones are locked and stay."""
    removed: list[Path] = []
    for path in folder.rglob(".*.tmp"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if try_lock(file):  # where there are no locks, nobody knows whose it is, and it stays
                path.unlink()
                removed.append(path)
    return removed
