"""Tube self-attention and the dense Non-local block, in linear cost over the tube's positions."""

from models.attention.block import NonLocal, TubeSelfAttention

__all__ = ["NonLocal", "TubeSelfAttention"]
