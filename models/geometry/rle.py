"""Masks as run lengths, in COCO's order: column by column, the first run is of zeros and may be empty."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Runs = NDArray[np.uint32]


def encode_mask(mask: NDArray[np.bool_]) -> Runs:
    """(H, W) bool → (r,) uint32 run lengths that sum to H · W, alternately of False and True.

    Raises:
        ValueError: not a two-dimensional bool mask.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"a mask is (H, W) bool, got {mask.shape} {mask.dtype}")
    flat = mask.ravel(order="F")
    if not flat.size:
        return np.zeros(0, np.uint32)
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], turns, [flat.size]])
    runs = np.diff(edges)
    if flat[0]:
        runs = np.concatenate([[0], runs])
    return runs.astype(np.uint32)


def decode_mask(runs: Runs, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Run lengths → (H, W) bool.

    Raises:
        ValueError: the runs are not of such a mask.
    """
    total, needed = int(np.sum(runs, dtype=np.int64)), shape[0] * shape[1]
    if total != needed:
        raise ValueError(f"run lengths sum to {total}, a mask of {shape[0]}x{shape[1]} pixels needs {needed}")
    values = np.arange(len(runs)) % 2 == 1
    return np.asarray(np.repeat(values, runs).reshape(shape, order="F"))


def pack_runs(masks: Sequence[NDArray[np.bool_] | None]) -> dict[str, NDArray[Any]]:
    """Masks, each (H, W), in two arrays: mask k is `rle[rle_offsets[k]:rle_offsets[k + 1]]`, empty where there is none.

    Returns:
        `rle` (runs,) uint32 and `rle_offsets` (masks + 1,) int64.
    """
    runs = [np.zeros(0, np.uint32) if mask is None else encode_mask(mask) for mask in masks]
    offsets = np.zeros(len(runs) + 1, np.int64)
    np.cumsum([len(one) for one in runs], out=offsets[1:])
    return {"rle": np.concatenate([np.zeros(0, np.uint32), *runs]), "rle_offsets": offsets}


def unpack_runs(rle: Runs, offsets: NDArray[np.int64], index: int, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Mask `index` of `pack_runs`, or None where there was none."""
    runs = rle[int(offsets[index]) : int(offsets[index + 1])]
    return decode_mask(runs, shape) if len(runs) else None
