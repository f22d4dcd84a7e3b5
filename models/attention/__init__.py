"""Tube self-attention and the dense Non-local block, in linear cost over the tube's positions."""

from models.attention.block import AFFINITIES, NonLocal, TubeSelfAttention
from models.renamed import renamed

__all__ = ["AFFINITIES", "NonLocal", "TubeSelfAttention"]

# What the one file of before could be asked for, because it imported it.
__getattr__ = renamed(
    __name__,
    {
        "Projections": "models.attention.dot_forms:Projections",
        "add_to_tubes": "models.attention.gather:add_to_tubes",
        "attend_tubes": "models.attention.softmax:attend_tubes",
        "gather_tubes": "models.attention.gather:gather_tubes",
        "grow_tubes": "models.attention.growth:grow_tubes",
        "rename_released": "models.attention.released_keys:rename_released",
        "tube_dot": "models.attention.dot:tube_dot",
        "tube_indices": "models.attention.gather:tube_indices",
    },
)
