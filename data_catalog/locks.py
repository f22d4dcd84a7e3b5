"""Locks between processes (flock), and what is done where a file system has none.

Some network and user-space file systems refuse flock (ENOLCK, ENOTSUP, ENOSYS). Work continues there without: every
artifact is written beside its place and renamed into it, so a single run is as safe as elsewhere; only two runs at once
are not kept apart. That is said once a process, see `sentences`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from data_catalog import notices
from data_catalog.system import NoLocks, flock

logger = logging.getLogger(__name__)

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
LOOK_SECONDS = 0.05
SILENT_SECONDS = 3.0

_lockless: set[int] = set()  # devices whose file system has no locks
_sentences: list[str] = []
_threads: dict[str, threading.RLock] = {}
_guard = threading.Lock()


def sentences() -> list[str]:
    """What this process met of file systems without locks: every run's record says it."""
    return [*_sentences]


def try_lock(file: IO[Any]) -> bool | None:
    """Lock an open file for this process.

    Returns:
        True: it is ours until it is closed. False: another process holds it. None: this file system has no locks.
    """
    device = os.fstat(file.fileno()).st_dev
    if device in _lockless:
        return None
    try:
        flock(file)
    except BlockingIOError:
        return False
    except (OSError, NoLocks) as exc:
        if isinstance(exc, OSError) and exc.errno not in NO_LOCKS:
            raise
        _remember(device, Path(os.fsdecode(file.name)).parent)
        return None
    return True


def hold_lock(file: IO[Any]) -> None:
    """Lock an open file as soon as nobody else holds it; nothing where the file system has no locks."""
    started, silent = time.monotonic(), True
    while try_lock(file) is False:
        if silent and time.monotonic() - started > SILENT_SECONDS:
            silent = False
            logger.warning("Waiting for another process, which holds %s …", os.fsdecode(file.name))
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file `path`, waiting for whoever holds it; the file and its folder are created and stay.

    Threads of one process are kept apart too, also where the file system has no locks.

    Raises:
        OSError: the file can't be opened for writing.
    """
    with _guard:
        mine = _threads.setdefault(os.path.abspath(path), threading.RLock())
    path.parent.mkdir(parents=True, exist_ok=True)
    with mine, path.open("ab") as file:
        hold_lock(file)
        yield


def _remember(device: int, folder: Path) -> None:
    with _guard:
        if device in _lockless:
            return
        _lockless.add(device)
    sentence = (
        f"The file system of {folder} has no locks: two runs at once in this workspace are not kept apart; "
        "run one at a time."
    )
    _sentences.append(sentence)
    notices.add(sentence)
