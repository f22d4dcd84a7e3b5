"""A trained network and what it says of clips: for evaluation, prediction, export and the viewer.

The unit of a score is that of the run: a network predicts a share of its action's range of scores, and the range
stands in the pack that it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from data_catalog.pack.feature_clips import FeatureClips
from data_catalog.pack.file import PackLabels, PackReader
from tasks.engine.progress import report
from tasks.training.config import ModelConfig, TrainConfig
from tasks.training.network import build_network, build_network_on_features, trained_form
from tasks.training.targets import ScoreScale, score_scale

# Torch and pandas take seconds to import, and the stages are imported by every command: functions import them.
if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from data_catalog.features.mapped_features import FeatureReader
    from data_catalog.pack.loader import Batch
    from models.tsanet import TSANet
    from tasks.training.scorer import ClipScorer, FeatureScorer, Predicted

State = Mapping[str, NDArray[Any]]
"""A network's weights by name, as `tasks.train.train` returns them."""
BATCH = 4
"""Clips at once, where no configuration says how many."""


@dataclass(frozen=True, eq=False)
class ScoredClips:
    """What a network says of n clips, from one pass.

    Attributes:
        table: one row a clip: clip_id, action, true, predicted, segment_0 … segment_N-1; score points, or label and
            probabilities; nan for segments that a clip of features doesn't have. Where it was asked for, a column
            `spread`, see `Scorer.spread`.
        features: (n, F) float32, pooled features of each clip, see `Scorer.clip_features`.
        steps: of each clip (N, K) float32, the shares of the kinds of steps in each segment; empty where none are
            learnt.
    """

    table: pd.DataFrame
    features: NDArray[np.float32]
    steps: tuple[NDArray[np.float32], ...] = ()


def needs_difficulty(model: ModelConfig, training: TrainConfig) -> bool:
    """Whether a score can't be computed without the clip's degree of difficulty."""
    return training.difficulty or model.panel_by_difficulty


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
    state: State,
    model: ModelConfig,
    training: TrainConfig,
    score_range: tuple[float, float],
) -> ClipScorer:
    """A network with its trained weights, in evaluation mode, whose scores lie in `score_range`.

    Raises:
        ValueError: the weights don't fit the network, or the network doesn't fit the pack.
    """
    network = _without_weights(model, training, state)
    scorer = scorer_of(network, reader, model.head, score_range, training.difficulty)
    load_state(scorer, "of the run", state)
    return scorer


def build_feature_scorer(
    clips: FeatureClips,
    state: State,
    model: ModelConfig,
    training: TrainConfig,
    score_range: tuple[float, float],
) -> FeatureScorer:
    """As `build_scorer`, for features that were made elsewhere. Raises ValueError."""
    from tasks.training.scorer import FeatureScorer

    scale = score_scale(clips.labels, score_range, training.difficulty)
    network = build_network_on_features(model, clips.features, training.seed)
    scorer = FeatureScorer(network, clips, model.head, scale).eval()
    load_state(scorer, "of the run", state)
    return scorer


def untrained_scorer(
    reader: PackReader | FeatureClips, model: ModelConfig, training: TrainConfig, scale: ScoreScale, state: State
) -> ClipScorer | FeatureScorer:
    """What scores these clips, its network still without the trained weights `state`, which only say how large it is.

    Raises:
        ValueError: the network doesn't fit the pack.
    """
    from tasks.training.scorer import ClipScorer, FeatureScorer

    if isinstance(reader, FeatureClips):
        on_features = build_network_on_features(model, reader.features, training.seed)
        return FeatureScorer(on_features, reader, model.head, scale)
    network = _without_weights(model, training, state)
    return ClipScorer(network, reader, model.head, scale)


def _without_weights(model: ModelConfig, training: TrainConfig, state: State) -> TSANet:
    """The network that `state` is of; the weights that it began from aren't needed any more. Raises ValueError."""
    unnamed = model.model_copy(update={"weights": None})
    return build_network(unnamed, training.seed, training.freeze, trained_form(state))


def scorer_of(
    network: TSANet, reader: PackReader, head: str, score_range: tuple[float, float], with_difficulty: bool
) -> ClipScorer:
    """A network that is there already, in evaluation mode, for the clips of a pack.

    Args:
        network: the network.
        reader: the pack.
        head: `model.head` of the run.
        score_range: lowest and highest score in points (of execution when `with_difficulty`).
        with_difficulty: whether scores are multiplied by the clip's degree of difficulty.

    Raises:
        ValueError: the network doesn't fit the pack.
    """
    from tasks.training.scorer import ClipScorer

    scale = score_scale(reader.labels, score_range, with_difficulty)
    return ClipScorer(network, reader, head, scale).eval()


