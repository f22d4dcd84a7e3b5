"""One tube as the pages draw it: plain lists for what a plot needs, base64 bytes for grids and masks."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import JsonValue

from flows.draw.clip_view import CropWindow

WHOLE = 255
"""What a cell that a quad covers entirely has in `coverage`."""


@dataclass(frozen=True, eq=False)
class GridLayer:
    """What lies over the feature grid: a masks artifact's arrays, and the settings that they were made with.

    Attributes:
        coverage: (L, Hf, Wf) float32 in [0, 1].
        mask: (N, T, Hf, Wf) bool.
        omega: (N,) int32, positions of each segment.
    """

    coverage: NDArray[np.float32]
    mask: NDArray[np.bool_]
    omega: NDArray[np.int32]
    crop: CropWindow
    tau: float
    starts: tuple[int, ...]
    segment_length: int
    stride: int

    def as_json(self) -> dict[str, object]:
        """Coverage as one byte a cell, 255 where it is covered entirely; the mask as one byte a position."""
        crop = {"left": self.crop.left, "top": self.crop.top, "size": self.crop.size}
        return {
            "crop": crop,
            "grid": list(self.coverage.shape[1:]),
            "tau": self.tau,
            "starts": list(self.starts),
            "segment_length": self.segment_length,
            "stride": self.stride,
            "steps": int(self.mask.shape[1]),
            "coverage": as_base64(np.rint(np.clip(self.coverage, 0, 1) * WHOLE).astype(np.uint8)),
            "mask": as_base64(self.mask.astype(np.uint8)),
            "omega": [int(count) for count in self.omega],
            "empty": not bool(self.omega.any()),
        }


def tube_json(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, object]:
    """A track artifact's arrays: quads (A, L, 4, 2), scores and flags (A, L), areas, and the masks' run lengths."""
    quads = np.asarray(arrays["quads"], np.float64)
    flags = {name: np.asarray(arrays[name]).astype(int).tolist() for name in ("lost", "border", "sudden")}
    masks = None
    if "rle" in arrays:
        masks = {
            "rle": as_base64(np.asarray(arrays["rle"], "<u4")),
            "offsets": np.asarray(arrays["rle_offsets"]).tolist(),
        }
    return {
        "athletes": int(quads.shape[0]),
        "count": int(quads.shape[1]),
        "quads": numbers(quads, 2),
        "scores": numbers(arrays["scores"], 4),
        **flags,
        "area": numbers(quad_areas(quads), 1),
        "athlete_masks": masks,
    }


def quad_areas(quads: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area in square pixels: (…, 4, 2) → (…)."""
    following = np.roll(quads, -1, axis=-2)
    twice = (quads[..., 0] * following[..., 1] - quads[..., 1] * following[..., 0]).sum(axis=-1)
    return np.asarray(np.abs(twice) / 2)


def numbers(values: ArrayLike, decimals: int) -> JsonValue:
    """An array of any shape as nested lists of rounded numbers; None where one isn't finite, which JSON can't say."""
    array = np.asarray(values, np.float64)
    rounded = np.round(array, decimals)
    plain = rounded.astype(object)
    plain[~np.isfinite(rounded)] = None
    listed: JsonValue = (rounded if np.isfinite(rounded).all() else plain).tolist()
    return listed


def number(value: float, decimals: int) -> float | None:
    """One rounded number; None where it isn't finite."""
    return round(float(value), decimals) if np.isfinite(value) else None


def as_base64(array: NDArray[np.generic]) -> str:
    """The bytes of an array of any shape and dtype in C order, as text."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
