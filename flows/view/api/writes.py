"""Routes that change something: a clip's labels, with history, and runs that make what follows from it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from data_catalog.catalog import CatalogError
from data_catalog.datasets.records import ClipRecord
from data_catalog.indexed_read import read_artifact
from data_catalog.media.video import probe
from flows.datasets.labels import set_labels
from flows.view import plans
from flows.view.clip_answer import to_frame, to_source
from flows.view.jobs import Jobs, RerunJob
from flows.view.prefect_runs import follow_prefect, start_prefect
from flows.view.rows import done_key
from flows.view.state import Snapshot, ViewState, fingerprint

Number = Annotated[float, Field(allow_inf_nan=False, ge=-100_000, le=100_000)]
Four = Annotated[list[Number], Field(min_length=4, max_length=4)]
Frame = Annotated[int, Field(ge=0, le=100_000_000)]
MAX_ATHLETES = 16
LEAST_PX = 1.0  # of a box's sides, in pixels of the normalised frame
MARGIN_PX = 1.0  # by which rounding may put a box outside the frame


class Strict(BaseModel):
    """A body in which nothing unknown stands, and a number is a number: no text, no true or false."""

    model_config = ConfigDict(extra="forbid", strict=True)


class LabelWrite(Strict):
    """What is to be set; what is left out stays.

    Attributes:
        boxes: x0, y0, x1, y1 in pixels of the normalised frame, one an athlete.
        source_boxes: x, y, w, h in pixels of the video, as the history has them.
        detections: numbers of the detections that are the athletes.
        reason: why it is bad; forgotten when the clip is used again.
        start_frame, end_frame: in frames of the video; null means its beginning or end.
    """

    dataset: str
    clip: str
    boxes: list[Four] | None = Field(None, max_length=MAX_ATHLETES)
    source_boxes: list[Four] | None = Field(None, max_length=MAX_ATHLETES)
    detections: list[Frame] | None = Field(None, max_length=MAX_ATHLETES)
    bad: bool | None = None
    reason: Annotated[str, Field(max_length=500)] | None = None
    start_frame: Frame | None = None
    end_frame: Frame | None = None


class RerunWrite(Strict):
    """Which command is to run, and where."""

    dataset: str
    clip: str
    scope: Literal["clip", "all"]
    via: Literal["local", "prefect"] = "local"


class Nothing(Strict):
    """An empty body."""


def write_routes(state: ViewState, jobs: Jobs) -> APIRouter:
    """/labels, /rerun and /jobs."""
    router = APIRouter()

    @router.post("/labels")
    def labels(body: LabelWrite) -> dict[str, object]:
        snapshot = state.current()
        snapshot.clip(body.dataset, body.clip)
        before = fingerprint(state.root)
        edits = set_labels(snapshot.workspace, body.dataset, body.clip, assignments(snapshot, body))
        after = state.clip_changed(body.dataset, body.clip, since=before) if edits else snapshot
        return {"edits": [asdict(edit) for edit in edits], "plan": plans.plan_json(after, body.dataset, body.clip)}

    @router.post("/rerun", status_code=202)
    def rerun(body: RerunWrite) -> dict[str, object]:
        snapshot = state.current()
        snapshot.clip(body.dataset, body.clip)
        clip = body.clip if body.scope == "clip" else None
        wanted = plans.rerun(snapshot, body.dataset, clip)
        job = RerunJob(body.via, body.dataset, body.clip, body.scope, "")

        def finished() -> None:
            state.clip_changed(body.dataset, body.clip)

        if body.via == "local":
            return jobs.start_local(job, wanted.words(), finished).as_json()
        run_id = start_prefect(job, wanted.parameters())
        job.command = f"prefect deployment run {job.dataset}"
        jobs.add(job)

        def follow() -> None:
            follow_prefect(job, run_id)
            finished()

        # With this thread's settings of Prefect, which decide what server it asks.
        threading.Thread(target=contextvars.copy_context().run, args=(follow,), daemon=True).start()
        return job.as_json()

    @router.get("/jobs")
    def every_job() -> list[dict[str, object]]:
        return [job.as_json() for job in jobs.all()]

    @router.get("/jobs/{name}")
    def one_job(name: str) -> dict[str, object]:
        return jobs.get(name).as_json()

    @router.post("/jobs/{name}/cancel")
    def cancel(name: str, body: Nothing) -> dict[str, object]:
        return jobs.cancel(name).as_json()

    return router


def assignments(snapshot: Snapshot, body: LabelWrite) -> list[str]:
    """What `tubeflow labels set` would be told. Raises CatalogError where it doesn't fit the clip."""
    given = body.model_fields_set
    if len(given & {"boxes", "source_boxes", "detections"}) > 1:
        raise CatalogError("Give boxes, source_boxes or detections, one of them.")
    _check_cut(snapshot, body)
    words = []
    if given & {"boxes", "source_boxes", "detections"}:
        boxes = _source_boxes(snapshot, body)
        words += [f"box={','.join(map(repr, box))}" for box in boxes] or ["box="]
    if body.bad is not None:
        words += [f"bad={str(body.bad).lower()}", f"bad_reason={(body.reason or '') if body.bad else ''}"]
    for name in ("start_frame", "end_frame"):
        if name in given:
            value = getattr(body, name)
            words.append(f"{name}={'' if value is None else value}")
    if not words:
        raise CatalogError("Nothing was given that could be set.")
    return words


