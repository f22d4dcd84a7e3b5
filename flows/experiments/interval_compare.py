"""How often the intervals of contenders' scores hold, seed by seed and of their seeds as an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.metrics.calibration import LEVELS, coverage
from tasks.evaluate import interval_ends

Floats = NDArray[np.float64]


class HeldRecord(TypedDict):
    """The share of clips whose true score an interval holds, and the intervals' mean width in points."""

    share: float
    width: float


class IntervalsRow(TypedDict):
    """A contender's intervals of one coverage: mean over its seeds, and of the ensemble where there are several."""

    contender: str
    level: int
    clips: int
    seeds: HeldRecord
    ensemble: HeldRecord | None


def compare_intervals(label: str, tables: Sequence[pd.DataFrame], clips: Sequence[str]) -> list[IntervalsRow]:
    """One row a coverage; none where a seed's evaluation made no intervals, or too few clips made them.

    Args:
        label: of the contender.
        tables: its predictions, one a seed, with the columns of `tasks.evaluate.with_intervals`.
        clips: ids of those that are looked at.
    """
    if not all("spread" in table for table in tables):
        return []
    chosen = [table.set_index("clip_id").loc[list(clips)] for table in tables]
    true = chosen[0]["true"].to_numpy(float)
    predicted, spread = (np.stack([one[name].to_numpy(float) for one in chosen]) for name in ("predicted", "spread"))
    rows: list[IntervalsRow] = []
    for level in LEVELS:
        held = [_held(level, true, *interval_ends(one, level)) for one in chosen]
        known = [one for one in held if one is not None]
        if len(known) < len(held):
            continue
        mean = HeldRecord(
            share=float(np.mean([one["share"] for one in known])),
            width=float(np.mean([one["width"] for one in known])),
        )
        together = _held(level, true, *ensemble_interval(predicted, spread, level)) if len(tables) > 1 else None
        rows.append(IntervalsRow(contender=label, level=level, clips=len(true), seeds=mean, ensemble=together))
    return rows


def ensemble_interval(predicted: Floats, spread: Floats, level: int) -> tuple[Floats, Floats]:
    """Ends of the interval of a deep ensemble: its normal mixture taken as one normal distribution.

    μ* = mean μ and σ*² = mean(σ² + μ²) - μ*² (Lakshminarayanan et al. 2017, section 2.4).

    Args:
        predicted, spread: (seeds, n) points, mean and standard deviation of each seed.
        level: coverage in percent.

    Returns:
        Lower and upper ends, (n,) each.
    """
    from scipy.stats import norm  # takes a second, which only those with intervals wait

    mean = predicted.mean(axis=0)
    # The same sum as mean(σ² + μ²) - μ*², without the difference of two large numbers.
    sigma = np.sqrt((spread**2).mean(axis=0) + ((predicted - mean) ** 2).mean(axis=0))
    reach = float(norm.ppf((1 + level / 100) / 2)) * sigma
    return mean - reach, mean + reach


def _held(level: int, true: Floats, low: Floats, high: Floats) -> HeldRecord | None:
    found = coverage(level, true, low, high)
    return None if found is None else HeldRecord(share=found.share, width=found.width)
