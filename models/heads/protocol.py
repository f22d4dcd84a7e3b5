"""What heads are asked for: an output, a loss and a score; of some also how uncertain it is, or a comparison.

Who uses a head asks by these, never by its class, so that a plug-in's head can do what ours do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


class Head(Protocol):
    """What TSANet and the trainer ask of a head, which is an `nn.Module` besides.

    Letters: B = videos, F = features of a video, J = judges.
    """

    def __call__(self, features: Tensor) -> Tensor:
        """(..., F) float to the raw output, leading axes kept."""
        ...

    def loss(self, output: Tensor, target: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """Scalar loss of raw outputs (B, ...) float against labels in their own unit (judges: (B, J))."""
        ...

    def decode(self, output: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """Raw output to (...) float: a score in the label's unit, or the probability of label 1."""
        ...


@runtime_checkable
class SpreadHead(Protocol):
    """A head that says how uncertain it is."""

    def spread(self, output: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """Raw output to (...) float: how far the score may lie from `decode`, a standard deviation in its unit."""
        ...


@dataclass(frozen=True)
class Exemplars:
    """Which training clips a clip is compared with.

    Attributes:
        actions: names of the actions; the first stands for any and is empty.
        cell_action: number of the action of each cell, (G,).
        cell_difficulty: its degree of difficulty; None of a cell for every difficulty, (G,).
        members: for each cell the numbers of its exemplars; from 0 within the exemplars.
        scores: of the exemplars, (E,), in the unit of the head's targets.
        relative: differences of score between training clips that may be compared, in the same unit.
    """

    actions: tuple[str, ...]
    cell_action: tuple[int, ...]
    cell_difficulty: tuple[float | None, ...]
    members: tuple[tuple[int, ...], ...]
    scores: tuple[float, ...]
    relative: Tensor


@runtime_checkable
class ComparingHead(Protocol):
    """A head that compares clips with training clips: its loss is of clips beside exemplars, and it remembers some.

    Attributes:
        exemplars: how many are asked about a clip at most.
    """

    exemplars: int

    def prepare(self, exemplars: Exemplars) -> None:
        """Take over which clips are compared, before the training."""
        ...

    def remember(self, features: Tensor) -> None:
        """Take over the raw outputs (E, ...) float of the exemplars, as the network makes them now."""
        ...

    def loss(self, output: Tensor, target: Tensor, difficulty: Tensor | None = None) -> Tensor:
        """Scalar loss of raw outputs (2·B, ...) float, row B + k of the exemplar of row k, against (2·B,) scores."""
        ...

    def action_numbers(self, names: Sequence[str]) -> Tensor:
        """Numbers (B,) int64 by which `decode` knows these actions."""
        ...

    def decode(self, output: Tensor, difficulty: Tensor | None = None, action: Tensor | None = None) -> Tensor:
        """Raw output to (...) float scores, by the remembered exemplars of the action and difficulty."""
        ...


@runtime_checkable
class FittedHead(Head, Protocol):
    """A head that is fitted at once to what all training clips are, and has nothing that is trained step by step."""

    def fit(self, features: Tensor, target: Tensor, difficulty: Tensor | None = None) -> None:
        """Take over what is found for features (B, F) float and their scores (B,) in their own unit."""
        ...
