"""Opens the files that users give us: regular ones, where they are said to be, and nothing else.

A name is no promise. Between a check and the use of a path the file can be replaced, and opening a FIFO blocks, a
device may do anything. So the check is made on the descriptor that is then read from.
"""

import os
import stat
from functools import partial
from pathlib import Path

from data_catalog.errors import BadVideo
from data_catalog.plain_file import open_checked
from data_catalog.system import path_of

FILE_REMEDY = "Put the file itself there, not a link, pipe or device."


def open_regular(path: Path, root: Path | None = None) -> int:
    """Open a regular file for reading.

    Args:
        path: the file; links on the way are followed as far as they stay inside `root`.
        root: the folder that the file has to lie in; None allows every place.

    Returns:
        A descriptor at the file's first byte, which the caller closes.

    Raises:
        BadVideo: it is no regular file, or lies outside `root`.
        OSError: it is missing, or may not be read.
    """
    real = os.path.realpath(path)
    _check_inside(real, path, root)
    # A FIFO without a writer would block, a device may act on being opened: look first, then look again at what opened.
    _check_regular(path, os.lstat(real))
    descriptor = open_checked(real, partial(_check_regular, path))
    try:
        if root is not None and (opened := path_of(descriptor)) is not None:
            _check_inside(opened, path, root)   # a folder on the way may have become a link meanwhile
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path, root: Path | None = None) -> bytes:
    """The content of a regular file. Raises as `open_regular`."""
    with os.fdopen(open_regular(path, root), "rb") as file:
        return file.read()


def _check_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadVideo(f"{path} is not a regular file.", FILE_REMEDY)


def _check_inside(real: str, path: Path, root: Path | None) -> None:
    if root is not None and not real.startswith(os.path.realpath(root).rstrip(os.sep) + os.sep):
        raise BadVideo(f"{path} is a link that leaves the folder {root}.", FILE_REMEDY)
