"""Where operating systems differ: the only module that calls what not every one of them has.

Linux has all of it. macOS has no `sched_getaffinity` and no /proc; Windows has neither, nor flock, `killpg`, `pread`,
resource limits or SIGKILL. Each function says what happens where its call is absent; docs/install.md, what was tried.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
    import resource
except ImportError:  # Windows
    fcntl = resource = None  # type: ignore[assignment]

# Not to follow a link, not to wait for a pipe's writer, not to be inherited, bytes as they are.
_READING = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class NoLocks(Exception):
    """This system has no flock."""


def processors() -> int:
    """How many processors this process may use; where nobody says, how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def flock(file: IO[Any]) -> None:
    """Lock an open file for this process, or raise BlockingIOError where another has it; OSError, NoLocks."""
    if fcntl is None:
        raise NoLocks
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def open_no_follow(path: Path | str) -> int:
    """Open for reading; where the system can, a link is refused (ELOOP) and a pipe not waited for."""
    return os.open(path, os.O_RDONLY | _READING)


def path_of(descriptor: int) -> str | None:
    """Where an open file lies, links resolved; None where the system doesn't tell."""
    if os.path.exists(opened := f"/proc/self/fd/{descriptor}"):
        return os.readlink(opened)
    get_path = getattr(fcntl, "F_GETPATH", None)  # macOS
    if fcntl is not None and get_path is not None:
        return os.fsdecode(fcntl.fcntl(descriptor, get_path, bytes(1024)).rstrip(b"\0"))
    return None


def read_at(descriptor: int, count: int, position: int) -> bytes:
    """Up to `count` bytes from `position` on; where there is no pread, the descriptor's place is put back."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, position)
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.read(descriptor, count)
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut; nothing where folders can't be opened (Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        if hasattr(os, "O_BINARY"):
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def handle_limit() -> int | None:
    """How many files this process may have open; None where there is no limit, or nobody says."""
    if resource is None:
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if most == resource.RLIM_INFINITY else int(most)


def open_handles() -> int:
    """How many files this process has open; psutil counts them where there is no list of them."""
    for place in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(place))
    import psutil  # only where no folder tells

    count = getattr(psutil.Process(), "num_fds", None) or psutil.Process().num_handles
    return int(count())


def interrupt_group(process: subprocess.Popen[Any]) -> None:
    """Ctrl-C for a process that was started with `start_new_session`, and for all that it started."""
    _signal_group(process, "SIGINT", process.terminate)


def kill_group(process: subprocess.Popen[Any]) -> None:
    """End such a process and all that it started at once."""
    _signal_group(process, "SIGKILL", process.kill)


def _signal_group(process: subprocess.Popen[Any], name: str, alone: Any) -> None:
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg") and hasattr(signal, name):
            os.killpg(process.pid, getattr(signal, name))
        else:
            alone()


def clean_start_method() -> str:
    """How `multiprocessing` starts processes that copy no thread's locks: a fork server, else fresh ones."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
