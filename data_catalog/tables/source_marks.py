"""The table `source_marks`: what is unusual about the sources of normalised clips; derived, and made again if lost.

The artifacts say it themselves; opening each of them for a summary takes minutes where there are 100,000.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from data_catalog.locks import locked
from data_catalog.store import ArtifactDamaged, Store
from data_catalog.tables.schemas import SOURCE_MARKS, read_table, write_table

logger = logging.getLogger(__name__)

STAGE = "normalize"
MARKS = tuple(name for name in SOURCE_MARKS.names if name != "key")
"""Attributes of a normalize artifact, each of which is true of a clip or not."""
KEPT_FROM = 500
"""Artifacts that had to be opened, from which on the table is written: Arrow loads pandas to make one, and so many are
opened in the time that this takes."""


class SourceMarks:
    """The table of one workspace; several processes may add to it."""

    def __init__(self, table: Path, store: Store, notice: Callable[[str], None] = logger.warning) -> None:
        self._table, self._store, self._notice = table, store, notice
        self._damaged = False

    def count(
        self, keys: Sequence[str], each: Callable[[Sequence[str]], Iterable[str]] = lambda unknown: unknown
    ) -> dict[str, int]:
        """How many of these normalize artifacts each of `MARKS` is true of; those of none are left out.

        Artifacts that are gone or damaged count for nothing.

        Args:
            keys: of the artifacts.
            each: goes over the keys of those that have to be opened, as a progress bar does.
        """
        of_key = self._read()
        unknown = [key for key in keys if key not in of_key]
        rows = dict(filter(None, map(self._row, each(unknown))))
        of_key |= rows
        if len(rows) >= KEPT_FROM or self._damaged:
            self._add(rows)
        counts = {name: sum(of_key[key][place] for key in keys if key in of_key) for place, name in enumerate(MARKS)}
        return {name: count for name, count in counts.items() if count}

    def _read(self) -> dict[str, tuple[bool, ...]]:
        """What is true of each known key, in the order of `MARKS`."""
        try:
            known = read_table(self._table, SOURCE_MARKS).to_pydict()
        except FileNotFoundError:
            return {}
        except ArtifactDamaged:
            self._notice(f"The table of source marks {self._table} is damaged; it is made again from the artifacts.")
            self._damaged = True
            return {}
        return dict(zip(known["key"], zip(*(known[name] for name in MARKS), strict=True), strict=True))

    def _row(self, key: str) -> tuple[str, tuple[bool, ...]] | None:
        try:
            attributes = self._store.attributes(STAGE, key)
        except (ArtifactDamaged, FileNotFoundError):
            return None
        return key, tuple(bool(attributes.get(name)) for name in MARKS)

    def _add(self, rows: dict[str, tuple[bool, ...]]) -> None:
        """Keep these rows too; where the workspace can't be written, they are found again."""
        with contextlib.suppress(OSError), locked(Path(f"{self._table}.lock")):
            there = self._store.scan(STAGE)
            kept = {key: marks for key, marks in self._read().items() if key in there} | rows
            table = pa.Table.from_pylist(
                [{"key": key} | dict(zip(MARKS, marks, strict=True)) for key, marks in kept.items()], SOURCE_MARKS
            )
            write_table(self._table, table, SOURCE_MARKS)
            self._damaged = False
