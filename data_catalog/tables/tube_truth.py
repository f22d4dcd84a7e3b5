"""What was measured of tubes against the truth, remembered: derived figures, measured again if the file is lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_catalog.json_file import read_record, write_record
from data_catalog.locks import locked
from data_catalog.store import ArtifactDamaged

Figures = Mapping[str, float | int | None]


class TruthTable:
    """`catalog/tube_truth.json`: key of what was compared → figures. Several processes may add to it.

    Args:
        path: the file.
        notice: called with a sentence where the file is damaged.
    """

    def __init__(self, path: Path, notice: Callable[[str], None]) -> None:
        self._path, self._notice = path, notice
        self._reported = False

    def read(self) -> dict[str, dict[str, Any]]:
        """All figures; none where the file is missing, and none with a notice where it is damaged."""
        try:
            return dict(read_record(self._path)["figures"])
        except FileNotFoundError:
            return {}
        except (ArtifactDamaged, KeyError, TypeError, ValueError):
            if not self._reported:
                self._notice(f"{self._path} is damaged; the tubes are compared with the truth again.")
                self._reported = True
            return {}

    def add(self, figures: Mapping[str, Figures], keep: Callable[[str], bool] = lambda key: True) -> None:
        """Add figures; of those that are there, only those that `keep` wants stay."""
        if not figures:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with locked(Path(f"{self._path}.lock")):
            kept = {key: value for key, value in self.read().items() if keep(key)}
            write_record(self._path, {"figures": kept | {key: dict(value) for key, value in figures.items()}})
