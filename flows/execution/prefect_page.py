"""What a run shows on its page of a Prefect server: how far it is; then tables, and a picture of the tubes.

The picture is inside the artifact, as a data URI: a server elsewhere can't read the workspace, and a browser won't
open a file from a page. It is small for that; the file that it was made from is named below it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

from prefect.artifacts import (
    create_image_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from data_catalog.catalog import Workspace
from data_catalog.errors import os_sentence
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.tube_quality import TubeQuality
from flows.console import left_text
from flows.draw.sheet import dataset_sheet
from flows.execution.prefect_setup import own_server
from flows.report.page import data_uri, load_picture
from flows.runs.clip_tube import ClipTube, draw_from
from flows.runs.summary import RunSummary
from tasks.engine import progress
from tasks.engine.progress import TimeLeft

logger = logging.getLogger(__name__)

Row = dict[str, str | int | float]
UPDATE_SECONDS = 5.0  # a call to the server each
ROWS = 50
PICTURE_WIDTH = 1100  # px: as wide as the page shows it


def show_run(summary: RunSummary, workspace: Workspace) -> None:
    """Make the artifacts of a run; the quarantined clips always, the rest where somebody can look at a server."""
    if summary.failures:
        table(
            "quarantined",
            f"Clips of dataset {summary.dataset} without a result",
            [{"clip": row.clip_id, "stage": row.stage, "reason": row.reason, "remedy": row.remedy}
             for row in summary.failures],
        )  # fmt: skip
    if own_server():
        return
    table("stages", f"What the run did on dataset {summary.dataset}", stage_rows(summary))
    if summary.metrics:
        table("metrics", f"Metrics of dataset {summary.dataset}", metric_rows(summary))
    if summary.worst:
        count = f"{len(summary.suspicious)} of {summary.judged} tubes are suspicious"
        table("tubes", f"{count}; the most suspicious first", tube_rows(summary.worst))
        show_tubes(summary, workspace)


def table(key: str, description: str, rows: list[Row]) -> None:
    """One table artifact, its first rows; says so where there are more."""
    more = f" (the first {ROWS} of {len(rows)})" if len(rows) > ROWS else ""
    create_table_artifact(key=key, description=description + more, table=rows[:ROWS])


def stage_rows(summary: RunSummary) -> list[Row]:
    """One row a stage, as `tubeflow run` prints them."""
    return [
        {"stage": name, "clips": count.clips, "computed": count.computed, "cached": count.hits,
         "quarantined": count.quarantined, "seconds": round(count.seconds, 1)}
        for name, count in summary.stages.items()
    ]  # fmt: skip


def metric_rows(summary: RunSummary) -> list[Row]:
    """One row for each split and metric; "undefined: …" where one has no value."""
    last, best = summary.metrics.get("last", {}), summary.metrics.get("best", {})
    return [
        {"split": split, "metric": name, "last epoch": value,
         "best epoch": best.get(split, {}).get("all", {}).get(name, "")}
        for split, tables in last.items()
        for name, value in tables["all"].items()
    ]  # fmt: skip


def tube_rows(rows: Sequence[TubeQuality]) -> list[Row]:
    """One row a tube: how suspicious it is, from 0 to 1, and why."""
    return [
        {"clip": row.clip_id, "suspicion": round(row.suspicion, 2), "why": " ".join(row.reasons) or "nothing odd"}
        for row in rows
    ]


def show_tubes(summary: RunSummary, workspace: Workspace) -> None:
    """The most suspicious tubes as a picture; what can't be read is left out."""
    clips = workspace.datasets.clips(summary.dataset, [row.clip_id for row in summary.worst])
    scores = {clip.clip_id: clip.score for clip in clips}
    tubes = [tube for row in summary.worst if (tube := read_tube(workspace, row, scores.get(row.clip_id))) is not None]
    if not tubes:
        return
    path = workspace.runs / summary.run_id / "tubes.png"
    title = f"{summary.dataset}: the most suspicious tubes"
    try:
        dataset_sheet([tube.view for tube in tubes], path, title=title, frames=6)
    except OSError as exc:  # the run itself is done
        logger.warning("%s", os_sentence(exc))
        return
    create_image_artifact(image_url=image_uri(path), key="tube-pictures", description=f"{title}; the file is {path}")


def image_uri(path: Path) -> str:
    """A picture file as a small data URI."""
    return data_uri(load_picture(path, path.name, width=PICTURE_WIDTH))


def read_tube(workspace: Workspace, row: TubeQuality, score: float | None) -> ClipTube | None:
    """What is drawn of a judged tube of a clip with that score; None where one of its artifacts is gone or damaged."""
    store = workspace.store
    try:
        track, masks = store.read("track", row.track_key), store.read("masks", row.masks_key)
        source = store.read("normalize", track.lineage.parents["normalize"])
    except FileNotFoundError as exc:
        logger.warning("the tube of clip '%s' is not drawn: %s", row.clip_id, exc)
        return None
    except ArtifactDamaged as exc:
        workspace.notice(workspace.discard(exc))
        return None
    settings = masks.lineage.config["masks"]
    found = {"normalize": source, "track": track, "masks": masks}
    return draw_from(workspace, row.dataset, row.clip_id, found, (settings["crop"], settings["tau"]), score)


@contextlib.contextmanager
def progress_on_page() -> Iterator[None]:
    """While the block runs, a flow run's page shows its progress, where somebody can look at a server."""
    if own_server():
        yield
        return
    page = _PageProgress()
    with progress.listening(page.told, page.expect):
        yield
    page.end()


class _PageProgress:
    """The artifact `progress`: percent, how long the run takes as the store knows it, and how long it still takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._time_left = TimeLeft(clock)
        self._artifact: UUID | None = None
        self._sentence = ""
        self._stage = ""
        self._updated = clock()

    def expect(self, forecast: progress.Forecast) -> None:
        """Make the artifact; called where the run is planned, in its flow's own thread."""
        self._time_left.expect(forecast)
        self._sentence = forecast.sentence or "Everything is there already."
        made = create_progress_artifact(0.0, key="progress", description=self._sentence)
        self._artifact = made if isinstance(made, UUID) else None  # something to be awaited only in an async flow

    def told(self, message: progress.Progress) -> None:
        """Bring the artifact up to date every few seconds."""
        self._time_left.told(message)
        of = "" if message.total is None else f" of {message.total}"
        self._stage = f"{message.stage}: {message.done}{of}"
        if self._clock() - self._updated >= UPDATE_SECONDS:
            left = left_text(self._time_left.overall())
            self._update(100 * self._time_left.share(), "; ".join(filter(None, (self._stage, left))))

    def end(self) -> None:
        """The run has got to its end."""
        self._update(100.0, "Done.")

    def _update(self, percent: float, now: str) -> None:
        self._updated = self._clock()
        if self._artifact is not None:
            update_progress_artifact(self._artifact, percent, description=f"{self._sentence}\n\n{now}")
