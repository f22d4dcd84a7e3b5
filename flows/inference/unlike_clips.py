"""Whether new clips are unlike what a run's network was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import Workspace
from flows.inference.known_kind import KindUnknown, find_kind, settings_of
from flows.runs.finished import FinishedRun


@dataclass(frozen=True)
class Novelty:
    """How far new clips are from the kind that a network was trained on.

    Attributes:
        distances: of each clip in standard deviations; empty where that can't be told.
        bound: what `coverage` of clips of that kind stay within; None where that can't be told.
        coverage: a share, 0.95.
        unknown: why it can't be told, one sentence; empty where it can.
    """

    distances: tuple[float, ...]
    bound: float | None
    coverage: float
    unknown: str = ""

    def is_unlike(self, distance: float) -> bool:
        """Whether a clip at this distance is further away than clips of that kind are."""
        return self.bound is not None and distance > self.bound

    def sentence(self, clip_id: str, run_id: str, distance: float) -> str:
        """What somebody has to know of a clip that is unlike the training clips, and what to do."""
        times = distance / self.bound if self.bound else float("inf")
        return (
            f"{clip_id} is unlike what run '{run_id}' was trained on: it is {times:.1f} times as far from the training "
            f"clips as {self.coverage:.0%} of clips of their kind are. Its score means little; look whether the tube "
            "is right, or take a run that was trained on clips like it."
        )


def find_novelty(
    workspace: Workspace, run: FinishedRun, weights: str, features: NDArray[np.floating], make: bool = True
) -> Novelty:
    """How unlike its training clips a run's network finds new clips.

    Args:
        workspace: the workspace.
        run: the run.
        weights: `last` or `best`.
        features: (m, F) of the new clips, of these weights, as `tasks.trained.ScoredClips` has them.
        make: as of `find_kind`.
    """
    try:
        known = find_kind(workspace, run, weights, make)
    except KindUnknown as exc:
        unknown = f"Whether this is unlike what run '{run.run_id}' was trained on can't be told: {exc}"
        return Novelty((), None, settings_of(run, weights).coverage, unknown)
    return Novelty(tuple(map(float, known.kind.distance(features))), known.bound, known.coverage)
