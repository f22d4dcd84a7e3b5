"""Does a single position tell the score? Ridge regression on one position's features at a time, step by step.

For each time step of the tube a linear map from a position's features at the cut to the score is fitted on all tube
positions of the training clips, and a held-out clip is ranked by the mean of what its positions of that step say: a
position by itself can't do better by any linear map. Where the score depends on a relation between two moments, this
stays at chance, and so does one linear map of the mean over the whole tube.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.procedural_tables import markdown
from data_catalog.catalog import Workspace
from data_catalog.features.mapped_features import FeatureReader
from flows.datasets.clips import dataset_clips
from flows.experiments.contenders import Contender
from models.metrics.batched import spearman_many

Floats = NDArray[np.float64]
RIDGE = 0.01  # of the number of samples, on standardised features


@dataclass(frozen=True, eq=False)
class TubeFeatures:
    """Features of a clip's tube: one (P, C) array a time step of all segments, and the clip's score and split."""

    steps: tuple[Floats, ...]
    score: float
    trains: bool


@dataclass(frozen=True)
class Rank:
    """Spearman with the 95 % bootstrap interval over held-out clips."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def tube_features(workspace: Workspace, contender: Contender) -> list[TubeFeatures]:
    """Of every clip that a row was trained or scored on, unflipped."""
    run = contender.first
    found = []
    for clip in dataset_clips(workspace, run.dataset):
        if clip.score is None or clip.clip_id not in run.keys["features"]:
            continue
        reader = FeatureReader([workspace.store.path("features", run.keys["features"][clip.clip_id])])
        maps = reader.read(0, False, 0).numpy()
        mask = workspace.store.read("masks", run.keys["masks"][clip.clip_id], ["mask"]).arrays["mask"]
        steps = tuple(maps[n, t][mask[n, t]].astype(float) for n, t in np.ndindex(*mask.shape[:2]))
        found.append(TubeFeatures(steps, float(clip.score), clip.split == "train"))
    return found


def fit(features: Floats, target: Floats) -> tuple[Floats, Floats, Floats]:
    """Ridge regression of (n,) on (n, C): mean and scale of the features, and C + 1 weights, the last a constant."""
    middle, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
    known = np.column_stack([(features - middle) / scale, np.ones(len(features))])
    penalty = RIDGE * len(features) * np.eye(known.shape[1])
    penalty[-1, -1] = 0.0
    return middle, scale, np.linalg.solve(known.T @ known + penalty, known.T @ target)


def predict(fitted: tuple[Floats, Floats, Floats], features: Floats) -> Floats:
    """What `fit` found says of (n, C): (n,)."""
    middle, scale, weights = fitted
    return np.asarray((features - middle) / scale @ weights[:-1] + weights[-1])


def rank_of(predicted: Floats, truth: Floats, repetitions: int = 2000) -> Rank:
    """How predictions (n,) rank the truth (n,)."""
    draws = np.random.default_rng(0).integers(len(truth), size=(repetitions, len(truth)))
    drawn = spearman_many(predicted[draws], truth[draws])
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Rank(float(spearman_many(predicted, truth)), float(low), float(high))


def single_positions(clips: Sequence[TubeFeatures]) -> dict[str, Rank]:
    """Name of a time step, and of the whole tube's mean → how well a linear map of it ranks the held-out clips."""
    found = {}
    for step in range(len(clips[0].steps)):
        seen = [(clip.steps[step], clip) for clip in clips if len(clip.steps[step])]
        found[f"step {step}"] = _probe(seen)
    tubes = [(np.concatenate(clip.steps), clip) for clip in clips]
    found["mean of the tube"] = _probe([(tube.mean(axis=0, keepdims=True), clip) for tube, clip in tubes if len(tube)])
    return found


def _probe(seen: Sequence[tuple[Floats, TubeFeatures]]) -> Rank:
    training = [(positions, clip.score) for positions, clip in seen if clip.trains]
    fitted = fit(
        np.concatenate([positions for positions, _ in training]),
        np.concatenate([np.full(len(positions), score) for positions, score in training]),
    )
    held_out = [(positions, clip.score) for positions, clip in seen if not clip.trains]
    predicted = np.array([predict(fitted, positions).mean() for positions, _ in held_out])
    return rank_of(predicted, np.array([score for _, score in held_out]))


def probe_table(found: Mapping[str, Rank]) -> str:
    """As Markdown."""
    return markdown([("ridge on", "Spearman"), *((name, str(rank)) for name, rank in found.items())])
