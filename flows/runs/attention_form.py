"""The attention of a config's network, as far as it decides what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.attention.cost import AttentionCost, attention_cost, positionwise_cost
from tasks.training.config import ModelConfig
from tasks.training.first_weights import model_form


@dataclass(frozen=True)
class AttentionForm:
    """What of a network's attention decides its cost, as its blocks have it; C = `channels`, r = `reduced`.

    `control` is the form's name where it compares no positions; such a form is set beside one dense block of the
    paper's, which is what `dense` counts, and its affinity has no meaning.
    """

    channels: int
    reduced: int
    affinity: str
    min_positions: int
    blocks: int
    control: str | None = None

    def cost(self, positions: int) -> AttentionCost:
        """Of all blocks, on a tube of so many positions."""
        if self.control is not None:
            return positionwise_cost(self.control, positions, self.channels, self.reduced).of_blocks(self.blocks)
        return attention_cost(positions, self.channels, self.reduced, self.affinity).of_blocks(self.blocks)

    def dense(self, positions: int) -> AttentionCost:
        """Of Non-local blocks in its place, on all the positions of a video."""
        if self.control is not None:
            return attention_cost(positions, self.channels)
        return self.cost(positions)

    def positions(self, mask: NDArray[np.bool_]) -> int:
        """Positions that the blocks work on for a tube mask (N, T, Hf, Wf), which may have to grow first."""
        if self.control == "channel":
            return int(mask.size)
        if self.min_positions <= int(np.count_nonzero(mask)):
            return int(np.count_nonzero(mask))
        import torch  # takes seconds, and most tubes need not grow

        from models.attention.growth import grow_tubes

        joined = torch.from_numpy(np.ascontiguousarray(mask)).flatten(0, 1)[None]
        return int(grow_tubes(joined, self.min_positions).sum())


def attention_form(model: ModelConfig, weights: Path) -> AttentionForm:
    """The attention of a network, read off the network itself; nothing is computed.

    A network without attention inside a tube is taken as the one that would have one such block.

    Args:
        model: which network.
        weights: the weights folder, by which the size of some backbones is known.

    Raises:
        WeightsError: such weights aren't there.
    """
    import torch  # with the networks below seconds, which a command that counts nothing is spared
    from torch import nn

    from models.attention.forms import FORMS
    from models.tsanet import build_tsanet

    kind = "tsa" if model.attention == "none" else model.attention
    with torch.device("meta"):
        network = build_tsanet(
            model.backbone, model.split, None, kind, model.stacks, model.affinity,
            dict(model.block_options()), compat=model.compat, form=model_form(model, weights),
        )  # fmt: skip
    blocks: list[nn.Module] = list(network.attention) if network.pool is None else [network.pool]
    first = blocks[0]
    return AttentionForm(
        int(getattr(first, "channels", 0)),
        int(getattr(first, "reduced", 0)),
        str(getattr(first, "affinity", "")),
        int(getattr(first, "min_positions", 0)),
        len(blocks),
        None if FORMS[kind].compares else kind,
    )
