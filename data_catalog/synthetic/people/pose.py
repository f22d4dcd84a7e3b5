"""Poses of athletes, made: running, tucked, piked, stretched, handstands, riding, anything that joints allow.

A pose says where the limbs point: thighs in the pelvis' frame, arms in the chest's. Each bone then turns the shortest
way from its rest direction, so poses fit bodies of every shape. Angles are radians.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.people.mesh import Floats, Skeleton

Doubles = NDArray[np.float64]
_SPINE = ("spine05", "spine04", "spine03", "spine02", "spine01")
_NECK = ("neck01", "neck02", "neck03", "head")


@dataclass(frozen=True)
class Pose:
    """Where a person's parts point.

    Attributes:
        thighs, arms: direction (x, y, z) for left and right.
        knees, elbows: how far each is bent, 0 is straight.
        elbow_towards: direction that the forearms bend to.
        spine: bend forward, twist, bend aside of the whole trunk.
        neck: the same for the head.
        feet: pointed (positive) or pulled up.
        modelled: quaternions by bone; where there are any, the rest is not used.
    """

    thighs: tuple[Doubles, Doubles]
    arms: tuple[Doubles, Doubles]
    knees: tuple[float, float] = (0.0, 0.0)
    elbows: tuple[float, float] = (0.0, 0.0)
    elbow_towards: tuple[Doubles, Doubles] = (np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0]))
    spine: tuple[float, float, float] = (0.0, 0.0, 0.0)
    neck: tuple[float, float, float] = (0.0, 0.0, 0.0)
    feet: float = 0.0
    modelled: dict[str, Doubles] = field(default_factory=dict)


def limb(forward: float, aside: float, left: bool) -> Doubles:
    """Direction of a limb that hangs down at (0, 0), after swinging `forward` and then spreading `aside`."""
    side = np.sin(aside) * (1 if left else -1)
    return np.array([side, -np.cos(forward) * np.cos(aside), np.sin(forward) * np.cos(aside)])


def random_pose(rng: np.random.Generator, modelled: list[dict[str, Doubles]]) -> Pose:
    """One of the families, drawn with the weight that training wants of it.

    Args:
        rng: source of everything random.
        modelled: `People.poses`: by bone a quaternion (4,) float64 in the order x, y, z, w.
    """
    if modelled and rng.random() < 0.12:
        return Pose((np.zeros(3),) * 2, (np.zeros(3),) * 2, modelled=modelled[rng.integers(len(modelled))])
    families = (_stride, _tuck, _pike, _layout, _crouch, _any)
    family = families[rng.choice(len(families), p=(0.28, 0.12, 0.1, 0.15, 0.15, 0.2))]
    return family(rng)


def _stride(rng: np.random.Generator) -> Pose:
    swing, bent = rng.uniform(0, 1.1), rng.uniform(0, 1.8)
    elbow = rng.uniform(0, 1.9)
    sign = 1 if rng.random() < 0.5 else -1
    forward = [sign * swing + rng.normal(0, 0.1), -sign * swing * rng.uniform(0.3, 0.9)]
    knees = [bent * rng.uniform(0.2, 1) if f > 0 else bent * rng.uniform(0, 1) for f in forward]
    arms = [rng.normal(-f * rng.uniform(0.3, 1.2), 0.2) for f in forward]
    return Pose(
        thighs=(limb(forward[0], rng.normal(0.06, 0.05), True), limb(forward[1], rng.normal(0.06, 0.05), False)),
        arms=(limb(arms[0], abs(rng.normal(0.15, 0.2)), True), limb(arms[1], abs(rng.normal(0.15, 0.2)), False)),
        knees=(knees[0], knees[1]), elbows=(elbow, elbow * rng.uniform(0.5, 1)),
        spine=(rng.uniform(-0.05, 0.45), rng.normal(0, 0.2), rng.normal(0, 0.08)),
        neck=(rng.normal(0, 0.2), rng.normal(0, 0.4), 0), feet=rng.uniform(-0.2, 0.5),
    )  # fmt: skip


def _tuck(rng: np.random.Generator) -> Pose:
    thigh, spread = rng.uniform(1.7, 2.5), rng.uniform(0, 0.45)
    return Pose(
        thighs=(limb(thigh, spread, True), limb(thigh + rng.normal(0, 0.1), spread, False)),
        arms=(limb(rng.uniform(0.6, 1.3), 0.12, True), limb(rng.uniform(0.6, 1.3), 0.12, False)),
        knees=(rng.uniform(1.9, 2.5),) * 2, elbows=(rng.uniform(0.2, 1.0),) * 2,
        spine=(rng.uniform(0.5, 1.2), rng.normal(0, 0.08), 0), neck=(rng.uniform(0, 0.6), 0, 0),
        feet=rng.uniform(0.2, 0.9),
    )  # fmt: skip


def _pike(rng: np.random.Generator) -> Pose:
    thigh = rng.uniform(1.3, 2.4)
    reach = rng.uniform(0.7, 2.2)
    return Pose(
        thighs=(limb(thigh, rng.uniform(0, 0.1), True), limb(thigh, rng.uniform(0, 0.1), False)),
        arms=(limb(reach, rng.uniform(0.05, 1.2), True), limb(reach, rng.uniform(0.05, 1.2), False)),
        knees=(abs(rng.normal(0, 0.08)),) * 2, elbows=(rng.uniform(0, 0.5),) * 2,
        spine=(rng.uniform(0.3, 1.1), 0, 0), neck=(rng.uniform(-0.2, 0.5), 0, 0), feet=rng.uniform(0.4, 1.0),
    )  # fmt: skip


def _layout(rng: np.random.Generator) -> Pose:
    up = rng.random() < 0.6   # arms over the head, as at the entry and in a handstand, or held to the body
    arm = rng.uniform(2.5, 3.2) if up else rng.uniform(-0.3, 0.6)
    aside = rng.uniform(0, 0.25) if up or rng.random() < 0.5 else rng.uniform(0.8, 1.6)
    back = rng.normal(-0.05, 0.25)
    return Pose(
        thighs=(limb(back, rng.uniform(0, 0.12), True), limb(back + rng.normal(0, 0.08), rng.uniform(0, 0.12), False)),
        arms=(limb(arm, aside, True), limb(arm + rng.normal(0, 0.15), aside, False)),
        knees=(abs(rng.normal(0, 0.15)),) * 2, elbows=(rng.uniform(0, 0.5), rng.uniform(0, 1.6)),
        spine=(rng.normal(-0.1, 0.25), rng.normal(0, 0.35), rng.normal(0, 0.12)),
        neck=(rng.normal(0, 0.3), rng.normal(0, 0.3), 0), feet=rng.uniform(0.2, 1.0),
    )  # fmt: skip


def _crouch(rng: np.random.Generator) -> Pose:
    """Crouching, sitting, riding, pedalling: bent hips and knees under a leaning trunk, hands in front."""
    thighs = rng.uniform(0.7, 1.9) + rng.normal(0, 0.35, 2)
    reach = rng.uniform(0.4, 1.7)
    return Pose(
        thighs=(limb(thighs[0], rng.uniform(0, 0.5), True), limb(thighs[1], rng.uniform(0, 0.5), False)),
        arms=(limb(reach, rng.uniform(0, 0.6), True), limb(reach + rng.normal(0, 0.3), rng.uniform(0, 0.6), False)),
        knees=(rng.uniform(0.6, 2.3), rng.uniform(0.6, 2.3)), elbows=(rng.uniform(0, 1.6), rng.uniform(0, 1.6)),
        spine=(rng.uniform(0, 0.9), rng.normal(0, 0.25), rng.normal(0, 0.15)),
        neck=(rng.uniform(-0.5, 0.3), rng.normal(0, 0.4), 0), feet=rng.normal(0.1, 0.2),
    )  # fmt: skip


def _any(rng: np.random.Generator) -> Pose:
    towards = [rng.normal((0, 0.3, 0.8), 1) for _ in range(2)]
    return Pose(
        thighs=(limb(rng.uniform(-0.5, 2), rng.uniform(0, 0.9), True),
                limb(rng.uniform(-0.5, 2), rng.uniform(0, 0.9), False)),
        arms=(limb(rng.uniform(-0.8, 3.1), rng.uniform(0, 1.4), True),
              limb(rng.uniform(-0.8, 3.1), rng.uniform(0, 1.4), False)),
        knees=(rng.uniform(0, 2.2), rng.uniform(0, 2.2)), elbows=(rng.uniform(0, 2.2), rng.uniform(0, 2.2)),
        elbow_towards=(towards[0], towards[1]),
        spine=(rng.uniform(-0.4, 0.9), rng.normal(0, 0.4), rng.normal(0, 0.3)),
        neck=(rng.normal(0, 0.3), rng.normal(0, 0.5), rng.normal(0, 0.15)), feet=rng.uniform(-0.2, 0.8),
    )  # fmt: skip


def bone_motions(pose: Pose, skeleton: Skeleton, joints: Floats) -> tuple[Floats, Floats]:
    """Rotation (B, 3, 3) and place (B, 3) of every bone's beginning, in the person's own frame."""
    turns = _turner(pose, skeleton, joints)
    rotations = np.zeros((len(joints), 3, 3))
    places = np.zeros((len(joints), 3))
    for bone in skeleton.order:
        up = skeleton.parents[bone]
        above = rotations[up] if up >= 0 else np.eye(3)
        places[bone] = places[up] + above @ (joints[bone] - joints[up]) if up >= 0 else joints[bone]
        rotations[bone] = above @ turns(skeleton.names[bone], above)
    return rotations.astype(np.float32), places.astype(np.float32)


class _turner:
    """Gives each bone's own rotation, asked for parents first."""

    def __init__(self, pose: Pose, skeleton: Skeleton, joints: Floats) -> None:
        self.pose, self.joints, self.index = pose, joints.astype(np.float64), skeleton.index
        self.chest = np.eye(3)
        self.limb_axis: dict[str, Doubles] = {}

    def __call__(self, bone: str, above: Doubles) -> Doubles:
        if self.pose.modelled:
            return quaternion_matrix(self.pose.modelled[bone]) if bone in self.pose.modelled else np.eye(3)
        stem, side = bone[:-2], int(bone.endswith(".R"))
        if bone in _SPINE:
            turn = euler(np.asarray(self.pose.spine) / len(_SPINE))
            self.chest = above @ turn
            return turn
        if bone in _NECK:
            return euler(np.asarray(self.pose.neck) / len(_NECK))
        if stem == "upperleg01":
            return self._aim(bone, "lowerleg01", above, self.pose.thighs[side])
        if stem == "lowerleg01":
            return rotation_about(np.array([1.0, 0, 0]), self.pose.knees[side])
        if stem == "foot":
            return rotation_about(np.array([1.0, 0, 0]), self.pose.feet)
        if stem == "upperarm01":
            return self._aim(bone, "lowerarm01", above, self.chest @ self.pose.arms[side])
        if stem == "lowerarm01":
            return self._bend_elbow(bone, above, side)
        return np.eye(3)

    def _rest(self, bone: str, towards: str) -> Doubles:
        along = self.joints[self.index[towards + bone[-2:]]] - self.joints[self.index[bone]]
        return np.asarray(along / np.linalg.norm(along), np.float64)

    def _aim(self, bone: str, towards: str, above: Doubles, wanted: Doubles) -> Doubles:
        return shortest_rotation(self._rest(bone, towards), above.T @ (wanted / np.linalg.norm(wanted)))

    def _bend_elbow(self, bone: str, above: Doubles, side: int) -> Doubles:
        upper = self.chest @ self.pose.arms[side]
        towards = self.chest @ self.pose.elbow_towards[side]
        axis = np.cross(upper, towards)
        size = np.linalg.norm(axis)
        if size < 1e-6:
            return np.eye(3)
        forearm = rotation_about(axis / size, self.pose.elbows[side]) @ (upper / np.linalg.norm(upper))
        return self._aim(bone, "wrist", above, forearm)


