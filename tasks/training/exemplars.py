"""Which training clips a contrastive head compares others with, in training and afterwards."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from data_catalog.pack.file import PackLabels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.contrastive import Exemplars

Cell = tuple[str, float | None]
"""Action and degree of difficulty of clips that are compared; None for every difficulty, "" for every action."""
ALL: Cell = ("", None)
MOST_PAIRED = 2000
"""Clips of a cell whose differences are looked at; their number grows with the square."""


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
                return others[_draw(f"{self._seed}:{epoch}:exemplar:{self._labels.clip_id[index]}") % len(others)]
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

        from models.contrastive import Exemplars

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
        return _draw(f"{self._seed}:votes:{self._labels.clip_id[index]}")

    def _cells_of(self, index: int) -> list[Cell]:
        """Narrow to wide."""
        action, difficulty = self._labels.action[index], float(self._labels.difficulty[index])
        narrow: list[Cell] = [(action, round(difficulty, 3))] if np.isfinite(difficulty) else []
        return list(dict.fromkeys([*narrow, (action, None), ALL]))


def _draw(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
