"""Who dives and how well: faults go together, better divers choose harder dives, and the splash follows from both."""

import numpy as np

from data_catalog.synthetic.sport.athlete import Floats, centre_of_mass
from data_catalog.synthetic.sport.dive import Dive, DiveMotion, choose_dive
from data_catalog.synthetic.sport.judges import Faults
from data_catalog.synthetic.sport.venue.splash import Splash


def draw_dive(slack: float, luck: float, rng: np.random.Generator) -> Dive:
    """A dive of the programme for a diver who is so slack (0 = the best): a matter of luck (0..1) and of skill."""
    return choose_dive(1.5 + 2.6 * (0.58 * luck + 0.42 * (1.0 - slack)), rng)


def draw_start(dive: Dive, rng: np.random.Generator) -> tuple[bool, float]:
    """Whether there is a run-up, and after how many seconds the diver leaves the board."""
    run_up = dive.faces_water and bool(rng.random() < 0.5)
    return run_up, rng.uniform(1.1, 1.5) if run_up else rng.uniform(0.7, 1.1)


def draw_faults(slack: float, timing: float, rng: np.random.Generator) -> Faults:
    """Faults that go together as in life: the splash follows the entry and the legs."""
    entry, knees, legs, distance = np.clip(slack * rng.uniform(0.8, 1.15, 4) + rng.normal(0, 0.03, 4), 0.0, 1.0)
    cause = 0.45 * entry + 0.2 * knees + 0.15 * legs + 0.2 * slack
    splash = float(np.clip(0.02 + cause + rng.normal(0, 0.04), 0.0, 1.0))
    return Faults(splash, float(entry), float(knees), float(legs), float(distance), timing)


def draw_motion(
    dive: Dive, faults: Faults, takeoff: float, run_up: bool, lane: float, rng: np.random.Generator
) -> DiveMotion:
    """How a body of random height moves through that dive with these faults."""
    over = np.radians(40.0) * faults.entry * (1.0 if rng.random() < 0.6 else -1.0)
    return DiveMotion(dive, faults, takeoff, float(over), run_up, lane, rng.uniform(1.62, 1.8))


def entry_place(motion: DiveMotion) -> Floats:
    """Where a dive meets the water: the mass centre (3,) in metres just after the entry."""
    place: Floats = centre_of_mass(motion(np.array([motion.entry_sec + 0.06])))[0]
    return place


def throw_up(motion: DiveMotion, rng: np.random.Generator) -> Splash:
    """The water that this dive throws up where it enters."""
    return Splash.throw(motion.entry_sec, entry_place(motion), motion.faults.splash, rng, motion.tilt)
