"""Other divers beside the athlete: they dive at about the same time from the same height, and nobody judges them.

Their dive, their faults and so their splash are drawn independently of the athlete's, by a generator of their own:
the athlete's dive and its faults are the same with and without them. Whoever judges the whole picture is misled by
them; whoever looks at the athlete is not.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from data_catalog.datasets.procedural.athlete import Floats, centre_of_mass
from data_catalog.datasets.procedural.dive import DiveMotion, programme
from data_catalog.datasets.procedural.figure import Look, diver_look
from data_catalog.datasets.procedural.judges import Faults
from data_catalog.datasets.procedural.splash import Splash

Camera = Literal["athlete", "group"]
CAMERAS: Final[tuple[Camera, ...]] = ("athlete", "group")
MOST: Final = 2
AZIMUTH: Final = (0.55, 0.75)  # seen so much from the front that divers of neighbouring boards stand side by side
_AWAY_M: Final = (1.6, 2.2)  # between neighbouring boards
_TOGETHER_SEC: Final = 0.5  # entries are at most this far apart


@dataclass(frozen=True)
class Setting:
    """What a data set may have beyond its athletes.

    Attributes:
        distractors: other divers in every clip, 0 to 2, one on each side.
        zoom: how large everything is; 1 shows about 4 m of height, 0.4 about 10 m.
        camera: whom it follows: the athlete, who is then the one in the middle, or the group, so that with one
            distractor nothing in the picture tells who is judged.
    """

    distractors: int = 0
    zoom: float = 1.0
    camera: Camera = "athlete"

    def __post_init__(self) -> None:
        if not 0 <= self.distractors <= MOST:
            raise ValueError(f"there can be 0 to {MOST} distractors, {self.distractors} asked")
        if not 0.25 <= self.zoom <= 1.0:
            raise ValueError(f"zoom must be from 0.25 to 1, got {self.zoom}")
        if self.camera not in CAMERAS:
            raise ValueError(f"the camera follows athlete or group, not '{self.camera}'")


ALONE: Final = Setting()


@dataclass(frozen=True, eq=False)
class Distractor:
    """One other diver."""

    motion: DiveMotion
    look: Look
    splash: Splash

    @property
    def facts(self) -> dict[str, float]:
        """For dataset.json: where, when, and how large the splash is."""
        return {
            "lane_m": round(self.motion.lane_m, 3),
            "entry_sec": round(self.motion.entry_sec, 3),
            "splash": round(self.motion.faults.splash, 4),
        }


def entry_place(motion: DiveMotion) -> Floats:
    """Where a dive meets the water: the mass centre (3,) in metres just after the entry."""
    place: Floats = centre_of_mass(motion(np.array([motion.entry_sec + 0.06])))[0]
    return place


def invite(athlete: DiveMotion, count: int, rng: np.random.Generator) -> tuple[Distractor, ...]:
    """`count` divers for the boards beside `athlete`'s; the first one takes either side."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    return tuple(_invite_one(athlete, side * (-1.0) ** number, rng) for number in range(count))


def _invite_one(athlete: DiveMotion, side: float, rng: np.random.Generator) -> Distractor:
    height = athlete.dive.height_m
    dives = [dive for dive in programme() if dive.height_m == height]
    dive = dives[int(rng.integers(len(dives)))]
    slack = rng.random()
    entry, knees, legs, distance, splash = np.clip(slack + rng.normal(0.0, 0.08, 5), 0.0, 1.0).tolist()
    faults = Faults(splash, entry, knees, legs, distance)
    over = np.radians(40.0) * entry * (1.0 if rng.random() < 0.6 else -1.0)
    takeoff = athlete.takeoff_sec + rng.uniform(-_TOGETHER_SEC, _TOGETHER_SEC)
    motion = DiveMotion(dive, faults, takeoff, float(over), False, side * rng.uniform(*_AWAY_M), rng.uniform(1.62, 1.8))
    # Equal heights fall for equally long, but for the height of the jump: let the water be met together.
    motion = replace(motion, takeoff_sec=takeoff + athlete.flight_sec - motion.flight_sec)
    return Distractor(motion, diver_look(rng), Splash.throw(motion.entry_sec, entry_place(motion), splash, rng))
