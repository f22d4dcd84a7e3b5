"""Whose splash do scores follow? What dataset.json of a procedural dataset knows about its held-out clips."""

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
class Splashes:
    """Sizes of the splashes, 0 (none) to 1, and the scores of n clips.

    Attributes:
        clips: their ids.
        own: (n,) of the judged diver.
        others: (n,) mean of the other divers.
        everybody: (n,) mean of all, which is what one knows who sees everything but not who is judged.
        score: (n,).
    """

    clips: tuple[str, ...]
    own: Floats
    others: Floats
    everybody: Floats
    score: Floats

    def ranks(self) -> tuple[float, float]:
        """Spearman of score and the own splash alone, and of score and everybody's; less splash ranks first."""
        return float(spearman_many(-self.own, self.score)), float(spearman_many(-self.everybody, self.score))

    def slopes(self, predictions: Sequence[pd.DataFrame]) -> tuple[float, float]:
        """Points that predictions change by from no splash to the largest: the own one, and that of the others.

        Least squares on both and a constant, mean over seeds. Who knows who is judged follows the own splash alone;
        who doesn't, follows both by half.

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


def held_out_splashes(folder: Path) -> Splashes:
    """The test clips of a procedural dataset with distractors."""
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["clips"]
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        scores = {row["clip_id"]: float(row["score"]) for row in csv.DictReader(stream) if row["split"] == "test"}
    own = np.array([facts[clip]["faults"]["splash"] for clip in scores])
    others = [[one["splash"] for one in facts[clip]["distractors"]] for clip in scores]
    everybody = np.array([np.mean([mine, *theirs]) for mine, theirs in zip(own, others, strict=True)])
    beside = np.array([np.mean(theirs) for theirs in others])
    return Splashes(tuple(scores), own, beside, everybody, np.array(list(scores.values())))
