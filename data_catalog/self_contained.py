"""Opens HDF5 files whose content is all their own: no other file is read, no more memory filled than they can fill.

HDF5 lets a dataset lie in other files (external storage, virtual datasets, external links), lets a filter be loaded
from a plug-in, and lets a few bytes announce terabytes; a digest says nothing about any of these. What Tubeflow writes
has none of them, so a file that does was made by somebody else.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import h5py

DEFLATE_RATIO = 1032  # the most that deflate can shrink anything
LEAST_ROOM = 2**20    # bytes; a small file may announce as much, whatever its size
FILTERS = frozenset(  # HDF5's own, and LZF, which is compiled into h5py
    {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
)


class NotSelfContained(OSError):
    """What an HDF5 file refers to or announces that nothing of Tubeflow's does; to follow on the file's name."""


def open_self_contained(source: Path | io.BytesIO) -> h5py.File:
    """An HDF5 file, open for reading, with everything checked that reading it relies on.

    Raises:
        NotSelfContained: it refers to other files, needs a filter of a plug-in, or announces more than it can hold.
        OSError: it can't be read, or is no HDF5 file.
    """
    size = source.getbuffer().nbytes if isinstance(source, io.BytesIO) else os.stat(source).st_size
    # locking=False: such files are immutable, and network file systems often have no locks.
    file = h5py.File(source, "r", locking=False)
    try:
        fault = _fault_of(file, max(LEAST_ROOM, DEFLATE_RATIO * size))
    except Exception as exc:  # a damaged file makes h5py fail in any way there is, SystemError included
        file.close()
        raise NotSelfContained("can't be read as HDF5") from exc
    if fault is not None:
        file.close()
        raise NotSelfContained(fault)
    return file


def _fault_of(file: h5py.File, room: int) -> str | None:
    """What is wrong with a file that may announce `room` bytes for each of its parts; None if nothing is."""

    def fault_of_link(name: str, link: object) -> str | None:  # h5py stops at what isn't None; it must not raise
        if not isinstance(link, h5py.HardLink):
            return f"holds '{name}' as a link, possibly to another file"
        node = h5py.h5o.open(file.id, name.encode())  # a third of the time that `file[name]` takes
        return _fault_of_dataset(name, node, room) if isinstance(node, h5py.h5d.DatasetID) else None

    fault = file.visititems_links(fault_of_link)
    return None if fault is None else str(fault)


def _fault_of_dataset(name: str, dataset: h5py.h5d.DatasetID, room: int) -> str | None:
    made = dataset.get_create_plist()
    if made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count():
        return f"keeps '{name}' in another file"
    if any(made.get_filter(number)[0] not in FILTERS for number in range(made.get_nfilters())):
        return f"holds '{name}' behind a filter that needs a plug-in"
    kind, spaces = dataset.get_type(), [dataset.get_space()]
    if made.get_layout() == h5py.h5d.CHUNKED:
        spaces.append(h5py.h5s.create_simple(made.get_chunk()))
    return next((fault for space in spaces if (fault := _fault_of_size(name, space, kind, room))), None)


def _fault_of_size(name: str, space: h5py.h5s.SpaceID, kind: h5py.h5t.TypeID, room: int) -> str | None:
    size = space.get_simple_extent_npoints() * kind.get_size()
    return f"announces {size} bytes for '{name}', more than it can hold" if size > room else None
