"""A moving average of the weights beside the training, which is what is validated and kept."""

from collections.abc import Callable

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_avg_fn

Average = Callable[[Tensor, Tensor, Tensor | int], Tensor]


class MovingAverage(WeightAveraging):
    """Lightning's averaging with `average ← decay · average + (1 - decay) · weights` after every optimiser step.

    BatchNorm's statistics are averaged too. Not used as it comes (`EMAWeightAveraging`): that one also averages whole
    numbers, and 0.999 · 23 + 0.001 · 23 is 22 after the cast, so that frame numbers in buffers would drift.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=_of_fractions(get_ema_avg_fn(decay)))  # type: ignore[no-untyped-call]

    def averaged(self) -> nn.Module:
        """The averaged copy of the Lightning module. Raises RuntimeError before training begins."""
        if self._average_model is None:
            raise RuntimeError("nothing is averaged before training begins")
        module = self._average_model.module
        assert isinstance(module, nn.Module)
        return module


def _of_fractions(average: Average) -> Average:
    def update(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        return average(averaged, current, count) if averaged.is_floating_point() else current

    return update


def moving_average(trainer: Trainer) -> MovingAverage | None:
    """The trainer's moving average, if it has one."""
    return next((one for one in trainer.callbacks if isinstance(one, MovingAverage)), None)  # type: ignore[attr-defined]
