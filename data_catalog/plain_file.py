"""Files of a workspace are plain files: a folder, link, pipe or device in the place of one is damage like any other.

Opening a pipe waits for a writer, and opening a link reads what somebody else put somewhere else; so what lies there
is looked at first, and looked at again once it is open.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from functools import partial
from io import BufferedReader
from pathlib import Path

from data_catalog.errors import ArtifactDamaged
from data_catalog.system import open_no_follow

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def is_plain(path: Path) -> bool:
    """Whether a plain file is there; what it holds is not read."""
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def require_plain(path: Path) -> os.stat_result:
    """What the file system says of a plain file.

    Raises:
        FileNotFoundError: there is nothing.
        ArtifactDamaged: something else is in its place.
    """
    found = path.lstat()
    _check(path, found)
    return found


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file for reading, without following a link or waiting for a pipe.

    Raises:
        FileNotFoundError: there is nothing.
        ArtifactDamaged: something else is in its place, or it may not be read.
    """
    require_plain(path)
    try:
        return os.fdopen(open_checked(path, partial(_check, path)), "rb")
    except PermissionError as exc:
        raise ArtifactDamaged(path, "can't be read: permission denied") from exc
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO):  # a link or a socket since the look before
            raise ArtifactDamaged(path, "is not a plain file") from exc
        raise


def open_checked(path: Path | str, check: Callable[[os.stat_result], None]) -> int:
    """Open what was looked at before, without following a link or waiting for a pipe, and look at it again.

    Args:
        path: what is to be opened.
        check: asked of what opened, which may be another file by now; raises where it must not be read.

    Returns:
        A descriptor at the first byte, which the caller closes.

    Raises:
        OSError: it is missing, or may not be read; and whatever `check` raises.
    """
    descriptor = open_no_follow(path)
    try:
        check(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_plain(path: Path) -> bytes:
    """The content of a plain file. Raises as `open_plain`."""
    with open_plain(path) as file:
        return file.read()


def file_digest(path: Path) -> str:
    """SHA-256 of a plain file's content. Raises as `open_plain`."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clear(path: Path) -> None:
    """Remove whatever is in a file's place; what a link leads to stays. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_room(path: Path) -> None:
    """Remove a folder from a file's place, so that a file can be renamed to there. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for test, name in _KINDS if test(found.st_mode)), "a device")
        raise ArtifactDamaged(path, f"is {kind}, not a file")
