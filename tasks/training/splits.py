"""Who trains, who chooses the epoch, who is tested."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_catalog.pack.feature_clips import FeatureClips
from data_catalog.pack.file import PackReader
from tasks.training.config import TrainConfig


@dataclass(frozen=True)
class ClipSplits:
    """Clip numbers of the pack by what they are used for; no clip is in two of them."""

    train: list[int]
    validation: list[int]
    test: list[int]


def split_clips(reader: PackReader | FeatureClips, config: TrainConfig, head: str) -> ClipSplits:
    """Sort the pack's clips by what they are used for.

    Clips without the label that the head needs do not train; they are still tested, so that they get a
    prediction.

    Raises:
        ValueError: when nothing is left to train on, or nothing is there to choose the epoch by.
    """
    usable = _labelled(reader, reader.indices("train", config.actions), head)
    if isinstance(config.validation, str):
        validation = reader.indices(config.validation, config.actions)
        if not validation:
            raise ValueError(
                f"no clip has the split '{config.validation}' that train.validation names; the labels have "
                f"{', '.join(sorted(set(reader.labels.split)))}."
            )
    else:
        validation = reader.indices("validation", config.actions)
        if config.validation and not validation:
            validation = held_out(reader, usable, config.seed, config.validation)
    usable = sorted(set(usable) - set(validation))
    if not usable:
        what = {"classification": "label", "musdl": "judges and difficulty"}.get(head, "score")
        raise ValueError(
            f"no clip of split 'train' has a {what}; check the labels, or choose another model.head than '{head}'."
        )
    if config.selecting == "validation" and not _labelled(reader, validation, head):
        raise ValueError(
            "train.select_on is 'validation' but there is no labelled clip for it; set train.validation to e.g. 0.2, "
            "or to the name of a split."
        )
    return ClipSplits(usable, validation, reader.indices("test", config.actions))


def held_out(reader: PackReader | FeatureClips, indices: Sequence[int], seed: int, share: float) -> list[int]:
    """A share of the clips, the same share of each action, by a digest of seed and clip_id.

    Neither the order of the clips, nor clips of other actions, nor their labels have a say in who is chosen. An action
    of several clips holds out at least one and keeps at least one.
    """
    labels = reader.labels
    by_action: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        by_action[labels.action[index]].append(index)
    chosen: list[int] = []
    for members in by_action.values():
        drawn = sorted(members, key=lambda index: _draw(seed, labels.clip_id[index]))
        count = min(max(round(len(members) * share), 1), len(members) - 1)
        chosen += drawn[:count]
    return sorted(chosen)


def _draw(seed: int, clip_id: str) -> bytes:
    return hashlib.blake2b(f"{seed}:validation:{clip_id}".encode(), digest_size=16).digest()


def _labelled(reader: PackReader | FeatureClips, indices: Sequence[int], head: str) -> list[int]:
    labels = reader.labels
    wanted: NDArray[np.float64] = {
        "classification": labels.label,
        "musdl": labels.judges.sum(axis=1) * labels.difficulty,
    }.get(head, labels.score)
    return [index for index in indices if np.isfinite(wanted[index])]
