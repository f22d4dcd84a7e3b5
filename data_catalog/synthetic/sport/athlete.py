"""The articulated athlete: joint angles in, joint positions in metres out.

Body frame: x forward (where the chest faces), y up along the body, z to the left. World frame: x along the
direction of travel, y up, z sideways. All angles of a pose are degrees; every function accepts leading
dimensions, so a whole clip with its motion-blur sub-frames is placed in one call.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POSE: Final = (
    "spine", "neck",
    "hip_l", "hip_r", "knee_l", "knee_r", "spread_l", "spread_r", "ankle_l", "ankle_r",
    "arm_l", "arm_r", "armout_l", "armout_r", "elbow_l", "elbow_r",
)  # fmt: skip
JOINT: Final = {
    name: number
    for number, name in enumerate(
        (
            "pelvis", "waist", "chest", "neck", "head", "face", "nape", "chest_front", "belly_front",
            "shoulder_l", "elbow_l", "wrist_l", "finger_l", "hip_l", "knee_l", "ankle_l", "toe_l", "heel_l",
            "shoulder_r", "elbow_r", "wrist_r", "finger_r", "hip_r", "knee_r", "ankle_r", "toe_r", "heel_r",
        )
    )
}  # fmt: skip
# Shares of body mass, put at the joints nearest to each segment's own centre.
_MASS: Final = {
    "pelvis": 0.22, "waist": 0.13, "chest": 0.19, "head": 0.08,
    "hip_l": 0.05, "hip_r": 0.05, "knee_l": 0.09, "knee_r": 0.09, "ankle_l": 0.03, "ankle_r": 0.03,
    "elbow_l": 0.02, "elbow_r": 0.02,
}  # fmt: skip


def pose(**degrees: float) -> Floats:
    """A pose vector (16,) float64 in degrees; a name without side (`knee=30`) sets left and right.

    Raises:
        KeyError: for a name that is no joint angle.
    """
    angles = np.zeros(len(POSE))
    for name, value in degrees.items():
        names = (name,) if name in POSE else (f"{name}_l", f"{name}_r")
        for side in names:
            if side not in POSE:
                raise KeyError(f"'{name}' is no joint angle; known: {', '.join(POSE)}")
            angles[POSE.index(side)] = value
    return angles


def smoothstep(u: Floats) -> Floats:
    """0 below 0, 1 above 1, with zero slope at both ends; any shape (...) float64, which stays."""
    clipped = np.clip(u, 0.0, 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)


def interpolate(times: Floats, keys: Sequence[tuple[float, Floats]]) -> Floats:
    """Eased interpolation through (seconds, vector) keys: times (...) → (..., n); held outside the keys."""
    stamps = np.array([stamp for stamp, _ in keys])
    values = np.stack([value for _, value in keys])
    after = np.clip(np.searchsorted(stamps, times, side="right"), 1, len(stamps) - 1)
    span = np.maximum(stamps[after] - stamps[after - 1], 1e-6)
    weight = smoothstep((times - stamps[after - 1]) / span)[..., None]
    mixed: Floats = values[after - 1] * (1.0 - weight) + values[after] * weight
    return mixed


def _direction(forward_deg: Floats, outward_deg: Floats, side: float) -> Floats:
    """Unit vector of a limb hanging down, swung forward and lifted outward."""
    forward, outward = np.radians(forward_deg), np.radians(outward_deg)
    return np.stack(
        [np.sin(forward) * np.cos(outward), -np.cos(forward) * np.cos(outward), side * np.sin(outward)], axis=-1
    )


def place_joints(poses: Floats, height_m: float = 1.72) -> Floats:
    """Joint positions in the body frame, pelvis at the origin.

    Args:
        poses: (..., 16) degrees, the order of `POSE`.
        height_m: stature; all lengths scale with it.

    Returns:
        (..., 27, 3) float64 metres, the order of `JOINT`.
    """
    angle = {name: poses[..., number] for number, name in enumerate(POSE)}
    out = np.zeros((*poses.shape[:-1], len(JOINT), 3))

    def put(name: str, start: str | None, offset: Floats) -> None:
        base = 0.0 if start is None else out[..., JOINT[start], :]
        out[..., JOINT[name], :] = base + offset

    bend = np.radians(angle["spine"])
    nod = bend + np.radians(angle["neck"])
    zero = np.zeros_like(bend)

    def along(lean: Floats, up: float, forward: float) -> Floats:
        return np.stack(
            [up * np.sin(lean) + forward * np.cos(lean), up * np.cos(lean) - forward * np.sin(lean), zero], -1
        )

    put("waist", None, along(0.25 * bend, 0.15, 0.0))
    put("chest", "waist", along(0.6 * bend, 0.19, 0.0))
    put("neck", "chest", along(bend, 0.16, 0.0))
    put("head", "neck", along(nod, 0.165, 0.015))
    put("face", "head", along(nod, -0.012, 0.045))
    put("nape", "head", along(nod, 0.025, -0.03))
    put("chest_front", "chest", along(bend, 0.04, 0.10))
    put("belly_front", "waist", along(0.25 * bend, 0.0, 0.09))
    sideways = np.array([0.0, 0.0, 1.0])
    for side, sign in (("l", 1.0), ("r", -1.0)):
        put(f"shoulder_{side}", "chest", along(bend, 0.105, 0.0) + sign * 0.185 * sideways)
        lift = angle[f"armout_{side}"]
        swing = angle[f"arm_{side}"] - np.degrees(bend)
        put(f"elbow_{side}", f"shoulder_{side}", 0.28 * _direction(swing, lift, sign))
        swing = swing + angle[f"elbow_{side}"]
        put(f"wrist_{side}", f"elbow_{side}", 0.25 * _direction(swing, lift * 0.7, sign))
        put(f"finger_{side}", f"wrist_{side}", 0.17 * _direction(swing, lift * 0.5, sign))
        put(f"hip_{side}", None, np.stack([zero, zero - 0.02, zero], -1) + sign * 0.095 * sideways)
        swing, lift = angle[f"hip_{side}"], angle[f"spread_{side}"]
        put(f"knee_{side}", f"hip_{side}", 0.42 * _direction(swing, lift, sign))
        swing = swing - angle[f"knee_{side}"]
        put(f"ankle_{side}", f"knee_{side}", 0.42 * _direction(swing, lift, sign))
        foot = swing + angle[f"ankle_{side}"]
        put(f"toe_{side}", f"ankle_{side}", 0.19 * _direction(foot, lift, sign))
        put(f"heel_{side}", f"ankle_{side}", -0.06 * _direction(foot, lift, sign))
    return out * (height_m / 1.72)


def turn(points: Floats, pitch: Floats, yaw: Floats) -> Floats:
    """Body frame → world orientation: first yaw about the long axis, then pitch about world z.

    Args:
        points: (..., J, 3) metres.
        pitch: (...) radians, positive = head towards +x (a forward somersault of somebody facing +x).
        yaw: (...) radians about the body's own long axis (a twist).
    """
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    cos_yaw, sin_yaw = np.cos(yaw)[..., None], np.sin(yaw)[..., None]
    cos_pitch, sin_pitch = np.cos(pitch)[..., None], np.sin(pitch)[..., None]
    turned = x * cos_yaw + z * sin_yaw
    return np.stack(
        [
            turned * cos_pitch + y * sin_pitch,
            -turned * sin_pitch + y * cos_pitch,
            -x * sin_yaw + z * cos_yaw,
        ],
        axis=-1,
    )


def centre_of_mass(joints: Floats) -> Floats:
    """Mass centre (..., 3) of joints (..., 27, 3)."""
    total: Floats = sum(
        (share * joints[..., JOINT[name], :] for name, share in _MASS.items()), start=np.zeros(3)
    )
    return total / sum(_MASS.values())
