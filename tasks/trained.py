"""Predict: the weights of a run, and a pack of clips without labels → their scores.

The unit of a score is that of the run: a network predicts a share of its action's range of scores, and the range
stands in the pack that it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from data_catalog.pack.file import PackLabels, PackReader
from tasks.evaluate import EvaluateConfig, load_weights, predict_clips
from tasks.training.config import ModelConfig, TrainConfig
from tasks.training.network import build_network
from tasks.training.targets import score_scale

if TYPE_CHECKING:
    import pandas as pd

    from data_catalog.pack.loader import Batch
    from models.tsanet import TSANet
    from tasks.training.scorer import ClipScorer


def needs_difficulty(model: ModelConfig, training: TrainConfig) -> bool:
    """Whether a score can't be told without the clip's degree of difficulty."""
    return training.difficulty or model.head == "musdl"


def trained_actions(labels: PackLabels, training: TrainConfig) -> tuple[str, ...]:
    """The actions that a network was trained on, sorted."""
    there = set(labels.action)
    return tuple(sorted(there if training.actions is None else there & set(training.actions)))


def action_range(labels: PackLabels, training: TrainConfig, action: str) -> tuple[float, float]:
    """Lowest and highest score (of execution where `training.difficulty`) that shares 0 and 1 stand for.

    Raises:
        ValueError: the pack has no clip of this action.
    """
    if action not in labels.action:
        raise ValueError(f"the run's pack has no clip of action '{action}'")
    scale = score_scale(labels, training.score_range, training.difficulty)
    member = labels.action.index(action)
    return float(scale.low[member]), float(scale.high[member])


def build_scorer(
    reader: PackReader,
    state: Mapping[str, NDArray[Any]],
    model: ModelConfig,
    training: TrainConfig,
    score_range: tuple[float, float],
) -> ClipScorer:
    """A network with its trained weights, in evaluation mode, whose scores lie in `score_range`.

    Raises:
        ValueError: the weights don't fit the network, or the network doesn't fit the pack.
    """
    network = build_network(model.model_copy(update={"weights": None}), training.seed)
    scorer = scorer_of(network, reader, model, training, score_range)
    load_weights(scorer, "of the run", state)
    return scorer


def scorer_of(
    network: TSANet, reader: PackReader, model: ModelConfig, training: TrainConfig, score_range: tuple[float, float]
) -> ClipScorer:
    """A network that is there already, in evaluation mode, for the clips of a pack; its scores lie in `score_range`.

    Raises:
        ValueError: the network doesn't fit the pack.
    """
    from tasks.training.scorer import ClipScorer

    settings = training.model_copy(update={"score_range": score_range})
    return ClipScorer(network, reader, model, settings).eval()


def first_batch(reader: PackReader, training: TrainConfig) -> Batch:
    """The first clip of a pack as a batch of its own, moved in time as evaluation moves it."""
    from data_catalog.pack.loader import ClipLoader
    from tasks.training.remask import Remask

    loader = ClipLoader(
        reader, [0], batch_size=1, eval_shift=training.eval_shift, remask=Remask(reader.geometry)
    )
    return next(iter(loader))


def predict(
    pack: Path,
    state: Mapping[str, NDArray[Any]],
    model: ModelConfig,
    training: TrainConfig,
    score_range: tuple[float, float],
    device: str = "cpu",
) -> pd.DataFrame:
    """Scores of every clip of a pack: columns clip_id, predicted, segment_0 … segment_N-1.

    Args:
        pack: the clips, packed with the same masks and input size as the run's; their labels aren't used, but for
            the difficulty where the run multiplies by it.
        state: weights as `tasks.train.train` returns them.
        model, training: the configuration of that training.
        score_range: see `action_range`.

    Raises:
        ValueError: weights, network and pack don't fit together.
    """
    reader = PackReader(pack)
    scorer = build_scorer(reader, state, model, training, score_range).to(device)
    frame = predict_clips(scorer, reader, list(range(len(reader))), training, EvaluateConfig())
    return frame.drop(columns=["action", "true"])
