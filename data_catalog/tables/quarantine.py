"""Clips that failed, by the key of the artifact that could not be made.

Since the key says everything that the artifact depends on, a changed input, config or stage version is a new key and
is tried again, and an unchanged one is not: a row is the negative counterpart of an artifact. One small JSON file a
row, so that several processes can write at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from data_catalog.json_file import read_record, write_record
from data_catalog.plain_file import clear
from data_catalog.store import ArtifactDamaged

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuarantineRow:
    """Why a clip has no artifact of a stage: one plain sentence, and what to do."""

    dataset: str
    clip_id: str
    stage: str
    key: str
    reason: str
    remedy: str
    created: str


class Quarantine:
    """All quarantined clips of one workspace, below `root`."""

    def __init__(self, root: Path, notice: Callable[[str], None] = logger.warning) -> None:
        self.root = root
        self._notice = notice

    def _path(self, stage: str, key: str) -> Path:
        return self.root / stage / f"{key}.json"

    def add(self, row: QuarantineRow) -> None:
        """Remember a row. Raises OSError where the workspace can't be written."""
        write_record(self._path(row.stage, row.key), asdict(row))

    def keys(self, stage: str) -> set[str]:
        """Keys of a stage that are known not to work."""
        try:
            return {entry.name[:-5] for entry in os.scandir(self.root / stage) if entry.name.endswith(".json")}
        except FileNotFoundError:
            return set()

    def get(self, stage: str, key: str) -> QuarantineRow | None:
        """The row of a key; None where there is none or its file is damaged (then the clip is tried again)."""
        try:
            row = QuarantineRow(**read_record(self._path(stage, key)))
            if (row.stage, row.key) == (stage, key):
                return row
        except FileNotFoundError:
            return None
        except (ArtifactDamaged, TypeError):
            pass
        self._notice(f"The quarantine row {self._path(stage, key)} is damaged; its clip is tried again.")
        self.remove(stage, key)
        return None

    def rows(self) -> list[QuarantineRow]:
        """Every row, of every dataset and stage, by stage and key."""
        names = sorted((path.parent.name, path.stem) for path in self.root.glob("*/*.json"))
        return [row for name in names if (row := self.get(*name)) is not None]

    def remove(self, stage: str, key: str) -> None:
        """Forget one entry if it is there. Raises OSError."""
        clear(self._path(stage, key))
