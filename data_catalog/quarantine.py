"""Clips that failed, by the key of the artifact that could not be made.

Since the key says everything that the artifact depends on, a changed input, config or stage version is a new key and
is tried again, and an unchanged one is not: a row is the negative counterpart of an artifact. One small JSON file a
row, so that several processes can write at once.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path


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

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, stage: str, key: str) -> Path:
        return self.root / stage / f"{key}.json"

    def add(self, row: QuarantineRow) -> None:
        path = self._path(row.stage, row.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        temporary.write_text(json.dumps(asdict(row)))
        os.replace(temporary, path)

    def keys(self, stage: str) -> set[str]:
        """Keys of a stage that are known not to work."""
        try:
            return {entry.name[:-5] for entry in os.scandir(self.root / stage) if entry.name.endswith(".json")}
        except FileNotFoundError:
            return set()

    def get(self, stage: str, key: str) -> QuarantineRow | None:
        """The row of a key; None where there is none or its file is damaged (then the clip is tried again)."""
        try:
            return QuarantineRow(**json.loads(self._path(stage, key).read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            self.remove(stage, key)
            return None

    def remove(self, stage: str, key: str) -> None:
        self._path(stage, key).unlink(missing_ok=True)
