"""Routes of the gallery: the session, rows of clips filtered and sorted, and a clip's neighbours among them."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import Annotated, Literal, TypedDict

from fastapi import APIRouter, Depends, Query

from flows.datasets.labels import person
from flows.stages import CLIP_STAGES, IN_ORDER
from flows.view.access import Access
from flows.view.clip_rows import ClipRow, RowQuery, Sort
from flows.view.prefect_runs import prefect_json
from flows.view.rows import clip_url, row_answer
from flows.view.state import ViewState

MAX_ROWS = 500


class Neighbour(TypedDict):
    """The clip before or after another one, and the address of its page."""

    dataset: str
    clip: str
    page: str


def row_query(
    dataset: str | None = None,
    split: str | None = None,
    state: str | None = None,
    stage: str | None = None,
    bad: bool | None = None,
    q: Annotated[str, Query(max_length=200)] = "",
    sort: Sort = "suspicion",
    order: Literal["asc", "desc"] | None = None,
) -> RowQuery:
    """The filters of an address; an empty one filters nothing."""
    descending = None if order is None else order == "desc"
    return RowQuery(dataset or None, split or None, state or None, stage or None, bad, q, sort, descending)


Filters = Annotated[RowQuery, Depends(row_query)]


def gallery_routes(state: ViewState, access: Access) -> APIRouter:
    """/session, /clips and /neighbours."""
    router = APIRouter()

    @router.get("/session")
    def session() -> dict[str, object]:
        snapshot = state.current()
        datasets = [
            {
                "name": one.name,
                "clips": len(one.records),
                "procedural": one.procedural,
                "config": one.config is not None,
                "note": one.note,
            }
            for one in snapshot.datasets.values()
        ]
        shown = {stage.name for stage in CLIP_STAGES}.union(*(one.plans for one in snapshot.datasets.values()))
        return {
            "csrf": access.csrf,
            "version": version("tubeflow"),
            "workspace": str(state.root),
            "person": person(),
            "stages": [name for name in IN_ORDER if name in shown],
            "datasets": datasets,
            "rerun": {"local": True, "prefect": prefect_json()},
        }

    @router.get("/clips")
    def clips(
        filters: Filters,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 100,
    ) -> dict[str, object]:
        snapshot = state.current()
        found = snapshot.choose(filters)
        return {
            "total": len(found),
            "offset": offset,
            "rows": [row_answer(row) for row in found[offset : offset + limit]],
            "facets": snapshot.facets(filters),
            "generation": snapshot.generation,
            "refreshing": state.refreshing,
        }

    @router.get("/neighbours")
    def neighbours(dataset: str, clip: str, filters: Filters, within: str | None = None) -> dict[str, object]:
        # `dataset` says whose clip it is; the gallery's own filter of datasets is `within`.
        found = state.current().choose(replace(filters, dataset=within or None))
        position = next((i for i, row in enumerate(found) if (row.dataset, row.clip) == (dataset, clip)), None)
        return {
            "position": position,
            "total": len(found),
            "previous": None if position is None else _near(found, position - 1),
            "next": None if position is None else _near(found, position + 1),
        }

    return router


def _near(rows: list[ClipRow], position: int) -> Neighbour | None:
    if not 0 <= position < len(rows):
        return None
    row = rows[position]
    return {"dataset": row.dataset, "clip": row.clip, "page": clip_url(row.dataset, row.clip)}
