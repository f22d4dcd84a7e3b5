"""Stage `evaluate`: weights and a pack → predictions and metrics, which say why where they have no value.

Weights of the last and of the best epoch are evaluated side by side, because public figures choose the
epoch on the test set and the difference is the size of that choice. What this stage does not do: draw a
report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_catalog.features.mapped_features import FeatureReader
from data_catalog.pack.feature_clips import FeatureClips
from data_catalog.pack.file import PackReader
from models.metrics.calibration import LEVELS, Calibration, Coverage, calibrate, clips_needed, coverage
from models.metrics.scores import Metric
from tasks.engine.config import StageConfig
from tasks.engine.job import Context, Job, Product
from tasks.engine.stage import Stage, each, read_parent
from tasks.features import feature_files
from tasks.own_features import feature_clips
from tasks.steps import StepLabels, StepTargets, targets_of
from tasks.trained import ScoredClips, State, load_state, score_clips, state_of, untrained_scorer
from tasks.training.config import ModelConfig, TrainConfig
from tasks.training.score_table import OVERALL, Table, score_table
from tasks.training.splits import split_clips
from tasks.training.targets import score_scale

if TYPE_CHECKING:
    import pandas as pd


STAGE_VERSION = 1
"""1: points per clip and per segment."""


class EvaluateConfig(StageConfig):
    """Which clips are evaluated, and how many at once."""

    added: ClassVar[Mapping[str, Any]] = {"intervals": "none"}

    splits: tuple[str, ...] = Field(
        ("test", "validation"),
        description="Splits that get predictions and metrics; those without clips are left out. Training clips that "
        "were held out for choosing the epoch count as split validation.",
    )
    intervals: Literal["none", "temperature", "isotonic"] = Field(
        "none",
        description="Whether each score gets intervals that hold 50, 80 and 95 % of clips, made from the errors of the "
        "validation clips: errors taken to be normal (temperature), or as they are distributed (isotonic; 39 clips "
        "or more for 95 %). Needs clips held out by train.validation.",
    )
    batch: int = Field(4, ge=1, description="Clips at once.")
    device: str = Field(
        "auto", description="Where `evaluate` runs when it is called directly, auto taking a GPU where there is one; a "
        "run sets it from engine.device.",
    )


WITHOUT_EFFECT = frozenset({"batch", "device"})
"""Fields of EvaluateConfig that change how evaluation runs, not what comes out."""


class NothingHeldOut(ValueError):
    """The pack has no clip in any of the splits that are to be evaluated."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What evaluation returns.

    Attributes:
        predictions: one row per weights and clip: weights ("last", "best", …), clip_id, split, action, true,
            predicted, and segment_0 … segment_N-1; score points, or label and probabilities. `true` is nan
            where unknown. Where steps were learnt, also step_frames and step_correct, how many of the clip's frames
            lie in a step and how many of them its segments name right, and step_kinds, both of each kind of step
            that the clip has, as JSON: {kind: [frames, correct]}. Where intervals are asked for, also spread (a
            calibrated standard deviation), and low_50, high_50 … high_95, nan where the validation clips are too few.
        metrics: weights → split → action or "all" → metric name → `models.metrics.scores.Metric`.
        calibrations: weights → what makes intervals of their spreads; empty where none were asked for.
    """

    predictions: pd.DataFrame
    metrics: dict[str, dict[str, Table]]
    calibrations: dict[str, Calibration] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The metrics as JSON can hold them: a number, or the text "undefined: …"."""
        return {
            weights: {
                split: {
                    action: {
                        name: m.value if m.value is not None else f"undefined: {m.undefined}" for name, m in row.items()
                    }
                    for action, row in table.items()
                }
                for split, table in splits.items()
            }
            for weights, splits in self.metrics.items()
        }


