"""Who trains, who chooses the epoch, who is tested; and with whom of the training clips a clip is compared."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_catalog.pack.feature_clips import FeatureClips
from data_catalog.pack.file import PackLabels, PackReader
from tasks.training.config import ModelConfig, TrainConfig

if TYPE_CHECKING:
    from models.heads.protocol import Exemplars


Cell = tuple[str, float | None]
"""Action and degree of difficulty of clips that are compared; None for every difficulty, "" for every action."""
ALL: Cell = ("", None)
MOST_PAIRED = 2000
"""Clips of a cell whose differences are looked at; their number grows with the square."""


@dataclass(frozen=True)
class ClipSplits:
    """Clip numbers of the pack by what they are used for; no clip is in two of them."""

    train: list[int]
    validation: list[int]
    test: list[int]


def split_clips(reader: PackReader | FeatureClips, config: TrainConfig, model: ModelConfig) -> ClipSplits:
    """Sort the pack's clips by what they are used for.

    Clips without the label that the head needs do not train; they are still tested, so that they get a
    prediction.

    Raises:
        ValueError: when nothing is left to train on, or nothing is there to choose the epoch by.
    """
    usable = _labelled(reader, reader.indices("train", config.actions), model)
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
        judges = f"marks of {model.panel} judges{' and difficulty' if model.panel_by_difficulty else ''}"
        what = {"classification": "label", "musdl": judges}.get(model.head, "score")
        raise ValueError(
            f"no clip of split 'train' has a {what}; check the labels, or choose another model.head than "
            f"'{model.head}'."
        )
    if config.selecting == "validation" and not _labelled(reader, validation, model):
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


def _labelled(reader: PackReader | FeatureClips, indices: Sequence[int], model: ModelConfig) -> list[int]:
    labels = reader.labels
    wanted = labels.score
    if model.head == "classification":
        wanted = labels.label
    elif model.panel is not None:
        wanted = _marks_known(labels.judges, model.panel)
        if model.panel_by_difficulty:
            wanted = wanted * labels.difficulty
    return [index for index in indices if np.isfinite(wanted[index])]


def _marks_known(judges: NDArray[np.float64], panel: int) -> NDArray[np.float64]:
    """0 for each clip that a panel of this size judged, else nan, (n,) float64; judges (n, J), nan where absent."""
    given = np.isfinite(judges)
    whole = given[:, :panel].all(axis=1) & (given.sum(axis=1) == panel)
    return np.where(whole, 0.0, np.nan)


class TrainingClips:
    """The training clips, by what makes them comparable: action and difficulty, else action, else nothing.

    Args:
        labels: of all clips.
        indices: numbers of the training clips; no other clip is ever an exemplar.
        seed: of the draws.
    """

    def __init__(self, labels: PackLabels, indices: Sequence[int], seed: int) -> None:
        self._labels, self._seed = labels, seed
        self._cells: dict[Cell, list[int]] = defaultdict(list)
        for index in indices:
            for cell in self._cells_of(index):
                self._cells[cell].append(index)

    def partner(self, epoch: int, index: int) -> int:
        """The clip that a training clip is compared with in an epoch; itself only where it is the only one."""
        for cell in self._cells_of(index):
            others = [one for one in self._cells[cell] if one != index]
            if others:
                return others[_number(f"{self._seed}:{epoch}:exemplar:{self._labels.clip_id[index]}") % len(others)]
        return index

    def exemplars(self, votes: int, targets: NDArray[np.float32]) -> tuple[list[int], Exemplars]:
        """Whom every other clip is compared with.

        Args:
            votes: how many vote for a clip at most, drawn by a digest of seed and clip_id.
            targets: (n,) float32, what the network learns of each of all clips.

        Returns:
            The exemplars' numbers, and what the head has to know of them.
        """
        import torch

        from models.heads.protocol import Exemplars

        cells = sorted(self._cells, key=lambda cell: (cell != ALL, cell[0], cell[1] or 0.0))
        actions = list(dict.fromkeys(action for action, _ in cells))
        chosen = [sorted(self._cells[cell], key=self._turn)[:votes] for cell in cells]
        numbers = sorted({index for members in chosen for index in members})
        place = {index: number for number, index in enumerate(numbers)}
        return numbers, Exemplars(
            actions=tuple(actions),
            cell_action=tuple(actions.index(action) for action, _ in cells),
            cell_difficulty=tuple(difficulty for _, difficulty in cells),
            members=tuple(tuple(place[index] for index in members) for members in chosen),
            scores=tuple(float(targets[index]) for index in numbers),
            relative=torch.from_numpy(self._differences(targets)),
        )

    def _differences(self, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Target of a clip minus that of one that it may be compared with in training, for all pairs: (T,) float32."""
        found = [np.zeros(1, np.float32)]
        for cell in {self._paired(index) for index in self._cells[ALL]}:
            values = targets[sorted(self._cells[cell], key=self._turn)[:MOST_PAIRED]]
            of_all = values[:, None] - values[None]
            found.append(of_all[~np.eye(len(values), dtype=bool)])
        return np.concatenate(found)

    def _paired(self, index: int) -> Cell:
        return next((cell for cell in self._cells_of(index) if len(self._cells[cell]) > 1), ALL)

    def _turn(self, index: int) -> int:
        return _number(f"{self._seed}:votes:{self._labels.clip_id[index]}")

    def _cells_of(self, index: int) -> list[Cell]:
        """Narrow to wide."""
        action, difficulty = self._labels.action[index], float(self._labels.difficulty[index])
        narrow: list[Cell] = [(action, round(difficulty, 3))] if np.isfinite(difficulty) else []
        return list(dict.fromkeys([*narrow, (action, None), ALL]))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
