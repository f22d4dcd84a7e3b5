"""How much two tubes of one clip agree over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.indexed_read import read_artifact
from flows.draw.tube_layers import numbers
from models.geometry import polygon_iou


def tube_iou(workspace: Workspace, a: str, b: str) -> NDArray[np.float64]:
    """IoU (A, L) of two tubes over time; an athlete that only one of them has overlaps with nothing.

    Raises:
        NoArtifact: one of them isn't there.
        CatalogError: they lie in other frames, or belong to other clips.
    """
    first, second = (read_artifact(workspace, "track", key) for key in (a, b))
    one, other = first.arrays["quads"], second.arrays["quads"]
    sizes = [(int(found.attrs["width"]), int(found.attrs["height"])) for found in (first, second)]
    if one.shape[1] != other.shape[1] or sizes[0] != sizes[1]:
        raise CatalogError("These tubes lie in frames of different number or size, so that they can't be compared.")
    athletes = np.zeros((max(len(one), len(other)), one.shape[1]))
    both = min(len(one), len(other))
    athletes[:both] = polygon_iou(one[:both], other[:both])
    return athletes


def tube_iou_json(athletes: NDArray[np.float64]) -> dict[str, object]:
    """The answer of /api/iou from IoU (A, L): each athlete's, their mean, and the frame where they agree least."""
    mean = athletes.mean(axis=0)
    return {
        "count": int(athletes.shape[1]),
        "iou": numbers(mean, 4),
        "athletes": numbers(athletes, 4),
        "mean": round(float(mean.mean()), 4),
        "worst": int(mean.argmin()),
    }
