"""Rendered people as actors: one person in several poses, seen from a side that changes little by little."""

from __future__ import annotations

import functools

import numpy as np

from data_catalog.synthetic.composites.cutouts import Image, tight
from data_catalog.synthetic.people.mesh import People
from data_catalog.synthetic.people.pose import Doubles, Pose, random_pose, rotation_about
from data_catalog.synthetic.people.render import Viewpoint, random_body, random_viewpoint, render_person

SIDE_PX = 176         # longer side of a cut-out: crops show people at 60 to 130 px
PICTURES_EACH = 6
_KEPT = 4096          # persons in memory, some 0.2 MB each


class Performers:
    """`number` persons, each rendered in 6 poses when it is first asked for (half a second), the same for a seed."""

    def __init__(self, people: People, number: int, seed: int = 0) -> None:
        if number < 1:
            raise ValueError(f"at least one person must be rendered, got {number}")
        self._people, self._number, self._seed = people, number, seed
        self._pictures = functools.lru_cache(maxsize=_KEPT)(self._render)

    def __call__(self, rng: np.random.Generator, frames: int) -> list[Image]:
        """See `cutouts.Actors`; neighbouring pictures show neighbouring poses."""
        pictures = self._pictures(int(rng.integers(self._number)))
        start = int(rng.integers(len(pictures)))
        steps = rng.choice([-1, 0, 1, 2], size=frames, p=(0.2, 0.3, 0.3, 0.2))
        order = np.clip(start + np.cumsum(steps) - steps[0], 0, len(pictures) - 1)
        return [pictures[index] for index in order]

    def _render(self, number: int) -> tuple[Image, ...]:
        rng = np.random.default_rng((self._seed, number))
        look = random_body(self._people, rng)
        ends = random_pose(rng, []), random_pose(rng, [])
        view = random_viewpoint(rng)
        pictures = []
        for share in np.linspace(0, 1, PICTURES_EACH):
            pictures.append(tight(render_person(self._people, look, between(*ends, float(share)), view, SIDE_PX)))
            turned = rotation_about(_direction(rng), rng.normal(0, 0.3)) @ view.rotation
            view = Viewpoint(turned, view.distance_dm, view.light, view.ambient)
        return tuple(pictures)


def between(first: Pose, second: Pose, share: float) -> Pose:
    """A pose on the way: `share` 0 is the first, 1 the second."""

    def mix(a: float, b: float) -> float:
        return a * (1 - share) + b * share

    def aim(a: Doubles, b: Doubles) -> Doubles:
        # The small push aside keeps opposite directions from meeting in no direction at all.
        middle = a / np.linalg.norm(a) * (1 - share) + b / np.linalg.norm(b) * share + np.array([1e-3, 0, 1e-3])
        return np.asarray(middle / np.linalg.norm(middle), np.float64)

    return Pose(
        thighs=(aim(first.thighs[0], second.thighs[0]), aim(first.thighs[1], second.thighs[1])),
        arms=(aim(first.arms[0], second.arms[0]), aim(first.arms[1], second.arms[1])),
        knees=(mix(first.knees[0], second.knees[0]), mix(first.knees[1], second.knees[1])),
        elbows=(mix(first.elbows[0], second.elbows[0]), mix(first.elbows[1], second.elbows[1])),
        spine=(mix(first.spine[0], second.spine[0]), mix(first.spine[1], second.spine[1]),
               mix(first.spine[2], second.spine[2])),
        neck=(mix(first.neck[0], second.neck[0]), mix(first.neck[1], second.neck[1]),
              mix(first.neck[2], second.neck[2])),
        feet=mix(first.feet, second.feet),
    )  # fmt: skip


def _direction(rng: np.random.Generator) -> Doubles:
    drawn = rng.normal(0, 1, 3)
    return np.asarray(drawn / np.linalg.norm(drawn), np.float64)