def _source_boxes(snapshot: Snapshot, body: LabelWrite) -> list[list[float]]:
    """The athletes' boxes as x, y, w, h in pixels of the video."""
    state, record = snapshot.clip(body.dataset, body.clip)
    if body.source_boxes is not None and body.source_boxes in _known_boxes(snapshot, body, record):
        return body.source_boxes
    key = done_key(state.plans, "normalize", body.clip)
    if key is None:
        raise CatalogError(f"Clip '{body.clip}' has no frames yet to draw a box in; run the dataset first.")
    attrs = read_artifact(snapshot.workspace, "normalize", key, ["frame_offsets"]).attrs
    source = int(attrs["source_width"]), int(attrs["source_height"])
    frame = int(attrs["width"]), int(attrs["height"])
    if body.source_boxes is not None:
        for box in body.source_boxes:
            _check_box(to_frame(tuple(box), source, frame), frame)
        return body.source_boxes
    boxes: list[list[float]] = [list(box) for box in body.boxes or []]
    if body.detections is not None:
        boxes = _chosen(snapshot, body)
    for box in boxes:
        _check_box(box, frame)
    return [to_source(box, source, frame) for box in boxes]


def _known_boxes(snapshot: Snapshot, body: LabelWrite, record: ClipRecord) -> list[list[list[float]]]:
    """What the label file and the history have for the clip: it can be set back, whatever a label file had."""
    edits = snapshot.workspace.datasets.edits(body.dataset).read()
    mine = [edit for edit in edits if edit.clip_id == body.clip and edit.field == "boxes"]
    return [[list(box) for box in record.boxes], *(edit.old or [] for edit in mine), *(edit.new or [] for edit in mine)]


def _check_box(box: Sequence[float], frame: tuple[int, int]) -> None:
    """Raise CatalogError for a box x0, y0, x1, y1 that nobody can have drawn in a frame of that width and height."""
    left, top, right, bottom = box
    if right - left < LEAST_PX or bottom - top < LEAST_PX:
        raise CatalogError("A box has no area; draw it from its upper left to its lower right corner.")
    if min(left, top) < -MARGIN_PX or right > frame[0] + MARGIN_PX or bottom > frame[1] + MARGIN_PX:
        raise CatalogError(f"A box lies outside the frame, which is {frame[0]} x {frame[1]} pixels; draw it inside.")


def _check_cut(snapshot: Snapshot, body: LabelWrite) -> None:
    """Raise CatalogError for a cut beyond the video's end, BadVideo where the video can't be looked at."""
    _, record = snapshot.clip(body.dataset, body.clip)
    if body.start_frame is None and body.end_frame is None:
        return
    total = probe(Path(record.video)).num_frames
    if (body.start_frame or 0) >= total or (body.end_frame or 0) > total:
        raise CatalogError(f"The video has {total} frames, counted from 0; choose a cut inside it.")


def _chosen(snapshot: Snapshot, body: LabelWrite) -> list[list[float]]:
    """Boxes of the detections that were chosen, in pixels of the normalised frame."""
    state, _ = snapshot.clip(body.dataset, body.clip)
    key = done_key(state.plans, "detect", body.clip)
    if key is None:
        raise CatalogError(f"Clip '{body.clip}' has no detections; draw a box instead.")
    boxes = read_artifact(snapshot.workspace, "detect", key).arrays["boxes"]
    wanted = body.detections or []
    if any(number >= len(boxes) for number in wanted):
        raise CatalogError(f"The clip has {len(boxes)} detections, counted from 0.")
    return [[float(value) for value in boxes[number]] for number in wanted]
