"""The table `tube_quality`: what was measured of every tube, and how it was judged; derived, and made again if lost.

A row belongs to a track artifact and a masks artifact made from it. It holds the numbers that frames were decoded for
(`TubeSeries`), so that other thresholds judge again without a frame; and the judgement (`TubeQuality`), which is what
lists, SQL and the gallery read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_catalog.locks import locked
from data_catalog.store import ArtifactDamaged, Store
from data_catalog.tables.schemas import TUBE_QUALITY, TUBE_SERIES, read_table, write_table

logger = logging.getLogger(__name__)

WHOLE = pa.schema([*TUBE_QUALITY, *TUBE_SERIES])
Pair = tuple[str, str]
"""Key of the track artifact, key of the masks artifact."""


class TubeQuality(NamedTuple):
    """The judgement of one clip's tubes; the columns of `schemas.TUBE_QUALITY`, where they are explained."""

    track_key: str
    masks_key: str
    dataset: str
    clip_id: str
    suspicion: float
    reasons: list[str]
    cuts: list[int]
    score_drops: list[int]
    jumps: list[int]
    area_changes: list[int]
    lost_frames: list[int]
    outside_frames: list[int]
    border_frames: list[int]
    empty_segments: list[int]
    drift_frames: list[int]
    drift: float
    athletes: int
    frames: int
    settings: str
    version: int

    @property
    def pair(self) -> Pair:
        """The keys of the track and of the masks that were measured."""
        return self.track_key, self.masks_key


@dataclass(frozen=True, eq=False)
class TubeSeries:
    """What was measured of the A tubes of one clip of L frames and N segments.

    Attributes:
        change: (L,) float32, how much each frame begins a new scene; 0 in frame 0.
        elapsed: (L,) float32, frames of the source since the frame before; 0 in frame 0.
        likeness: (A, L) float32, 1 where the tube holds as much of the athlete as in frame 0, 0 where nothing of it.
        scores: (A, L) float32, the tracker's; comparable between frames of one tracker only.
        lost: (A, L) float32, 1 where the tracker says that it lost the athlete.
        step: (A, L) float32, way of the centre since the frame before, in square roots of the quad's area.
        area: (A, L) float32, square pixels of the normalised frame.
        inside: (A, L) float32, share of the quad that lies in the network's crop.
        border: (A, L) float32, 1 where the quad touches the frame's border.
        omega: (N,) float32, positions that each segment's mask selects.
    """

    change: NDArray[np.float32]
    elapsed: NDArray[np.float32]
    likeness: NDArray[np.float32]
    scores: NDArray[np.float32]
    lost: NDArray[np.float32]
    step: NDArray[np.float32]
    area: NDArray[np.float32]
    inside: NDArray[np.float32]
    border: NDArray[np.float32]
    omega: NDArray[np.float32]


PER_CLIP = ("change", "elapsed", "omega")  # the other series have a row for each athlete


class TubeQualityTable:
    """The table of one workspace; several processes may add to it."""

    def __init__(self, table: Path, store: Store, notice: Callable[[str], None] = logger.warning) -> None:
        self._table, self._store, self._notice = table, store, notice
        self._rows: dict[Pair, TubeQuality] | None = None
        self._added: dict[Pair, tuple[TubeQuality, TubeSeries]] = {}

    @property
    def rows(self) -> dict[Pair, TubeQuality]:
        """All judgements; none where the table is missing, and none with a notice where it is damaged."""
        if self._rows is None:
            table = self._read(TUBE_QUALITY)
            self._rows = {row.pair: row for row in map(_judgement, table.to_pylist())}
        return self._rows

    def _read(self, schema: pa.Schema) -> pa.Table:
        try:
            return read_table(self._table, WHOLE, schema.names)
        except FileNotFoundError:
            return schema.empty_table()
        except ArtifactDamaged:
            self._notice(f"The table of tube quality {self._table} is damaged; the next run measures the tubes again.")
            return schema.empty_table()

    def series(self, track_key: str, masks_key: str) -> TubeSeries | None:
        """What was measured of one tube; None where nothing was."""
        return self.all_series([(track_key, masks_key)]).get((track_key, masks_key))

    def all_series(self, pairs: list[Pair]) -> dict[Pair, TubeSeries]:
        """What was measured of several tubes, read in one go; those that were not measured are left out."""
        wanted = set(pairs)
        found = {pair: series for pair, (_, series) in self._added.items() if pair in wanted}
        if wanted - set(found):
            table = self._read(WHOLE)
            keys = pa.array([track for track, _ in wanted - set(found)], pa.string())
            for row in table.filter(pc.is_in(table.column("track_key"), keys)).to_pylist():
                pair = row["track_key"], row["masks_key"]
                if pair in wanted and pair not in found:
                    found[pair] = _series(row)
        return found

    def add(self, row: TubeQuality, series: TubeSeries) -> None:
        """Remember a tube; `save` writes it."""
        self.rows[row.pair] = row
        self._added[row.pair] = (row, series)

    def save(self) -> None:
        """Merge what was added into the table; rows that other processes wrote stay."""
        if not self._added:
            return
        with locked(Path(f"{self._table}.lock")):
            kept = _without(self._read(WHOLE), set(self._added))
            new = pa.Table.from_pylist([_as_row(row, series) for row, series in self._added.values()], WHOLE)
            write_table(self._table, pa.concat_tables([kept, new]), WHOLE)
        self._rows = None
        self._added.clear()

    def prune(self) -> int:
        """Drop the rows of tubes that are no longer in the store; returns how many."""
        with locked(Path(f"{self._table}.lock")):
            table = self._read(WHOLE)
            there = self._store.scan("track")
            gone = {pair for pair in self.rows if pair[0] not in there}
            if gone:
                write_table(self._table, _without(table, gone), WHOLE)
        self._rows = None
        return len(gone)


def _without(table: pa.Table, pairs: set[Pair]) -> pa.Table:
    names = zip(table.column("track_key").to_pylist(), table.column("masks_key").to_pylist(), strict=True)
    return table.filter(pa.array([pair not in pairs for pair in names], pa.bool_()))


def _judgement(row: dict[str, Any]) -> TubeQuality:
    return TubeQuality(**{name: row[name] for name in TubeQuality._fields})


def _as_row(row: TubeQuality, series: TubeSeries) -> dict[str, Any]:
    arrays = {item.name: getattr(series, item.name).ravel().astype(np.float32) for item in fields(TubeSeries)}
    return row._asdict() | arrays


def _series(row: dict[str, Any]) -> TubeSeries:
    arrays = {}
    for item in fields(TubeSeries):
        flat = np.asarray(row[item.name], np.float32)
        arrays[item.name] = flat if item.name in PER_CLIP else flat.reshape(row["athletes"], row["frames"])
    return TubeSeries(**arrays)