def euler(angles: Doubles) -> Doubles:
    """Rotation (3, 3) float64: bend forward (about x), then twist (y), then bend aside (z), by (3,) radians."""
    about = np.eye(3)
    turns = [rotation_about(about[axis], angles[axis]) for axis in (2, 1, 0)]
    return turns[0] @ turns[1] @ turns[2]


def rotation_about(axis: Doubles, angle: float) -> Doubles:
    """Rotation matrix (3, 3) float64 by `angle` radians about a unit axis (3,)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross))


def shortest_rotation(start: Doubles, end: Doubles) -> Doubles:
    """The smallest rotation (3, 3) float64 that takes one unit vector (3,) to another."""
    axis = np.cross(start, end)
    size = float(np.linalg.norm(axis))
    if size < 1e-9:
        if float(start @ end) > 0:
            return np.eye(3)
        across = np.cross(start, [1.0, 0, 0] if abs(start[0]) < 0.9 else [0, 1.0, 0])
        return rotation_about(across / np.linalg.norm(across), np.pi)
    return rotation_about(axis / size, float(np.arctan2(size, start @ end)))


def quaternion_matrix(quaternion: Doubles) -> Doubles:
    """Rotation matrix (3, 3) float64 of a quaternion (4,) in the order x, y, z, w; it need not be normalised."""
    size = float(np.linalg.norm(quaternion[:3]))
    if size < 1e-12:
        return np.eye(3)
    return rotation_about(quaternion[:3] / size, 2 * float(np.arctan2(size, quaternion[3])))


def random_rotation(rng: np.random.Generator) -> Doubles:
    """Rotation matrix (3, 3) float64, uniform over all orientations."""
    return quaternion_matrix(rng.normal(0, 1, 4))
