"""Other divers beside the athlete: they dive at about the same time from the same height, and nobody judges them.

Their dive, their faults and so their splash are drawn as the athlete's are, but independently, by a generator of their
own: the athlete's dive and its faults are the same with and without them. Whoever judges the whole picture is misled
by them; whoever looks at the athlete is not.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from data_catalog.synthetic.sport.dive import Dive, DiveMotion
from data_catalog.synthetic.sport.divers import draw_dive, draw_faults, draw_motion, draw_start

Camera = Literal["athlete", "group"]
Judged = Literal["faults", "agreement", "lines"]
CAMERAS: Final[tuple[Camera, ...]] = ("athlete", "group")
JUDGED: Final[tuple[Judged, ...]] = ("faults", "agreement", "lines")
MOST: Final = 2
AZIMUTH: Final = (0.55, 0.75)  # seen so much from the front that divers of neighbouring boards stand side by side
_AWAY_M: Final = (1.6, 2.2)  # between neighbouring boards
_TOGETHER_SEC: Final = 0.5  # entries are at most this far apart
_LEAD_SEC: Final = (1.1, 1.5)  # from the beginning of a group's film until the first one leaves the board


@dataclass(frozen=True)
class Setting:
    """What a data set may have beyond its athletes.

    Attributes:
        distractors: other divers in every clip, 0 to 2, one on each side.
        zoom: how large everything is; 1 shows about 4 m of height, 0.4 about 10 m.
        camera: whom it follows and films for as long as they are at it: the athlete, who is then the one in the
            middle, or the group, so that with one distractor nothing in the picture tells who is judged.
        judged: what a diver's mark follows: the faults that are seen; a relation between two moments; or what the
            relation is made of, each by itself. See `data_catalog.synthetic.sport.agreement`.
    """

    distractors: int = 0
    zoom: float = 1.0
    camera: Camera = "athlete"
    judged: Judged = "faults"

    def __post_init__(self) -> None:
        if not 0 <= self.distractors <= MOST:
            raise ValueError(f"there can be 0 to {MOST} distractors, {self.distractors} asked")
        if not 0.25 <= self.zoom <= 1.0:
            raise ValueError(f"zoom must be from 0.25 to 1, got {self.zoom}")
        if self.camera not in CAMERAS:
            raise ValueError(f"the camera follows athlete or group, not '{self.camera}'")
        if self.judged not in JUDGED:
            raise ValueError(f"judged are {', '.join(JUDGED)}, not '{self.judged}'")


ALONE: Final = Setting()


def invite(athlete: DiveMotion, setting: Setting, rng: np.random.Generator) -> list[DiveMotion]:
    """Divers for the boards beside the athlete's; the first one takes either side.

    Returns:
        How all of them move, the athlete first, who is elsewhere and at another time if the camera follows the group.
    """
    side = 1.0 if rng.random() < 0.5 else -1.0
    motions = [athlete, *(_beside(athlete, side * (-1.0) ** number, rng) for number in range(setting.distractors))]
    return _gathered(motions, rng) if setting.distractors and setting.camera == "group" else motions


def facts_of(motion: DiveMotion) -> dict[str, float]:
    """Of a distractor for dataset.json: where, when, what, and how large the splash is."""
    return {
        "lane_m": round(motion.lane_m, 3),
        "entry_sec": round(motion.entry_sec, 3),
        "difficulty": motion.dive.difficulty,
        "splash": round(motion.faults.splash, 4),
    }


def _beside(athlete: DiveMotion, side: float, rng: np.random.Generator) -> DiveMotion:
    """A dive from the athlete's height, drawn as theirs was: whoever sees two such divers can't tell who is who."""
    height = athlete.dive.height_m
    slack, dive = _draw(rng)
    while dive.height_m != height:
        slack, dive = _draw(rng)
    run_up, _ = draw_start(dive, rng)
    takeoff = athlete.takeoff_sec + rng.uniform(-_TOGETHER_SEC, _TOGETHER_SEC)  # equal heights fall equally long
    lane = athlete.lane_m + side * rng.uniform(*_AWAY_M)
    return draw_motion(dive, draw_faults(slack, 0.0, rng), takeoff, run_up, lane, rng)


def _draw(rng: np.random.Generator) -> tuple[float, Dive]:
    slack, luck = rng.random(2).tolist()
    return slack, draw_dive(slack, luck, rng)


def _gathered(motions: list[DiveMotion], rng: np.random.Generator) -> list[DiveMotion]:
    """All of them moved in time and place, so that the film begins with the first to dive and their middle is 0.

    An athlete who always dived at the same time of the film, or from the middle board, would be recognised by that.
    """
    wait = rng.uniform(*_LEAD_SEC) - min(motion.takeoff_sec for motion in motions)
    middle = float(np.mean([motion.lane_m for motion in motions]))
    return [replace(one, takeoff_sec=one.takeoff_sec + wait, lane_m=one.lane_m - middle) for one in motions]
