"""Digests of source videos: computed once per file, remembered by size, modification time and inode."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from data_catalog.errors import BadVideo
from data_catalog.locks import locked
from data_catalog.media.frame_folder import clip_files
from data_catalog.media.regular_file import open_regular
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.schemas import SOURCES, read_table, write_table

NOT_REGULAR = "not a regular file"
logger = logging.getLogger(__name__)


class Signature(NamedTuple):
    """What tells that a file is still the one that was read: bytes, nanoseconds, inode.

    For a folder `mtime_ns` is a digest of the names, sizes, times and inodes of its files: their sum and newest time
    would miss a frame that was replaced by an older one.
    """

    size: int
    mtime_ns: int
    inode: int


def signature(path: Path) -> Signature:
    """Signature of a file, or of all files of a folder together. Raises OSError where it is missing."""
    stat = path.stat()
    if not path.is_dir():
        return Signature(stat.st_size, stat.st_mtime_ns, stat.st_ino)
    files = [(file.relative_to(path).as_posix(), file.stat()) for file in clip_files(path)]
    listing = [(name, one.st_size, one.st_mtime_ns, one.st_ino) for name, one in files]
    mark = hashlib.blake2b(repr(listing).encode(), digest_size=8).digest()
    return Signature(sum(one.st_size for _, one in files), int.from_bytes(mark, signed=True), stat.st_ino)


def digest_source(path: Path) -> str:
    """SHA-256 of a file; of a folder, over the sorted names and digests of its files. Raises OSError."""
    if path.is_dir():
        listing = "\n".join(f"{file.relative_to(path).as_posix()} {digest_source(file)}" for file in clip_files(path))
        return hashlib.sha256(listing.encode()).hexdigest()
    try:
        descriptor = open_regular(path)
    except BadVideo:
        return NOT_REGULAR   # the stage that reads it says what is wrong, and a file in its place has another digest
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Sources:
    """The table of known digests of one workspace."""

    def __init__(self, table: Path, notice: Callable[[str], None] = logger.warning) -> None:
        self._table = table
        self._notice = notice
        self._known: dict[str, tuple[Signature, str]] = {}
        try:
            self._known = self._load()
        except ArtifactDamaged:
            self._notice(f"The table of source digests {table} is damaged; the digests are computed again.")

    def _load(self) -> dict[str, tuple[Signature, str]]:
        try:
            rows = read_table(self._table, SOURCES).to_pydict()
        except FileNotFoundError:
            return {}
        marks = map(Signature, rows["size"], rows["mtime_ns"], rows["inode"])
        return dict(zip(rows["path"], zip(marks, rows["sha256"], strict=True), strict=True))

    def known(self, path: Path) -> str | None:
        """The digest, if the file is unchanged since it was computed; None where it is not known or missing."""
        remembered = self._known.get(str(path))
        if remembered is None:
            return None
        with contextlib.suppress(OSError):
            if signature(path) == remembered[0]:
                return remembered[1]
        return None

    def digest(
        self, paths: Iterable[Path], advance: Callable[[int, int], None] | None = None, verify: bool = False
    ) -> dict[Path, str]:
        """Digests of all paths that exist; reads only those that are new or changed (all with `verify`)."""
        wanted = list(dict.fromkeys(paths))
        found = {} if verify else {path: known for path in wanted if (known := self.known(path)) is not None}
        unknown = [path for path in wanted if path not in found]
        with ThreadPoolExecutor(max_workers=4) as pool:
            for done, (path, mark, value) in enumerate(pool.map(_read, unknown), start=1):
                if mark is not None and value is not None:
                    found[path] = value
                    self._known[str(path)] = (mark, value)
                if advance is not None:
                    advance(done, len(unknown))
        if unknown:
            self._save()
        return found

    def _save(self) -> None:
        with locked(Path(f"{self._table}.lock")):
            merged = dict(self._known)
            with contextlib.suppress(ArtifactDamaged):  # said when it was read first; here it is replaced
                merged = self._load() | self._known
            rows = [(path, *mark, value) for path, (mark, value) in sorted(merged.items())]
            columns = list(zip(*rows, strict=True)) if rows else [()] * len(SOURCES)
            arrays = [
                pa.array(column, field.type) for column, field in zip(columns, SOURCES, strict=True)
            ]
            write_table(self._table, pa.Table.from_arrays(arrays, schema=SOURCES), SOURCES)


def _read(path: Path) -> tuple[Path, Signature | None, str | None]:
    try:
        # The signature is taken first: a file that changes while it is read will not match it.
        return path, signature(path), digest_source(path)
    except OSError:
        return path, None, None
