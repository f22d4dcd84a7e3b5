"""A jump on ice: strokes, crouch, rotation in the air, and then a held landing or a fall."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from data_catalog.synthetic.sport.athlete import JOINT, Floats, interpolate, place_joints, pose, smoothstep, turn

GRAVITY: Final = 9.81
_ICE_CLEARANCE_M: Final = 0.03
_LYING_M: Final = 0.13  # the pelvis of somebody who lies on the ice
_FEET: Final = [number for name, number in JOINT.items() if name[:3] in ("toe", "hee", "kne")]


def _stance(spine: float, left: tuple[float, float], right: tuple[float, float], **arms: float) -> Floats:
    """A pose on skates from (hip, knee) of each leg; ankles keep both blades level with the ice."""
    return pose(
        spine=spine, neck=-0.6 * spine,
        hip_l=left[0], knee_l=left[1], ankle_l=90.0 - left[0] + left[1],
        hip_r=right[0], knee_r=right[1], ankle_r=90.0 - right[0] + right[1],
        **arms,
    )  # fmt: skip


@dataclass(frozen=True)
class SkatingMotion:
    """A performed jump: call it with times (...) in seconds, get joints (..., 27, 3) in metres.

    World: travel along +x from x = 0 on the ice y = 0.
    """

    takeoff_sec: float
    turns: float
    jump_m: float
    speed: float
    landed: bool
    fall_lean: float  # radians of the trunk on the ice, positive = head in the direction of travel
    height_m: float = 1.68

    @property
    def flight_sec(self) -> float:
        """Seconds in the air."""
        return 2.0 * float(np.sqrt(2.0 * self.jump_m / GRAVITY))

    @property
    def landing_sec(self) -> float:
        """When the blade touches the ice again."""
        return self.takeoff_sec + self.flight_sec

    def __call__(self, times: Floats) -> Floats:
        """Joints (..., 27, 3) float64 in metres of the world, at `times` (...) in seconds of the clip."""
        body = turn(place_joints(self._poses(times), self.height_m), self._lean(times), self._yaw(times))
        since = times - self.takeoff_sec
        air = np.maximum(self.jump_m - 0.5 * GRAVITY * (since - 0.5 * self.flight_sec) ** 2, 0.0)
        down = smoothstep((times - self.landing_sec) / 0.42) * (0.0 if self.landed else 1.0)
        feet_m = air + _ICE_CLEARANCE_M - body[..., _FEET, 1].min(axis=-1)
        y = (1.0 - down) * feet_m + down * _LYING_M
        offset = np.stack([self._travel(times), y, np.zeros_like(y)], axis=-1)
        placed: Floats = body + offset[..., None, :]
        return placed

    def _travel(self, times: Floats) -> Floats:
        after = np.maximum(times - self.landing_sec, 0.0)
        drag = 0.35 if self.landed else 1.5
        before = np.minimum(times, self.landing_sec)
        return np.asarray(self.speed * (before + (1.0 - np.exp(-drag * after)) / drag))

    def _yaw(self, times: Floats) -> Floats:
        turned = smoothstep((times - self.takeoff_sec + 0.10) / (self.flight_sec + 0.16))
        return np.asarray(0.25 * np.sin(2.3 * times) * (1.0 - turned) + 2.0 * np.pi * self.turns * turned)

    def _lean(self, times: Floats) -> Floats:
        if self.landed:
            return np.zeros_like(times)
        return np.asarray(self.fall_lean * smoothstep((times - self.landing_sec + 0.12) / 0.42))

    def _poses(self, times: Floats) -> Floats:
        start, end = self.takeoff_sec, self.landing_sec
        left = _stance(20.0, (34.0, 46.0), (-34.0, 6.0), arm_l=-30.0, arm_r=44.0, armout=34.0)
        right = _stance(20.0, (-34.0, 6.0), (34.0, 46.0), arm_l=44.0, arm_r=-30.0, armout=34.0)
        keys = []
        for number, stamp in enumerate(np.arange(start - 0.5, -0.6, -0.55)[::-1]):
            keys.append((float(stamp), left if number % 2 else right))
        crouch = _stance(34.0, (58.0, 84.0), (-18.0, 20.0), arm=-46.0, armout=22.0)
        spring = _stance(4.0, (-6.0, 6.0), (62.0, 66.0), arm=92.0, armout=26.0)
        wrapped = pose(hip_l=6.0, hip_r=-2.0, knee=8.0, spread=-4.0, ankle=34.0, arm=46.0, elbow=112.0)
        keys += [(start - 0.18, crouch), (start, spring), (start + 0.3 * self.flight_sec, wrapped)]
        keys += [(start + 0.78 * self.flight_sec, wrapped)]
        if self.landed:
            check = _stance(26.0, (-46.0, 8.0), (40.0, 58.0), armout=40.0, arm_l=82.0, arm_r=-52.0)
            glide = _stance(18.0, (-58.0, 4.0), (16.0, 22.0), armout=36.0, arm_l=96.0, arm_r=-64.0)
            return interpolate(times, [*keys, (end + 0.08, check), (end + 0.55, glide)])
        buckle = pose(spine=44.0, hip_l=80.0, hip_r=30.0, knee_l=96.0, knee_r=70.0, ankle=92.0, armout=60.0, arm=50.0)
        if self.fall_lean < 0.0:  # face down: legs straight behind
            prone = pose(spine=-16.0, neck=-34.0, hip_l=-2.0, hip_r=9.0, knee_l=30.0, ankle=20.0, arm=146.0)
            prone += pose(armout=24.0)
            return interpolate(times, [*keys, (end + 0.12, buckle), (end + 0.42, prone)])
        sprawl = pose(
            spine=-8.0, neck=-22.0, hip_l=30.0, hip_r=-4.0, knee_l=58.0, knee_r=14.0, ankle=36.0, spread=14.0,
            arm_l=150.0, arm_r=112.0, armout=34.0, elbow=24.0,
        )  # fmt: skip
        return interpolate(times, [*keys, (end + 0.12, buckle), (end + 0.42, sprawl)])
