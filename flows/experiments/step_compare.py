"""How well contenders that learnt steps name them, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import pandas as pd

from flows.runs.results import kinds_named


class KindRow(TypedDict):
    """Of one kind of step: frames that lie in one, and the share named right, mean over seeds."""

    step: str
    frames: int
    accuracy: float


class StepsRow(TypedDict):
    """A contender's share of frames whose step is named right: mean over its seeds, and its 95 % interval.

    The interval is a bootstrap over clips and seeds; `frames` lie in a step, those of `clips`; `kinds` has the same
    share of each kind of step, the most frequent first, and is empty where the evaluation is of before it said them.
    """

    contender: str
    clips: int
    frames: int
    accuracy: float
    low: float
    high: float
    kinds: list[KindRow]


def compare_steps(
    label: str, tables: Sequence[pd.DataFrame], clips: Sequence[str], repetitions: int
) -> list[StepsRow]:
    """One row; none where a seed learnt no steps, or no clip has some.

    Args:
        label: of the contender.
        tables: its predictions, one a seed, with the columns of `tasks.evaluate.with_steps`.
        clips: ids of those that are looked at.
        repetitions: how often clips and seeds are drawn again.
    """
    if not all("step_frames" in table for table in tables):
        return []
    chosen = [table.set_index("clip_id").loc[list(clips)] for table in tables]
    frames, correct = (
        np.stack([one[name].to_numpy(float) for one in chosen]) for name in ("step_frames", "step_correct")
    )
    labelled = frames[0] > 0
    if not labelled.any():
        return []
    frames, correct = frames[:, labelled], correct[:, labelled]
    seeds, count = frames.shape
    rng, drawn = np.random.default_rng(0), np.empty(repetitions)
    for number in range(repetitions):
        again = np.ix_(rng.integers(seeds, size=seeds), rng.integers(count, size=count))
        drawn[number] = correct[again].sum() / frames[again].sum()
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    accuracy = float(correct.sum() / frames.sum())
    row = StepsRow(
        contender=label, clips=count, frames=int(frames[0].sum()), accuracy=accuracy, low=low, high=high,
        kinds=_kinds(chosen),
    )  # fmt: skip
    return [row]


def _kinds(tables: Sequence[pd.DataFrame]) -> list[KindRow]:
    """Of the chosen clips, one table a seed."""
    of_seeds = [kinds_named(table) for table in tables]
    if not all(of_seeds):
        return []
    rows = [
        KindRow(step=name, frames=frames, accuracy=sum(one[name][1] for one in of_seeds) / (frames * len(of_seeds)))
        for name, (frames, _) in of_seeds[0].items()
    ]
    return sorted(rows, key=lambda row: -row["frames"])
