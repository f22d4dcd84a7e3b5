"""The table `tube_overlap`: how much two tubes of one clip agree; derived, and computed again where it is lost.

Tubes never change under their keys, so an overlap is computed once for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from data_catalog.locks import locked
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.schemas import TUBE_OVERLAP, read_table, write_table

logger = logging.getLogger(__name__)


class Overlap(NamedTuple):
    """One row; the columns of `schemas.TUBE_OVERLAP`, where they are explained."""

    first: str
    second: str
    mean: float
    worst: float
    worst_frame: int


class TubeOverlapTable:
    """The table of one workspace; several processes may add to it."""

    def __init__(self, table: Path, notice: Callable[[str], None] = logger.warning) -> None:
        self._table, self._notice = table, notice

    def read(self) -> dict[tuple[str, str], Overlap]:
        """All rows by their pair of keys, the smaller one first; none where the table is missing or damaged."""
        try:
            columns = read_table(self._table, TUBE_OVERLAP).to_pydict()
        except FileNotFoundError:
            return {}
        except ArtifactDamaged:
            self._notice(f"The table {self._table} is damaged; overlaps of tubes are computed again.")
            return {}
        rows = map(Overlap._make, zip(*(columns[name] for name in TUBE_OVERLAP.names), strict=True))
        return {(row.first, row.second): row for row in rows}

    def add(self, rows: Iterable[Overlap]) -> None:
        """Merge rows into the table. Raises OSError."""
        with locked(Path(f"{self._table}.lock")):
            merged = self.read() | {(row.first, row.second): row for row in rows}
            columns = list(zip(*merged.values(), strict=True)) if merged else [()] * len(TUBE_OVERLAP)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, TUBE_OVERLAP, strict=True)]
            write_table(self._table, pa.Table.from_arrays(arrays, schema=TUBE_OVERLAP), TUBE_OVERLAP)


def pair(a: str, b: str) -> tuple[str, str]:
    """Two keys in the order of the table."""
    return (a, b) if a < b else (b, a)
