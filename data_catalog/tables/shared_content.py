"""Which clips of different splits show the same: a model is tested on what it has learnt by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from data_catalog.tables.schemas import SHARED_CONTENT, read_table, write_table

FILE = "shared_content.parquet"
SAME, SIMILAR = "same", "similar"


@dataclass(frozen=True, slots=True)
class SharedContent:
    """Two clips of different splits.

    Attributes:
        first, second: their ids, in the order of the dataset.
        first_split, second_split: their splits when they were compared.
        kind: `SAME` where their files are equal byte for byte and at least half of the shorter clip lies in both;
            `SIMILAR` where they look the same.
        similarity: of their pictures, up to 1.
    """

    first: str
    second: str
    first_split: str
    second_split: str
    kind: str
    similarity: float

    def __str__(self) -> str:
        """One sentence."""
        how = "have the same content" if self.kind == SAME else f"look the same ({self.similarity:.3f} of 1)"
        return f"clips '{self.first}' ({self.first_split}) and '{self.second}' ({self.second_split}) {how}"


def write_shared_content(folder: Path, rows: Sequence[SharedContent]) -> None:
    """Keep what was found beside a dataset's clip table, in `folder`."""
    write_table(folder / FILE, pa.Table.from_pylist([asdict(row) for row in rows], SHARED_CONTENT), SHARED_CONTENT)


def read_shared_content(folder: Path) -> list[SharedContent]:
    """What was found; empty where nobody compared the splits. Raises ArtifactDamaged: comparing makes it again."""
    try:
        return [SharedContent(**row) for row in read_table(folder / FILE, SHARED_CONTENT).to_pylist()]
    except FileNotFoundError:
        return []
