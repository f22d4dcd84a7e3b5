"""From score points to what a network is trained on, and back.

A network sees the score as a share of its action's range, 0 at the lowest and 1 at the highest. With known
difficulty the share is of the execution (score / difficulty), and predictions are multiplied by the
difficulty again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_catalog.pack.file import PackLabels
from models.score_range import to_points

Floats = NDArray[np.float64]

OF_EXECUTIONS = 0.6
"""Share of a range that the best execution reaches at least, where final scores would fit in as well."""


@dataclass(frozen=True, eq=False)
class ScoreScale:
    """Per clip of the pack, (n,) float64 each: the action's range in points and the factor to the final score.

    Attributes:
        low, high: range of the action in points (of execution where difficulty is divided out).
        factor: the clip's degree of difficulty, or 1.
    """

    low: Floats
    high: Floats
    factor: Floats

    def shares(self, score: Floats) -> Floats:
        """Score points (n,) → shares of the range; nan stays nan."""
        return (score / self.factor - self.low) / (self.high - self.low)

    def points(self, shares: Floats, index: NDArray[np.int64]) -> Floats:
        """Shares (m,) or (m, N) of the clips `index` (m,) → score points."""
        low, high, factor = (
            values[index].reshape(-1, *[1] * (shares.ndim - 1)) for values in (self.low, self.high, self.factor)
        )
        return to_points(shares, low, high, factor)

    def widths(self, shares: Floats, index: NDArray[np.int64]) -> Floats:
        """Differences between shares (m,) of the clips `index` (m,) → differences between score points."""
        return self.points(shares, index) - self.points(np.zeros_like(shares), index)


def score_scale(
    labels: PackLabels,
    score_range: Literal["all", "train"] | tuple[float, float],
    with_difficulty: bool,
) -> ScoreScale:
    """The scale of every clip.

    Args:
        labels: all labels of the pack.
        score_range: "all" takes each action's smallest and largest score over every split, as published on
            AQA-7 although the test set's extremes leak through it; "train" looks at the train split only;
            two numbers are taken as they are, in points (of execution when `with_difficulty`).
        with_difficulty: divide by the clip's difficulty.

    Raises:
        ValueError: a clip without a usable difficulty when it is asked for.
    """
    count = len(labels.clip_id)
    factor = labels.difficulty if with_difficulty else np.ones(count)
    bad = ~(np.isfinite(factor) & (factor > 0))
    if bad.any():
        clip_id = labels.clip_id[int(np.flatnonzero(bad)[0])]
        raise ValueError(f"clip '{clip_id}' has no difficulty; add it to the labels or set train.difficulty to false.")
    low, high = np.zeros(count), np.ones(count)
    values = labels.score / factor
    train = np.array([split == "train" for split in labels.split])
    actions = np.array(labels.action)
    for action in sorted(set(labels.action)):
        members = actions == action
        if isinstance(score_range, tuple):
            low[members], high[members] = score_range
            continue
        seen = values[members & np.isfinite(values) & (train | (score_range == "all"))]
        if seen.size:
            # One score only: any span will do, and 0 would divide by zero.
            low[members], high[members] = seen.min(), seen.max() if seen.max() > seen.min() else seen.min() + 1.0
    return ScoreScale(low, high, factor)


def score_spans(
    labels: PackLabels,
    score_range: Literal["all", "train"] | tuple[float, float],
    with_difficulty: bool,
    actions: Sequence[str] | None,
) -> dict[str, tuple[float, float]]:
    """What shares 0 and 1 stand for in points, by action; of all actions where `actions` is None. See `score_scale`."""
    scale = score_scale(labels, score_range, with_difficulty)
    return {
        action: (float(scale.low[index]), float(scale.high[index]))
        for index, action in enumerate(labels.action)
        if actions is None or action in actions
    }


def check_range(labels: PackLabels, scale: ScoreScale, score_range: tuple[float, float]) -> None:
    """Refuse two numbers that can't be the range of what a network is trained on.

    Args:
        labels: all labels of the pack.
        scale: of the same clips; what is predicted is the score over its `factor`.
        score_range: as configured, in points (of execution where difficulty is divided out).

    Raises:
        ValueError: a label falls outside, or the range is one of final scores and executions are predicted.
    """
    low, high = score_range
    values = labels.score / scale.factor
    known = np.flatnonzero(np.isfinite(values))
    divided = bool((scale.factor != 1).any())
    what = "execution (score / difficulty)" if divided else "score"
    outside = [index for index in known if not low <= values[index] <= high]
    if outside:
        worst = max(outside, key=lambda index: max(low - values[index], values[index] - high))
        raise ValueError(
            f"train.score_range [{low:g}, {high:g}] leaves out the {what} of clip '{labels.clip_id[worst]}', "
            f"{values[worst]:g}; set it to a range that holds every {what}, or to all."
        )
    # Final scores that fit into the range, too, while executions leave much of it empty: it is that of final scores.
    if divided and known.size:
        best, score = values[known].max(), labels.score[known].max()
        if score <= high and best - low < OF_EXECUTIONS * (high - low):
            raise ValueError(
                f"train.score_range [{low:g}, {high:g}] is one of final scores (up to {score:g} here), but with "
                f"train.difficulty executions are predicted, up to {best:g} here; set it to their range or to all."
            )
