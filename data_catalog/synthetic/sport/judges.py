"""Seven judges: ten points less what can be seen, and the rule that turns their marks into a score."""

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NUM_JUDGES: Final = 7
# Points a judge takes off for a fault at its worst. The sum stays below 10 so that 0 is rare.
PENALTY: Final = {"splash": 3.8, "entry": 1.7, "knees": 1.2, "legs": 1.2, "distance": 0.7, "timing": 1.6}
_NOISE = 0.28


@dataclass(frozen=True)
class Faults:
    """How bad each visible execution fault is, 0 = none, 1 = the worst that is ever drawn."""

    splash: float
    entry: float
    knees: float
    legs: float
    distance: float
    timing: float = 0.0


def deduction(faults: Faults) -> float:
    """Points off for these faults, before any judge's own error."""
    return float(sum(PENALTY[name] * value for name, value in asdict(faults).items()))


def judge(faults: Faults, rng: np.random.Generator) -> NDArray[np.float64]:
    """Marks (7,) float64 in 0, 0.5, …, 10 of a panel for these faults."""
    return marks_of(10.0 - deduction(faults), rng)


def marks_of(worth: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Marks (7,) float64 in 0, 0.5, …, 10 of a panel for what is worth so many points, each with a judge's error."""
    marks = worth + rng.normal(0.0, _NOISE, NUM_JUDGES)
    return np.clip(np.round(marks * 2.0) / 2.0, 0.0, 10.0)


def final_score(marks: NDArray[np.float64], difficulty: float) -> float:
    """Difficulty times the sum of the middle three of seven marks (7,) float64, in points, to two decimals."""
    middle = np.sort(marks)[2:5]
    return round(float(middle.sum()) * difficulty, 2)
