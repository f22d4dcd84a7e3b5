"""Intervals of a score, calibrated on clips that did not train, and how often they hold.

A network says of each clip a score m and a spread s. On held-out clips of known score y the standardised errors
z = (y - m) / s tell what a spread is worth; a new clip's interval is [m + a·s, m + b·s] with a and b from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Method = Literal["temperature", "isotonic"]
Ends = tuple[float, float]

LEVELS = (50, 80, 95)
"""Coverages of the intervals, in percent."""


@dataclass(frozen=True)
class Calibration:
    """What held-out clips say of spreads.

    Attributes:
        method: how `ends` were found.
        clips: how many held-out clips were looked at.
        scale: what a spread is multiplied by to be a standard deviation, root mean square of z.
        ends: coverage in percent → (a, b); None where the clips are too few to tell.
    """

    method: Method
    clips: int
    scale: float
    ends: Mapping[int, Ends | None]

    def interval(self, level: int, predicted: Floats, spread: Floats) -> tuple[Floats, Floats]:
        """Lower and upper end (n,) of clips with scores and spreads (n,); nan where `ends` has none of this level."""
        low, high = self.ends[level] or (math.nan, math.nan)
        return predicted + low * spread, predicted + high * spread

    def as_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        ends = {str(level): None if pair is None else list(pair) for level, pair in self.ends.items()}
        return {"method": self.method, "clips": self.clips, "scale": self.scale, "ends": ends}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """The way back of `as_json`."""
        ends = {int(level): None if pair is None else (pair[0], pair[1]) for level, pair in values["ends"].items()}
        return cls(values["method"], values["clips"], values["scale"], ends)


def calibrate(method: Method, true: Floats, predicted: Floats, spread: Floats) -> Calibration:
    """Find what intervals of these spreads have to be.

    `temperature`: errors are normal, and one number stretches all spreads, for which the likelihood is greatest with
    t² = mean z². As t is an estimate from n clips itself, z / t follows Student's distribution with n degrees of
    freedom, whose quantiles are taken.

    `isotonic`: nothing is assumed of the errors' distribution. Predicted levels Φ(z) are mapped to the observed ones by
    isotonic regression (Kuleshov et al. 2018), which for one observation a clip goes through their ranks, so that the
    ends are order statistics of z. Of n clips the k-th smallest stands for the level k / (n + 1), rounded outwards:
    then a new clip, exchangeable with these, lies inside with at least the named probability (Vovk et al. 2005).

    Args:
        method: one of the two.
        true: (n,) points; clips where it is nan don't count.
        predicted: (n,) points.
        spread: (n,) above 0.

    Raises:
        ValueError: no clip has a true score, or a spread isn't above 0.
    """
    known = np.isfinite(true)
    if not known.any():
        raise ValueError("no clip of known score is there to calibrate intervals on")
    if not (spread[known] > 0).all():
        raise ValueError("a spread is not above 0, so no interval can be made of it")
    z = np.sort((true[known] - predicted[known]) / spread[known])
    scale = float(np.sqrt(np.mean(z**2)))
    find = _student if method == "temperature" else _order_statistics
    return Calibration(method, len(z), scale, {level: find(z, scale, level / 100) for level in LEVELS})


def _student(z: Floats, scale: float, coverage: float) -> Ends:
    from scipy.stats import t  # takes a second, and few runs calibrate

    end = scale * float(t.ppf((1 + coverage) / 2, len(z)))
    return -end, end


def _order_statistics(z: Floats, scale: float, coverage: float) -> Ends | None:
    tail = (1 - coverage) / 2 * (len(z) + 1)
    # What rounding of binary fractions adds must not cost a rank: (1 - .95) / 2 · 40 is 1.
    low = math.floor(tail + 1e-9)
    return None if low < 1 else (float(z[low - 1]), float(z[-low]))


def clips_needed(method: Method, level: int) -> int:
    """How many held-out clips it takes for an interval of this coverage in percent."""
    return 1 if method == "temperature" else math.ceil(200 / (100 - level) - 1e-9) - 1


@dataclass(frozen=True)
class Coverage:
    """How often intervals held.

    Attributes:
        level: coverage that they were made for, in percent.
        clips: n of known score.
        inside: of them, whose score lies within.
        width: mean width of the intervals, in points.
    """

    level: int
    clips: int
    inside: int
    width: float

    @property
    def share(self) -> float:
        """Measured coverage, 0 to 1."""
        return self.inside / self.clips

    @property
    def bounds(self) -> tuple[float, float]:
        """95 % interval of the share, 0 to 1 (Clopper and Pearson 1934)."""
        from scipy.stats import beta

        low = beta.ppf(0.025, self.inside, self.clips - self.inside + 1) if self.inside else 0.0
        high = beta.ppf(0.975, self.inside + 1, self.clips - self.inside) if self.inside < self.clips else 1.0
        return float(low), float(high)


def coverage(level: int, true: Floats, low: Floats, high: Floats) -> Coverage | None:
    """How often intervals hold.

    Args:
        level: coverage that they were made for, in percent.
        true: (n,) points; clips where it is nan don't count.
        low, high: (n,) their ends.

    Returns:
        None where there is no clip of known score, or no interval.
    """
    known = np.isfinite(true) & np.isfinite(low) & np.isfinite(high)
    if not known.any():
        return None
    inside = (low[known] <= true[known]) & (true[known] <= high[known])
    return Coverage(level, int(known.sum()), int(inside.sum()), float(np.mean(high[known] - low[known])))
