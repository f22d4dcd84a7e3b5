"""What happens to memory that is freed: the only module that says so.

A training step frees hundreds of megabytes and asks for them again a moment later. glibc gives each large block back to
the kernel, which clears every page before it hands it out anew: a third of the processor's time of training on pixels
(`python -m benchmarks.features`). While something trains, freed memory stays with the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from typing import Any, Final

# malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
_NEVER: Final = -1
# glibc's own highest threshold of blocks that are mapped one by one, and how many may be. It would find the threshold
# by itself, but stops looking once somebody has set a number.
_LARGEST: Final = 32 << 20
_MAPPED: Final = 65536

_lock = threading.Lock()
_inside = [0]


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Inside, memory that is freed stays with the process; afterwards what is free is given back.

    May be entered by several threads and more than once. Where the C library isn't glibc, or the user has set its
    numbers themselves (``MALLOC_…``, ``GLIBC_TUNABLES``), nothing changes.
    """
    library = _glibc()
    if library is None:
        yield
        return
    with _lock:
        _inside[0] += 1
        if _inside[0] == 1:
            _set(library, _ARENA_MAX, 1)   # another thread's can't grow beyond 64 MB, and maps what is larger
            _set(library, _MMAP_MAX, 0)
            _set(library, _TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        with _lock:
            _inside[0] -= 1
            if not _inside[0]:
                _set(library, _MMAP_THRESHOLD, _LARGEST)
                _set(library, _TRIM_THRESHOLD, 2 * _LARGEST)
                _set(library, _MMAP_MAX, _MAPPED)
                library.malloc_trim(0)


def _glibc() -> Any:
    """The C library, where it is glibc and nobody else has told it what to do."""
    if platform.libc_ver()[0] != "glibc" or any(
        name.startswith("MALLOC_") or (name == "GLIBC_TUNABLES" and "malloc" in value)
        for name, value in os.environ.items()
    ):
        return None
    return ctypes.CDLL(None)


def _set(library: Any, number: int, value: int) -> None:
    if library.mallopt(number, value) != 1:
        raise OSError(f"mallopt({number}, {value}) was refused")
