"""A relation between two moments to be judged: does the line of the body at the entry agree with that on the board?

The diver leans forward or back on the board and stands upright before the take-off; at the entry the body, and the
water that it throws up, are tilted forward or back. Lean and tilt are drawn independently, each to either side alike,
and the mark follows their product: high where both are to the same side, low where they are not. So neither of them,
nor both added, says anything about the mark that is to be expected: it is the same for every lean, and for every tilt.
Whoever wants to know the mark has to bring two moments together that are more than a second apart.

The same dives can be marked by their `lines` instead: lean, tilt and splash each by itself, so that nothing has to be
compared. A network that learns from these sees what the relation is made of, and nothing of the relation.

As in a compulsory round every dive counts with the same difficulty, whatever it is; other faults are small, and not
judged.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.sport.dive import DiveMotion
from data_catalog.synthetic.sport.judges import Faults, marks_of

DIFFICULTY: Final = 2.0
_FURTHEST: Final = float(np.radians(40.0))
_LEAST: Final = 0.4  # of the furthest: nobody is so upright that the side can't be seen
_SPLASH: Final = (0.45, 0.7)  # large enough to show its tilt
_ANY_SPLASH: Final = (0.05, 0.95)  # where it is judged itself
_WORTH: Final = 4.0  # points of a mark for full agreement, and as many off for full disagreement
_KEPT: Final = 0.3  # of the faults that nobody judges here


def with_lines(motion: DiveMotion, judged: str, rng: np.random.Generator) -> DiveMotion:
    """The same dive with a lean on the board and a tilt at the entry, drawn independently of it and of each other."""
    lean, tilt = rng.uniform(_LEAST, 1.0, 2) * rng.choice([-1.0, 1.0], 2) * _FURTHEST
    seen = motion.faults
    splash = rng.uniform(*(_SPLASH if judged == "agreement" else _ANY_SPLASH))
    faults = Faults(splash, 0.0, _KEPT * seen.knees, _KEPT * seen.legs, _KEPT * seen.distance)
    return replace(motion, faults=faults, over_rotation=0.0, lean=float(lean), tilt=float(tilt))


def agreement(motion: DiveMotion) -> float:
    """Product of lean and tilt, -1 (as far as can be, to opposite sides) to 1 (as far as can be, to the same side)."""
    return motion.lean * motion.tilt / _FURTHEST**2


def judge_agreement(motion: DiveMotion, rng: np.random.Generator) -> NDArray[np.float64]:
    """Marks (7,) float64 in 0, 0.5, …, 10 of a panel that looks at nothing but the agreement."""
    return marks_of(5.0 + _WORTH * agreement(motion), rng)


def judge_lines(motion: DiveMotion, mirror: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Marks (7,) float64 of a panel that adds up lean, tilt and splash: to the right in the picture is better.

    `mirror` is 1 where the world's +x is to the right in the picture, -1 where it is to the left.
    """
    sides = mirror * (motion.lean + motion.tilt) / _FURTHEST
    return marks_of(5.0 + _WORTH / 3 * (sides + 1.0 - 2.0 * motion.faults.splash), rng)


def facts_of_lines(motion: DiveMotion) -> dict[str, float]:
    """Of a diver for dataset.json: lean and tilt in radians, and their agreement."""
    return {
        "lean": round(motion.lean, 4),
        "tilt": round(motion.tilt, 4),
        "agreement": round(agreement(motion), 4),
    }
