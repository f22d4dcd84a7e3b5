"""Routes of the clip page: the clip, any of its tubes, their overlap, and what is left to be done."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter

from data_catalog.indexed_read import NoArtifact
from flows.tracking.variants import read_tube
from flows.view.clip_answer import clip_json
from flows.view.plans import plan_json
from flows.view.state import ViewState
from flows.view.tube_iou import tube_iou, tube_iou_json


def clip_routes(state: ViewState) -> APIRouter:
    """/clip, /tube, /iou and /plan."""
    router = APIRouter()

    @router.get("/clip")
    def clip(dataset: str, clip: str) -> Mapping[str, object]:
        try:
            return clip_json(state.current(), dataset, clip)
        except NoArtifact:  # a file was deleted since the plan was made: it is planned again, and says so
            return clip_json(state.clip_changed(dataset, clip), dataset, clip)

    @router.get("/tube")
    def tube(track: str) -> Mapping[str, object]:
        return read_tube(state.workspace, track)

    @router.get("/iou")
    def iou(a: str, b: str) -> Mapping[str, object]:
        return tube_iou_json(tube_iou(state.workspace, a, b))

    @router.get("/plan")
    def plan(dataset: str, clip: str) -> Mapping[str, object]:
        return plan_json(state.current(), dataset, clip)

    return router
