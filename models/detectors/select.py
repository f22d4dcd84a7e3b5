"""Which of the people in the first frame is the athlete.

Choosing matters more than detecting: on real first frames the best-scoring box is often a spectator. The rule is
therefore named in the configuration, not hidden in a detector.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.detectors.base import Detections
from models.detectors.followed import distinct, followed_rank

Rank = Callable[[Detections, tuple[int, int]], NDArray[np.float64]]


def _score(detections: Detections, _frame_wh: tuple[int, int]) -> NDArray[np.float64]:
    return detections.scores.astype(np.float64)


def _area(detections: Detections, _frame_wh: tuple[int, int]) -> NDArray[np.float64]:
    sides = detections.boxes[:, 2:].astype(np.float64) - detections.boxes[:, :2]
    return np.asarray(sides.prod(axis=1))


def _centrality(detections: Detections, frame_wh: tuple[int, int]) -> NDArray[np.float64]:
    centres = (detections.boxes[:, :2].astype(np.float64) + detections.boxes[:, 2:]) / 2
    return np.asarray(-np.linalg.norm(centres / np.asarray(frame_wh) - 0.5, axis=1), np.float64)


# What each policy wants much of. "central" measures in frame widths and heights, so both sides count alike.
POLICIES: dict[str, Rank] = {"score": _score, "largest": _area, "central": _centrality}
FOLLOWED = "followed"   # needs later frames too, see `models.detectors.followed`


def choose_athletes(
    detections: Detections,
    policy: str,
    athletes: int,
    frame_wh: tuple[int, int],
    heat: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Indices of the chosen boxes, best first, at most `athletes`; fewer where fewer were found.

    Args:
        detections: people of one frame.
        policy: "score" (surest), "largest" (area), "central" (nearest to the middle) or "followed" (moves against
            the scene).
        athletes: how many to choose, at least 1.
        frame_wh: frame size in pixels.
        heat: (H, W), of `models.detectors.followed.departed`; "followed" needs it, the others don't.

    Raises:
        ValueError: unknown policy, or "followed" without `heat`.
    """
    if policy not in (*POLICIES, FOLLOWED):
        known = ", ".join(sorted((*POLICIES, FOLLOWED)))
        raise ValueError(f"no selection policy is called '{policy}'; there are {known}")
    if athletes < 1:
        raise ValueError(f"at least one athlete must be chosen, got {athletes}")
    if policy == FOLLOWED and heat is None:
        raise ValueError("who is followed shows in later frames; give the heat that `departed` made of them")
    if policy == FOLLOWED and heat is not None:
        wanted = followed_rank(detections, heat)
    else:
        wanted = POLICIES[policy](detections, frame_wh)
    # Ties go to the surer box, then to the earlier one, so that the choice never depends on sorting luck.
    order = np.lexsort((np.arange(len(wanted)), -detections.scores, -wanted))
    if policy == FOLLOWED:   # faint boxes are let in, so that one person may have many
        order = distinct(detections.boxes, order)
    return order[:athletes].astype(np.int64)
