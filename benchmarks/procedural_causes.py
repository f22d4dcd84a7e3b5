"""Whose dive do scores follow? What dataset.json of a procedural dataset knows about its held-out clips.

A study has a cause: what of a diver the score follows, the splash or the agreement of two moments.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.metrics.batched import spearman_many

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Causes:
    """How large the cause of the score is in n clips, and their scores; splashes are 0 (none) to 1, agreements -1 to 1.

    Attributes:
        clips: their ids.
        cause: its name.
        own: (n,) of the judged diver.
        others: (n,) mean of the other divers.
        everybody: (n,) mean of all, which is what one knows who sees everything but not who is judged.
        score: (n,).
    """

    cause: str
    clips: tuple[str, ...]
    own: Floats
    others: Floats
    everybody: Floats
    score: Floats

    def ranks(self) -> tuple[float, float]:
        """Spearman of score and the own cause alone, and of score and everybody's, in the direction that it works."""
        sign = -1 if self.cause == "splash" else 1
        own, everybody = (spearman_many(sign * cause, self.score) for cause in (self.own, self.everybody))
        return float(own), float(everybody)

    def slopes(self, predictions: Sequence[pd.DataFrame]) -> tuple[float, float]:
        """Points that predictions change by for one more of the cause: the own one, and that of the others.

        Least squares on both and a constant, mean over seeds. Who knows who is judged follows the own one alone; who
        doesn't, follows both by half.

        Args:
            predictions: of each seed, columns clip_id and predicted.
        """
        place = {clip: number for number, clip in enumerate(self.clips)}
        found = []
        for table in predictions:
            at = [place[clip] for clip in table["clip_id"]]
            known = np.column_stack([np.ones(len(at)), self.own[at], self.others[at]])
            found.append(np.linalg.lstsq(known, table["predicted"].to_numpy(float), rcond=None)[0])
        _, own, others = np.mean(found, axis=0).tolist()
        return own, others


def held_out_causes(folder: Path, cause: str = "splash") -> Causes:
    """The test clips of a procedural dataset with distractors, and that fact of their divers."""
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["clips"]
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        scores = {row["clip_id"]: float(row["score"]) for row in csv.DictReader(stream) if row["split"] == "test"}
    own = np.array([(facts[clip]["faults"] | facts[clip])[cause] for clip in scores])
    others = [[one[cause] for one in facts[clip]["distractors"]] for clip in scores]
    everybody = np.array([np.mean([mine, *theirs]) for mine, theirs in zip(own, others, strict=True)])
    beside = np.array([np.mean(theirs) for theirs in others])
    return Causes(cause, tuple(scores), own, beside, everybody, np.array(list(scores.values())))