def load_state(scorer: ClipScorer | FeatureScorer, name: str, state: State) -> None:
    """Put trained weights into a scorer's network, and into its layer of steps where it has one.

    Raises:
        ValueError: they don't fit; missing and unexpected names are listed.
    """
    import torch

    from tasks.training.scorer import STEP_HEAD

    tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
    named = {key.removeprefix(STEP_HEAD): tensors.pop(key) for key in [*tensors] if key.startswith(STEP_HEAD)}
    try:
        scorer.network.load_state_dict(tensors)
        if scorer.step_head is not None:
            scorer.step_head.load_state_dict(named)
    except RuntimeError as exc:
        raise ValueError(f"the weights '{name}' do not fit the network of model.*: {exc}") from exc


def read_batch(reader: PackReader, index: int, eval_shift: int) -> Batch:
    """Clip number `index` of a pack as a batch of its own, moved by `eval_shift` frames as evaluation moves it."""
    from data_catalog.pack.loader import ClipLoader
    from tasks.training.remask import Remask

    loader = ClipLoader(reader, [index], batch_size=1, eval_shift=eval_shift, remask=Remask(reader.geometry))
    return next(iter(loader))


def state_of(arrays: Mapping[str, NDArray[Any]], weights: str) -> dict[str, NDArray[Any]]:
    """Of a train artifact's arrays, of any shape and dtype, the weights `last` or `best`, by parameter name."""
    prefix = f"{weights}/"
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def batches_for(
    scorer: ClipScorer | FeatureScorer,
    reader: PackReader | FeatureClips,
    indices: Sequence[int],
    eval_shift: int,
    batch: int = BATCH,
    features: FeatureReader | None = None,
) -> Iterator[Batch]:
    """Clips as a scorer looks at them, on the device where it is; arguments as of `score_clips`."""
    from data_catalog.pack.loader import ClipLoader
    from tasks.training.remask import Remask

    remask = Remask(reader.geometry) if isinstance(reader, PackReader) else None
    targets = cast("Tensor", scorer.targets)  # on its device; a fitted head on features has no parameter to ask
    for clips in ClipLoader(
        reader, list(indices), batch_size=batch, eval_shift=eval_shift, remask=remask, features=features
    ):
        yield cast("Batch", {key: value.to(targets.device) for key, value in clips.items()})  # type: ignore[attr-defined]


def score_clips(
    scorer: ClipScorer | FeatureScorer,
    reader: PackReader | FeatureClips,
    indices: list[int],
    eval_shift: int,
    batch: int = BATCH,
    number: int = 0,
    count: int = 1,
    features: FeatureReader | None = None,
    spread: bool = False,
) -> ScoredClips:
    """Score clips of a pack, on the device where the scorer is.

    Args:
        scorer: made for these clips.
        reader: the pack, or clips of which there are features alone.
        indices: numbers of the clips.
        eval_shift: frames by which a clip is moved in time.
        batch: clips at once.
        number, count: these are the weights `number` of `count`, so that reports say how far all of the work is.
        features: read instead of the pack's frames.
        spread: whether a column `spread` says how uncertain the scores are.
    """
    import pandas as pd
    import torch

    batches = -(-len(indices) // batch)
    found: list[Predicted] = []
    with torch.inference_mode():
        for clips in batches_for(scorer, reader, indices, eval_shift, batch, features):
            found.append(scorer.predict(clips, spread))
            report("evaluate", number * batches + len(found), count * batches)
    labels = reader.labels
    frame = pd.DataFrame(
        {
            "clip_id": [labels.clip_id[i] for i in indices],
            "action": [labels.action[i] for i in indices],
            "true": scorer.truth[indices],
            "predicted": np.concatenate([part.points for part in found]),
        }
    )
    if spread:
        frame["spread"] = np.concatenate([cast("NDArray[np.float64]", part.spread) for part in found])
    segments = [part.segments for part in found]
    longest = max(part.shape[1] for part in segments)  # only clips of features differ in it
    by_segment = np.concatenate(
        [np.pad(part, ((0, 0), (0, longest - part.shape[1])), constant_values=np.nan) for part in segments]
    )
    for segment in range(by_segment.shape[1]):
        frame[f"segment_{segment}"] = by_segment[:, segment]
    steps = tuple(of_clip for part in found if part.steps is not None for of_clip in part.steps)
    return ScoredClips(frame, np.concatenate([part.features for part in found]), steps)


def score_pack(
    pack: Path,
    state: State,
    model: ModelConfig,
    training: TrainConfig,
    score_range: tuple[float, float],
    device: str = "cpu",
    spread: bool = False,
) -> ScoredClips:
    """Scores of every clip of a pack; the table is without action and truth.

    Args:
        pack: the clips, packed with the same masks and input size as the run's; their labels aren't used, but for
            the difficulty where the run multiplies by it.
        state: trained weights.
        model, training: the configuration of that training.
        score_range: see `action_range`.
        device: where the network runs.
        spread: as of `score_clips`.

    Raises:
        ValueError: weights, network and pack don't fit together.
    """
    reader = PackReader(pack)
    scorer = build_scorer(reader, state, model, training, score_range).to(device)
    found = score_clips(scorer, reader, list(range(len(reader))), training.eval_shift, spread=spread)
    return replace(found, table=found.table.drop(columns=["action", "true"]))
