"""Routes of the clip page: the clip, any of its tubes, their overlap, and what is left to be done."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.inspect.tube_layers import numbers
from flows.view.artifacts import NoArtifact, read_artifact
from flows.view.clip import clip_json
from flows.view.plans import plan_json
from flows.view.state import ViewState
from flows.view.variants import read_tube
from models.geometry import polygon_iou


def clip_routes(state: ViewState) -> APIRouter:
    """/clip, /tube, /iou and /plan."""
    router = APIRouter()

    @router.get("/clip")
    def clip(dataset: str, clip: str) -> dict[str, Any]:
        try:
            return clip_json(state.current(), dataset, clip)
        except NoArtifact:  # a file was deleted since the plan was made: it is planned again, and says so
            return clip_json(state.clip_changed(dataset, clip), dataset, clip)

    @router.get("/tube")
    def tube(track: str) -> dict[str, Any]:
        return read_tube(state.workspace, track)

    @router.get("/iou")
    def iou(a: str, b: str) -> dict[str, Any]:
        return overlap(state.workspace, a, b)

    @router.get("/plan")
    def plan(dataset: str, clip: str) -> dict[str, Any]:
        return plan_json(state.current(), dataset, clip)

    return router


def overlap(workspace: Workspace, a: str, b: str) -> dict[str, Any]:
    """IoU of two tubes of one clip over time; athletes that only one of them has overlap with nothing."""
    first, second = (read_artifact(workspace, "track", key) for key in (a, b))
    one, other = first.arrays["quads"], second.arrays["quads"]
    sizes = [(int(found.attrs["width"]), int(found.attrs["height"])) for found in (first, second)]
    if one.shape[1] != other.shape[1] or sizes[0] != sizes[1]:
        raise CatalogError("These tubes lie in frames of different number or size, so that they can't be compared.")
    athletes = np.zeros((max(len(one), len(other)), one.shape[1]))
    both = min(len(one), len(other))
    athletes[:both] = polygon_iou(one[:both], other[:both])
    mean = athletes.mean(axis=0)
    return {
        "count": int(one.shape[1]),
        "iou": numbers(mean, 4),
        "athletes": numbers(athletes, 4),
        "mean": round(float(mean.mean()), 4),
        "worst": int(mean.argmin()),
    }
