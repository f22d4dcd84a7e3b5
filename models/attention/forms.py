"""What can stand at the cut, by name: the values of `model.attention`.

A new one is a file with a block and one line here, besides the name in `tasks.training.config.ModelConfig`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from models.registry import Entry, Registry


@dataclass(frozen=True)
class FormEntry(Entry[Callable[..., nn.Module]]):
    """One form of using a tube; the target is called with the channels and the options of `model.attention_options`.

    Attributes:
        compares: its positions attend to each other, so it takes an affinity and has attention to look at.
        repeats: several one after another are more than one (`model.stacks`).
        pools: it takes the place of the mean at the network's end; the others stand at the cut.
    """

    compares: bool = False
    repeats: bool = True
    pools: bool = False


NO_FORM = "none"
"""Where there is no form at all: the network by itself, the papers' Plain-Net."""

FORMS: Registry[FormEntry] = Registry(
    "attention",
    {
        "tsa": FormEntry("models.attention.block:TubeSelfAttention", compares=True),
        "nonlocal": FormEntry("models.attention.block:NonLocal", compares=True),
        "pointwise": FormEntry("models.attention.positionwise:TubePointwise"),
        "mask": FormEntry("models.attention.positionwise:TubeMask", repeats=False),
        "channel": FormEntry("models.attention.positionwise:TubeChannel"),
        "constant": FormEntry("models.attention.positionwise:TubeConstant", repeats=False),
        "pool": FormEntry("models.attention.tube_pool:TubePool", repeats=False, pools=True),
    },
    also=(NO_FORM,),
)
