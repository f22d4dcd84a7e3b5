"""The index of the store: a derived parquet table that spares reading every artifact to know what is whole.

A row holds an artifact's lineage and the file's stat at the moment its digest was last verified. While the stat is
the same the file is taken as whole; any write, truncation, bit flip or chmod changes it (ctime cannot be set), and
then the digest decides. Nothing is lost with the table: `rebuild` reads it from the files again.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from data_catalog.locks import locked
from data_catalog.store import ArtifactDamaged, Lineage, Store
from data_catalog.tables.schemas import ARTIFACTS, read_table, write_table

logger = logging.getLogger(__name__)


class Record(NamedTuple):
    """One row of the index; the columns of `schemas.ARTIFACTS`."""

    stage: str
    key: str
    stage_version: int
    dataset: str
    clip_id: str
    config: str
    inputs: str
    weights: str
    parents: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    seconds: float
    created: str

    @property
    def stat(self) -> tuple[int, int, int, int]:
        """Size in bytes, mtime and ctime in nanoseconds, inode: others mean another file."""
        return self.size, self.mtime_ns, self.ctime_ns, self.inode


def _stat(stat: os.stat_result) -> tuple[int, int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def record_of(lineage: Lineage, stat: os.stat_result) -> Record:
    """The row of an artifact that was just verified."""
    texts = (json.dumps(part, sort_keys=True) for part in (lineage.config, lineage.inputs))
    config, inputs = texts
    return Record(
        lineage.stage,
        lineage.key,
        lineage.stage_version,
        lineage.dataset,
        lineage.clip_id,
        config,
        inputs,
        json.dumps(lineage.weights, sort_keys=True),
        json.dumps(lineage.parents, sort_keys=True),
        *_stat(stat),
        lineage.seconds,
        lineage.created,
    )


class ArtifactIndex:
    """The index of one store."""

    def __init__(self, store: Store, table: Path, notice: Callable[[str], None] = logger.warning) -> None:
        self._store = store
        self._table = table
        self._notice = notice
        self._rows: dict[tuple[str, str], Record] | None = None
        self._changed: set[tuple[str, str]] = set()

    @property
    def rows(self) -> dict[tuple[str, str], Record]:
        """All rows by (stage, key); read on first use, rebuilt from the store where the table is damaged."""
        if self._rows is None:
            self._rows = self._load()
        return self._rows

    def _load(self) -> dict[tuple[str, str], Record]:
        try:
            return self._read()
        except FileNotFoundError:
            if not self._files():
                return {}
            what = "missing"
        except ArtifactDamaged:
            what = "damaged"
        self._notice(f"The catalog's index {self._table} is {what}; it was rebuilt from the artifacts themselves.")
        self.rebuild()
        return self._rows or {}

    def _read(self) -> dict[tuple[str, str], Record]:
        columns = read_table(self._table, ARTIFACTS).to_pydict()
        rows = map(Record._make, zip(*(columns[name] for name in ARTIFACTS.names), strict=True))
        return {(row.stage, row.key): row for row in rows}

    def check(
        self,
        stage: str,
        keys: Iterable[str],
        verify: bool = False,
        advance: Callable[[int, int], None] = lambda done, total: None,
    ) -> tuple[set[str], dict[str, ArtifactDamaged]]:
        """Which artifacts are whole, and which are there but damaged; the others are missing.

        Args:
            stage: the stage.
            keys: the keys asked for.
            verify: read every byte even where the stat says that nothing changed.
            advance: is called with how many of those that have to be read are, and how many they are.
        """
        there, rows = self._store.scan(stage), self.rows
        whole: set[str] = set()
        unsure: list[str] = []
        for key in keys:
            if key not in there:
                continue
            row = rows.get((stage, key))
            if row is not None and not verify and row.stat == _stat(there[key]):
                whole.add(key)
            else:
                unsure.append(key)
        damaged: dict[str, ArtifactDamaged] = {}
        if unsure:
            with ThreadPoolExecutor(max_workers=4) as pool:
                examined = zip(unsure, pool.map(lambda k: self._examine(stage, k), unsure), strict=True)
                for done, (key, problem) in enumerate(examined, start=1):
                    if problem is None:
                        whole.add(key)
                    else:
                        damaged[key] = problem
                    advance(done, len(unsure))
        return whole, damaged

    def _examine(self, stage: str, key: str) -> ArtifactDamaged | None:
        path = self._store.path(stage, key)
        try:
            stat = path.lstat()  # before the bytes: a change meanwhile will not match it
            self.add(record_of(self._store.verify(stage, key), stat))
        except FileNotFoundError:
            return ArtifactDamaged(path, "vanished while it was read")
        except ArtifactDamaged as problem:
            if (stage, key) in self.rows:  # its stat may be the one that was seen when it was whole
                self.forget(stage, key)
            return problem
        return None

    def add(self, row: Record) -> None:
        """Remember a verified artifact; `save` writes it."""
        self.rows[row.stage, row.key] = row
        self._changed.add((row.stage, row.key))

    def forget(self, stage: str, key: str) -> None:
        """Drop the row of an artifact that is gone."""
        self.rows.pop((stage, key), None)
        self._changed.add((stage, key))

    def save(self) -> None:
        """Merge what this process learned into the table; other processes' rows stay."""
        if not self._changed:
            return
        with locked(Path(f"{self._table}.lock")):
            try:
                merged = self._read()
            except (FileNotFoundError, ArtifactDamaged):
                merged = dict(self.rows)
            for name in self._changed:
                row = self.rows.get(name)
                if row is None:
                    merged.pop(name, None)
                else:
                    merged[name] = row
            self._write(merged)
        self._rows = merged
        self._changed.clear()

    def _write(self, rows: dict[tuple[str, str], Record]) -> None:
        ordered = [rows[name] for name in sorted(rows)]
        columns = list(zip(*ordered, strict=True)) if ordered else [()] * len(ARTIFACTS)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, ARTIFACTS, strict=True)]
        write_table(self._table, pa.Table.from_arrays(arrays, schema=ARTIFACTS), ARTIFACTS)

    def _files(self) -> list[tuple[str, str]]:
        """Stage and key of every artifact that is there."""
        stages = sorted(path.name for path in self._store.root.glob("*") if path.name != "tmp")
        return [(stage, key) for stage in stages for key in self._store.scan(stage)]

    def rebuild(self, advance: Callable[[int, int], None] | None = None) -> list[ArtifactDamaged]:
        """Make the table again from the files alone, verifying each; returns the damaged ones."""
        self._rows = {}
        damaged: list[ArtifactDamaged] = []
        # Locked from the first look on: what others save meanwhile comes after this table, not under it.
        with locked(Path(f"{self._table}.lock")):
            files = self._files()
            with ThreadPoolExecutor(max_workers=4) as pool:
                for done, problem in enumerate(pool.map(lambda name: self._examine(*name), files), start=1):
                    if problem is not None:
                        damaged.append(problem)
                    if advance is not None:
                        advance(done, len(files))
            self._write(self._rows)
        self._changed.clear()
        return damaged
