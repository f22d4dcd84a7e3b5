"""Score statistics per action: over all clips as every published figure uses them, or over the train split alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_catalog.datasets.records import ClipRecord

Source = Literal["published", "train-only"]


@dataclass(frozen=True, slots=True)
class ScoreStatistics:
    """Scores of one action in the dataset's own points; `std` divides by the count (population form)."""

    count: int
    min: float
    max: float
    mean: float
    std: float

    def to_percent(self, score: float) -> float:
        """Min-max normalised score: `min` becomes 0 and `max` becomes 100; not clipped.

        Raises:
            ValueError: all scores are equal, so that the scale is undefined.
        """
        return 100.0 * (score - self.min) / self._span()

    def from_percent(self, percent: float) -> float:
        """The inverse of `to_percent`, back to points."""
        return self.min + percent / 100.0 * self._span()

    def _span(self) -> float:
        if not self.max > self.min:
            raise ValueError(f"all {self.count} scores are {self.min:g}, so that they cannot be normalised")
        return self.max - self.min


def compute_score_statistics(records: Iterable[ClipRecord], source: Source) -> dict[str, ScoreStatistics]:
    """Statistics per action over the records that have a score.

    `published` takes min and max over train and test together, as the published normalisation of
    AQA-7 does: comparable, but a small leak. `train-only` sees the train split alone; test scores
    may then fall outside 0 to 100.

    Raises:
        ValueError: unknown `source`.
    """
    if source not in ("published", "train-only"):
        raise ValueError(f"score statistics are 'published' or 'train-only', not '{source}'")
    scores: dict[str, list[float]] = {}
    for record in records:
        if record.score is not None and (source == "published" or record.split == "train"):
            scores.setdefault(record.action, []).append(record.score)
    return {action: _statistics(np.asarray(values)) for action, values in scores.items()}


def _statistics(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> ScoreStatistics:
    return ScoreStatistics(
        len(values), float(values.min()), float(values.max()), float(values.mean()), float(values.std())
    )
