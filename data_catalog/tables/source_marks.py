"""The table `source_marks`: what is unusual about the sources of normalised clips; derived, and made again if lost.

The artifacts say it themselves; opening each of them for a summary takes minutes where there are 100,000.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data_catalog.locks import locked
from data_catalog.store import ArtifactDamaged, Store
from data_catalog.tables.schemas import SOURCE_MARKS, read_table, write_table

logger = logging.getLogger(__name__)

STAGE = "normalize"
MARKS = tuple(name for name in SOURCE_MARKS.names if name != "key")
"""Attributes of a normalize artifact, each of which is true of a clip or not."""


class SourceMarks:
    """The table of one workspace; several processes may add to it."""

    def __init__(self, table: Path, store: Store, notice: Callable[[str], None] = logger.warning) -> None:
        self._table, self._store, self._notice = table, store, notice

    def count(
        self, keys: Sequence[str], each: Callable[[Sequence[str]], Iterable[str]] = lambda unknown: unknown
    ) -> dict[str, int]:
        """How many of these normalize artifacts each of `MARKS` is true of; those of none are left out.

        Artifacts that are gone or damaged count for nothing.

        Args:
            keys: of the artifacts.
            each: goes over the keys of those that have to be opened, as a progress bar does.
        """
        table = self._read()
        known = set(table.column("key").to_pylist())
        unknown = [key for key in keys if key not in known]
        if unknown:
            table = self._add(list(filter(None, map(self._row, each(unknown)))))
        mine = table.filter(pc.is_in(table.column("key"), pa.array(keys, pa.string())))
        counts = {name: pc.sum(mine.column(name)).as_py() for name in MARKS}
        return {name: count for name, count in counts.items() if count}

    def _read(self) -> pa.Table:
        try:
            return read_table(self._table, SOURCE_MARKS)
        except FileNotFoundError:
            return SOURCE_MARKS.empty_table()
        except ArtifactDamaged:
            self._notice(f"The table of source marks {self._table} is damaged; it is made again from the artifacts.")
            return SOURCE_MARKS.empty_table()

    def _row(self, key: str) -> dict[str, object] | None:
        try:
            attributes = self._store.attributes(STAGE, key)
        except (ArtifactDamaged, FileNotFoundError):
            return None
        return {"key": key} | {name: bool(attributes.get(name)) for name in MARKS}

    def _add(self, rows: Sequence[dict[str, object]]) -> pa.Table:
        """The table with these rows, which is kept; where the workspace can't be written, they are found again."""
        new = pa.Table.from_pylist(rows, SOURCE_MARKS)
        with contextlib.suppress(OSError), locked(Path(f"{self._table}.lock")):
            table = self._read()
            there, added = self._store.scan(STAGE), {row["key"] for row in rows}
            kept = [key in there and key not in added for key in table.column("key").to_pylist()]
            table = pa.concat_tables([table.filter(pa.array(kept, pa.bool_())), new])
            write_table(self._table, table, SOURCE_MARKS)
            return table
        return pa.concat_tables([self._read(), new])