def evaluate(
    pack: Path | FeatureClips,
    weights: Mapping[str, State],
    model: ModelConfig,
    training: TrainConfig,
    config: EvaluateConfig,
    features: Mapping[str, Path] | None = None,
    steps: StepLabels | None = None,
) -> Evaluation:
    """Predict the clips of the chosen splits with each set of weights.

    Args:
        pack: the pack, or the clips of features alone, that the weights were trained on.
        weights: name ("last", "best") → state of the network as `tasks.train.train` returns it.
        model, training: the configuration of that training.
        config: which clips, how many at once, and where.
        features: file of each clip's features by clip id, read instead of the pack's frames.
        steps: of the clips, in order, where the training learnt them.

    Raises:
        NothingHeldOut: no clip in any of the splits.
        ValueError: weights that do not fit the network (missing and unexpected names are listed), or no validation
            clip of known score to calibrate intervals on.
        DamagedPack: the pack cannot be read.
    """
    import pandas as pd
    import torch

    reader = pack if isinstance(pack, FeatureClips) else PackReader(pack)
    chosen = _chosen(reader, model, training, config)
    judging = [] if config.intervals == "none" else _calibrating(reader, model, training)
    device = torch.device(config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    scale = score_scale(reader.labels, training.score_range, training.difficulty)
    scorer = untrained_scorer(reader, model, training, scale, next(iter(weights.values())))
    targets = targets_of(steps, reader)
    if targets is not None:
        scorer.learn_steps(len(targets.labels.names), training.seed)
    scorer = scorer.to(device).eval()
    stored = None if features is None else FeatureReader([features[clip] for clip in reader.labels.clip_id])
    rows: list[pd.DataFrame] = []
    metrics: dict[str, dict[str, Table]] = {}
    calibrations: dict[str, Calibration] = {}
    for number, (name, state) in enumerate(weights.items()):
        load_state(scorer, name, state)

        def score(indices: list[int], number: int = number) -> pd.DataFrame:
            options = training.eval_shift, config.batch, number, len(weights), stored, bool(judging)
            return with_steps(score_clips(scorer, reader, indices, *options), targets, indices, training.eval_shift)

        frames = {split: score(indices) for split, indices in chosen.items()}
        if config.intervals != "none":
            known = frames["validation"] if "validation" in frames else score(judging)
            calibrations[name] = calibrate(config.intervals, *(known[column].to_numpy() for column in OF_INTERVALS))
        tables = metrics.setdefault(name, {})
        for split, frame in frames.items():
            with_ends = with_intervals(frame, calibrations[name]) if judging else frame
            with_ends.insert(0, "weights", name)
            with_ends.insert(2, "split", split)
            rows.append(with_ends)
            tables[split] = score_table(
                frame["true"].to_numpy(),
                frame["predicted"].to_numpy(),
                frame["action"].tolist(),
                scorer.classification,
            )
            if targets is not None:
                tables[split][OVERALL][STEP_ACCURACY] = step_accuracy(frame)
    return Evaluation(pd.concat(rows, ignore_index=True), metrics, calibrations)


def with_steps(
    scored: ScoredClips, targets: StepTargets | None, indices: Sequence[int], eval_shift: int
) -> pd.DataFrame:
    """The table of scores with the columns of steps, where they were learnt; `indices` are of its rows."""
    if targets is None:
        return scored.table
    found = [targets.named(index, eval_shift, shares) for index, shares in zip(indices, scored.steps, strict=True)]
    sums = [np.sum([*kinds.values(), (0, 0)], axis=0) for kinds in found]
    frames, correct = np.array(sums, np.int64).reshape(-1, 2).T
    kinds = [json.dumps(one, ensure_ascii=False) for one in found]
    return scored.table.assign(step_frames=frames, step_correct=correct, step_kinds=kinds)


def step_accuracy(table: pd.DataFrame) -> Metric:
    """Of all frames of a table's clips that lie in a step, the share whose step is named right."""
    frames, correct = int(table["step_frames"].sum()), int(table["step_correct"].sum())
    return Metric(correct / frames) if frames else Metric(None, "no clip has steps")


def with_intervals(frame: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """Scores with `spread` as a standard deviation, and each interval's ends in columns low_50 to high_95."""
    predicted, spread = frame["predicted"].to_numpy(float), frame["spread"].to_numpy(float)
    ends = {level: calibration.interval(level, predicted, spread) for level in calibration.ends}
    columns = {f"{side}_{level}": pair[place] for level, pair in ends.items() for place, side in enumerate(SIDES)}
    return frame.assign(spread=spread * calibration.scale, **columns)


def interval_ends(table: pd.DataFrame, level: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends (n,) float64 of a table's intervals of one coverage, as `with_intervals` wrote them."""
    return tuple(table[f"{side}_{level}"].to_numpy(float) for side in SIDES)  # type: ignore[return-value]


def held(table: pd.DataFrame) -> list[Coverage]:
    """How often a table's intervals hold, the narrowest first; without those that clips were too few for."""
    true = table["true"].to_numpy(float)
    found = [coverage(level, true, *interval_ends(table, level)) for level in LEVELS]
    return [one for one in found if one is not None]


def _calibrating(reader: PackReader | FeatureClips, model: ModelConfig, training: TrainConfig) -> list[int]:
    """The validation clips. Raises ValueError where none has a score, or the head predicts no score."""
    if model.head == "classification":
        raise ValueError("evaluate.intervals are of scores, and model.head classification predicts a probability.")
    held_out = split_clips(reader, training, model).validation
    if not np.isfinite(reader.labels.score[held_out]).any():
        raise ValueError(
            "evaluate.intervals are made from the errors of validation clips, and no clip of known score is held out "
            "for that; set train.validation to e.g. 0.2, or to the name of a split."
        )
    return held_out


def nothing_evaluated(split: str, classification: bool) -> Evaluation:
    """No predictions, and metrics of which each says why it has no value."""
    import pandas as pd

    none = np.empty(0)
    table = score_table(none, none, [], classification)
    columns = ["weights", "clip_id", "split", "action", "true", "predicted"]
    return Evaluation(pd.DataFrame(columns=columns), {name: {split: table} for name in WEIGHTS})


def _chosen(
    reader: PackReader | FeatureClips, model: ModelConfig, training: TrainConfig, config: EvaluateConfig
) -> dict[str, list[int]]:
    parts = split_clips(reader, training, model)
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    clips = {split: named.get(split) or reader.indices(split, training.actions) for split in config.splits}
    chosen = {split: indices for split, indices in clips.items() if indices}
    if not chosen:
        name = reader.name if isinstance(reader, FeatureClips) else f"the pack {reader.path}"
        raise NothingHeldOut(
            f"{name} has no clip of split {' or '.join(config.splits)}; "
            "label some, or set evaluate.splits."
        )
    return chosen


class EvaluateSettings(StageConfig):
    """What evaluation is configured with; model and train reach the key through the train's key."""

    model: ModelConfig = Field(ModelConfig(), description="Which network was trained.")
    train: TrainConfig = Field(TrainConfig(), description="How it was trained.")
    evaluate: EvaluateConfig = Field(EvaluateConfig(), description="What is evaluated.")

    def key_view(self) -> dict[str, Any]:
        """Evaluation's own section, without what changes how it runs and not what comes out."""
        view = self.evaluate.key_view()
        return {"evaluate": {name: value for name, value in view.items() if name not in WITHOUT_EFFECT}}


WEIGHTS = ("last", "best")
STEP_ACCURACY = "step_accuracy"
"""Metric of all clips together, frame by frame, where steps were learnt."""
SIDES = ("low", "high")
"""Of an interval: its ends are the in columns low_50 to high_95."""
OF_INTERVALS = ("true", "predicted", "spread")


def too_few_clips(calibration: Calibration) -> tuple[str, ...]:
    """Which intervals can't be had for lack of validation clips, as a sentence; empty where all can."""
    missing = [level for level, ends in calibration.ends.items() if ends is None]
    if not missing:
        return ()
    needed = clips_needed(calibration.method, max(missing))
    return (
        f"Intervals of {' and '.join(f'{level} %' for level in missing)} take {needed} validation clips, and there are "
        f"{calibration.clips}; hold out more by train.validation, or set evaluate.intervals to temperature.",
    )


def _evaluate_job(job: Job, config: EvaluateSettings, context: Context) -> Product:
    trained = read_parent(job, "train", context).arrays
    weights = {name: state_of(trained, name) for name in WEIGHTS}
    store = context.workspace.store
    of_pack = "pack" in job.parents
    clips = store.path("pack", job.parents["pack"]) if of_pack else feature_clips(job.members, store, job.dataset)
    settings = config.evaluate.model_copy(update={"device": context.resolved_device})
    notes: tuple[str, ...] = ()
    try:
        features = feature_files(job, store) if of_pack else None
        steps = StepLabels.from_arrays(trained)
        result = evaluate(clips, weights, config.model, config.train, settings, features, steps)
    except NothingHeldOut as exc:  # a user's first handful of clips may all be for training
        result = nothing_evaluated(config.evaluate.splits[0], config.model.head == "classification")
        notes = (f"Nothing was evaluated: {exc}",)
    columns = {f"predictions/{name}": result.predictions[name].to_numpy() for name in result.predictions.columns}
    arrays = columns | {"metrics": np.array(json.dumps(result.as_json(), allow_nan=False))}
    if result.calibrations:
        said = {name: calibration.as_json() for name, calibration in result.calibrations.items()}
        arrays["calibrations"] = np.array(json.dumps(said, allow_nan=False))
        notes = too_few_clips(result.calibrations["last"])
    return Product(arrays, notes=notes)


STAGE = Stage(
    "evaluate",
    STAGE_VERSION,
    ("pack", "train"),
    each(_evaluate_job),
    uses_device=True,
    composed=EvaluateSettings,
)

ON_FEATURES = replace(STAGE, parents=("pack", "features", "train"))
"""The same stage where `features.mode` is not none."""

ON_OWN_FEATURES_STAGE = replace(STAGE, parents=("features", "train"))
"""The same stage where features were made elsewhere."""
