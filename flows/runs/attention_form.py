"""The attention of a config's network, as far as it decides what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.attention.cost import AttentionCost, attention_cost
from tasks.training.config import ModelConfig


@dataclass(frozen=True)
class AttentionForm:
    """What of a network's attention decides its cost, as its blocks have it; C = `channels`, r = `reduced`."""

    channels: int
    reduced: int
    affinity: str
    min_positions: int
    blocks: int

    def cost(self, positions: int) -> AttentionCost:
        """Of all blocks, on a tube of so many positions."""
        return attention_cost(positions, self.channels, self.reduced, self.affinity).of_blocks(self.blocks)

    def positions(self, mask: NDArray[np.bool_]) -> int:
        """Positions that the blocks work on for a tube mask (N, T, Hf, Wf), which may have to grow first."""
        if self.min_positions <= int(np.count_nonzero(mask)):
            return int(np.count_nonzero(mask))
        import torch  # takes seconds, and most tubes need not grow

        from models.attention.growth import grow_tubes

        joined = torch.from_numpy(np.ascontiguousarray(mask)).flatten(0, 1)[None]
        return int(grow_tubes(joined, self.min_positions).sum())


def attention_form(model: ModelConfig) -> AttentionForm:
    """The attention of a network, read off the network itself; nothing is computed.

    A network without attention inside a tube is taken as the one that would have one such block.
    """
    import torch  # with the networks below seconds, which a command that counts nothing is spared

    from models.attention import TubeSelfAttention
    from models.tsanet import build_tsanet

    blocks: list[TubeSelfAttention] = []
    for attention in dict.fromkeys((model.attention, "tsa")):
        with torch.device("meta"):
            network = build_tsanet(
                model.backbone, model.split, None, attention, model.stacks, model.affinity,
                dict(model.attention_options), compat=model.compat,
            )
        blocks = [block for block in network.attention if isinstance(block, TubeSelfAttention)]
        if blocks:
            break
    first = blocks[0]
    return AttentionForm(first.channels, first.reduced, first.affinity, first.min_positions, len(blocks))
