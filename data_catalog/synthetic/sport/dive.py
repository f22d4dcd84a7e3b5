"""The dive programme: which dives exist, what they are worth, and how a body moves through one."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from data_catalog.synthetic.sport.athlete import (
    JOINT,
    Floats,
    centre_of_mass,
    interpolate,
    place_joints,
    pose,
    smoothstep,
    turn,
)
from data_catalog.synthetic.sport.judges import Faults

GRAVITY: Final = 9.81
_GROUPS: Final = {"forward": 1, "back": 2, "reverse": 3, "inward": 4}
_LETTER: Final = {"straight": "A", "pike": "B", "tuck": "C"}
# Moment of inertia about the somersault axis, relative to the stretched body.
_INERTIA: Final = {"straight": 0.95, "pike": 0.42, "tuck": 0.30}
_FEET: Final = [JOINT[name] for name in ("toe_l", "toe_r", "heel_l", "heel_r", "ankle_l", "ankle_r")]
_TOES: Final = [JOINT["toe_l"], JOINT["toe_r"]]
_UPRIGHT_SEC: Final = 0.4  # before the take-off a leaning body begins to stand up, and half of it before it does


@dataclass(frozen=True)
class Dive:
    """One entry of the programme; somersaults end in a half, so every dive enters head first."""

    group: str
    somersaults: float
    twists: float
    position: str
    height_m: float

    @property
    def difficulty(self) -> float:
        """Our own tariff, one decimal: rotation counts most, then twists, position, group and height."""
        worth = 0.95 + 0.60 * self.somersaults + 0.30 * self.twists
        worth += {"tuck": 0.0, "pike": 0.2, "straight": 0.4}[self.position]
        worth += {"forward": 0.0, "back": 0.1, "reverse": 0.2, "inward": 0.2}[self.group]
        worth += {3.0: 0.0, 5.0: 0.0, 7.5: 0.05, 10.0: 0.1}[self.height_m]
        return round(worth + 1e-9, 1)

    @property
    def code(self) -> str:
        """The dive number as divers write it: 107B, or 5253B with twists."""
        halves, letter = round(2 * self.somersaults), _LETTER[self.position]
        if self.twists:
            return f"5{_GROUPS[self.group]}{halves}{round(2 * self.twists)}{letter}"
        return f"{_GROUPS[self.group]}0{halves}{letter}"

    @property
    def sense(self) -> float:
        """+1 when the head turns away from the board, -1 when it turns towards it."""
        return 1.0 if self.group in ("forward", "back") else -1.0

    @property
    def faces_water(self) -> bool:
        """Whether the athlete stands facing the water."""
        return self.group in ("forward", "reverse")


@cache
def programme() -> tuple[Dive, ...]:
    """Every dive that can be drawn and is worth 1.5 to 4.1."""
    dives = []
    for group in _GROUPS:
        for height, most in ((3.0, 3.5), (5.0, 2.5), (7.5, 3.5), (10.0, 4.5)):
            for somersaults in np.arange(0.5, most + 0.1, 1.0):
                for position, limit in (("tuck", 4.5), ("pike", 4.5), ("straight", 2.5)):
                    for twists in (0.0, 1.0, 1.5, 2.0, 2.5, 3.0):
                        twistable = position != "tuck" and 1.5 <= somersaults <= 2.5
                        if somersaults > limit or (twists and not twistable):
                            continue
                        dives.append(Dive(group, float(somersaults), twists, position, height))
    return tuple(dive for dive in dives if 1.5 <= dive.difficulty <= 4.1)


def choose_dive(difficulty: float, rng: np.random.Generator) -> Dive:
    """A random dive of the programme worth about `difficulty`."""
    gap = np.array([abs(dive.difficulty - difficulty) for dive in programme()])
    near = np.flatnonzero(gap <= max(0.1, float(gap.min())) + 1e-9)
    return programme()[int(rng.choice(near))]


@dataclass(frozen=True)
class DiveMotion:
    """A performed dive: call it with times (...) in seconds, get joints (..., 27, 3) in metres.

    World: the board's tip is at (0, height, lane), the water is y = 0.
    """

    dive: Dive
    faults: Faults
    takeoff_sec: float
    over_rotation: float
    run_up: bool
    lane_m: float = 0.0
    height_m: float = 1.72
    lean: float = 0.0  # radians of the whole body on the board, positive = over the water; gone before the take-off
    tilt: float = 0.0  # radians of the body's line at the entry, turned as `lean` turns it

    @property
    def flight_sec(self) -> float:
        """Seconds from leaving the board to the hands touching the water."""
        up = self._jump_speed
        drop = self.dive.height_m + 1.05 - 1.25  # mass centre: standing on the board, hands at the water
        return (up + float(np.sqrt(up * up + 2.0 * GRAVITY * drop))) / GRAVITY

    @property
    def entry_sec(self) -> float:
        """When the hands touch the water."""
        return self.takeoff_sec + self.flight_sec

    @property
    def _jump_speed(self) -> float:
        return 4.6 if self.dive.height_m == 3.0 else 3.0

    def __call__(self, times: Floats) -> Floats:
        """Joints (..., 27, 3) float64 in metres of the world, at `times` (...) in seconds of the clip."""
        poses = self._poses(times)
        yaw = self._yaw(times)
        body = turn(place_joints(poses, self.height_m), self._pitch(times), yaw)
        grounded = body + self._stand(times, body)[..., None, :]
        airborne = body + (self._fly(times) - centre_of_mass(body))[..., None, :]
        joints: Floats = np.where((times < self.takeoff_sec)[..., None, None], grounded, airborne)
        return joints

    def _stand(self, times: Floats, body: Floats) -> Floats:
        """Where the pelvis is while the feet are on the board."""
        start = -1.5 if self.run_up else 0.0
        walked = smoothstep(times / max(self.takeoff_sec - 0.45, 0.1))
        x = start * (1.0 - walked) - 0.03 - body[..., _TOES, 0].mean(axis=-1)
        y = self.dive.height_m - body[..., _FEET, 1].min(axis=-1)
        return np.stack([x, y, np.full_like(x, self.lane_m)], axis=-1)

    def _fly(self, times: Floats) -> Floats:
        """The mass centre after take-off: ballistic, then braked by the water."""
        instant = np.array([self.takeoff_sec])
        body = turn(place_joints(self._poses(instant), self.height_m), self._pitch(instant), self._yaw(instant))
        start = (centre_of_mass(body) + self._stand(instant, body))[0]
        away = (0.75 + 2.3 * self.faults.distance) / self.flight_sec
        since = np.maximum(times - self.takeoff_sec, 0.0)
        dry = np.minimum(since, self.flight_sec)
        wet = since - dry
        speed = self._jump_speed - GRAVITY * self.flight_sec
        brake = 1.6
        y = start[1] + self._jump_speed * dry - 0.5 * GRAVITY * dry**2
        y = y + speed * (1.0 - np.exp(-brake * wet)) / brake
        return np.stack([start[0] + away * (dry + 0.4 * wet), y, np.full_like(y, start[2])], axis=-1)

    def _progress(self, times: Floats) -> Floats:
        return np.clip((times - self.takeoff_sec) / self.flight_sec, 0.0, 1.0)

    def _shape_times(self) -> tuple[float, float, float, float]:
        """Fractions of the flight: closing starts, closed, opening starts, open."""
        if self.dive.somersaults < 1.0:
            return 0.12, 0.34, 0.46, 0.76
        close = 0.10 if self.dive.somersaults > 2.0 else 0.16
        last = 0.80 if self.dive.somersaults > 3.0 else 0.72
        return close, close + 0.13, last, last + 0.13

    def _pitch(self, times: Floats) -> Floats:
        """Somersault angle: momentum is kept, so a tighter shape turns faster."""
        grid = np.linspace(0.0, 1.0, 201)
        start, closed, opening, opened = self._shape_times()
        tight = smoothstep((grid - start) / (closed - start)) - smoothstep((grid - opening) / (opened - opening))
        rate = 1.0 / (1.0 + tight * (_INERTIA[self.dive.position] - 1.0))
        turned = np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]))])
        total = 2.0 * np.pi * self.dive.somersaults + self.over_rotation
        progress = self._progress(times)
        angle = self.dive.sense * np.interp(progress, grid, turned / turned[-1] * total)
        if self.lean or self.tilt:
            # Each shows at its own end of the dive, and neither moves the mass centre in flight or where it enters.
            upright = smoothstep((times - self.takeoff_sec + _UPRIGHT_SEC) / (0.5 * _UPRIGHT_SEC))
            angle = angle + self.lean * (1.0 - upright) + self.tilt * smoothstep((progress - 0.65) / 0.25)
        return np.asarray(angle)

    def _yaw(self, times: Floats) -> Floats:
        turned = smoothstep((self._progress(times) - 0.16) / 0.56)
        facing = 0.0 if self.dive.faces_water else np.pi
        return facing + 2.0 * np.pi * self.dive.twists * turned

    def _poses(self, times: Floats) -> Floats:
        """Joint angles: the clean programme plus the faults that judges see."""
        clean = interpolate(times, self._ground_keys() + self._air_keys())
        if self.run_up:
            clean = clean + self._steps(times)
        flight = self._progress(times)
        loose = smoothstep((flight - 0.06) / 0.16)[..., None]
        tucked = self.dive.position == "tuck"
        closed = smoothstep((flight - 0.15) / 0.1) * (1.0 - smoothstep((flight - self._shape_times()[2]) / 0.1))
        knees = np.where(closed > 0.5, 0.25 if tucked else 1.0, 1.0)[..., None]
        bent = pose(knee=78.0, hip=34.0, ankle=38.0) * self.faults.knees * knees
        apart = pose(spread=24.0, hip_l=26.0, hip_r=-24.0) * self.faults.legs
        result: Floats = clean + loose * (bent + apart)
        return result

    def _ground_keys(self) -> list[tuple[float, Floats]]:
        left = self.takeoff_sec
        stance = pose(ankle=90.0, arm=4.0, armout=6.0)
        reach = pose(ankle=80.0, arm=165.0, armout=12.0)
        crouch = pose(spine=24.0, hip=58.0, knee=76.0, ankle=108.0, arm=-42.0, armout=12.0, neck=-8.0)
        push = pose(ankle=32.0, arm=168.0, armout=8.0, spine=-4.0)
        return [(left - 0.85, stance), (left - 0.52, reach), (left - 0.2, crouch), (left, push)]

    def _air_keys(self) -> list[tuple[float, Floats]]:
        start, closed, opening, opened = (self.takeoff_sec + self.flight_sec * u for u in self._shape_times())
        line = pose(ankle=8.0, arm=176.0, armout=3.0, neck=-4.0)
        shapes = {
            "tuck": pose(spine=34.0, neck=22.0, hip=122.0, knee=136.0, ankle=20.0, arm=62.0, elbow=32.0),
            "pike": pose(spine=40.0, neck=18.0, hip=112.0, ankle=8.0, arm=88.0, elbow=4.0),
            "straight": pose(ankle=8.0, arm=8.0, armout=8.0, neck=-4.0),
        }
        shape = shapes[self.dive.position]
        keys = [(start, pose(ankle=12.0, arm=150.0, armout=14.0, spine=10.0))]
        if self.dive.twists:
            wrapped = pose(ankle=8.0, arm_l=150.0, elbow_l=100.0, arm_r=40.0, elbow_r=115.0, armout=6.0)
            middle = 0.5 * (closed + opening)
            keys += [(closed, wrapped), (middle, wrapped), (middle + 0.1 * self.flight_sec, shape)]
        else:
            keys += [(closed, shape)]
        return [*keys, (opening, shape), (opened, line), (self.entry_sec, line)]

    def _steps(self, times: Floats) -> Floats:
        """Walking on the board, faded out before the crouch."""
        fade = 1.0 - smoothstep((times - (self.takeoff_sec - 0.65)) / 0.15)
        phase = 2.0 * np.pi * 1.4 * times
        swing, lift = np.sin(phase), np.cos(phase)
        parts = (
            swing[..., None] * pose(hip_l=24.0, hip_r=-24.0, arm_l=-18.0, arm_r=18.0)
            + np.maximum(lift, 0.0)[..., None] * pose(knee_l=38.0)
            + np.maximum(-lift, 0.0)[..., None] * pose(knee_r=38.0)
        )
        return np.asarray(fade[..., None] * parts)
