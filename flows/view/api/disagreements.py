"""Routes that compare two ways of tracking over a whole dataset: where do their tubes disagree most?

Overlaps are computed in the background, once for each pair of tubes, and kept in the catalog; the page asks again
until all are there.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlencode

import numpy as np
from fastapi import APIRouter, Query

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.indexed_read import NoArtifact
from data_catalog.tables.tube_overlap import Overlap, TubeOverlapTable, pair
from flows.tracking.variants import TrackVariant, changes, tracks_by_clip
from flows.view.rows import thumb_url
from flows.view.state import ViewState
from flows.view.tube_iou import tube_iou

logger = logging.getLogger(__name__)

SAVE_EVERY = 500
Tracks = Mapping[str, list[TrackVariant]]


@dataclass
class VariantComparison:
    """Two variants of one dataset.

    Attributes:
        pairs: for each clip that both have, its newest tube of each.
        known: overlaps by pair of keys; grows while `done` does.
        failed: clips whose tubes can't be compared.
    """

    pairs: dict[str, tuple[TrackVariant, TrackVariant]]
    known: dict[tuple[str, str], Overlap]
    done: int = 0
    failed: set[str] = field(default_factory=set)
    ended: bool = False


class Comparisons:
    """All comparisons that were asked for since the workspace last changed."""

    def __init__(self, state: ViewState) -> None:
        self._state, self._lock = state, threading.Lock()
        self._generation = -1
        self._tracks: dict[str, Tracks] = {}
        self._found: dict[tuple[str, str, str], VariantComparison] = {}

    def tracks(self, dataset: str) -> Tracks:
        """Every clip's tubes, read once for each state of the workspace. Raises UnknownClip."""
        snapshot = self._state.current()
        snapshot.dataset(dataset)
        with self._lock:
            if self._generation != snapshot.generation:
                self._tracks, self._found, self._generation = {}, {}, snapshot.generation
            if dataset not in self._tracks:
                self._tracks[dataset] = tracks_by_clip(snapshot.workspace, dataset)
            return self._tracks[dataset]

    def get(self, dataset: str, a: str, b: str) -> VariantComparison:
        """The comparison of two variants, begun where it isn't there. Raises CatalogError where one is unknown."""
        tracks = self.tracks(dataset)
        with self._lock:
            name = (dataset, a, b)
            if name not in self._found:
                workspace = self._state.workspace
                table = TubeOverlapTable(workspace.catalog / "tube_overlap.parquet", workspace.notice)
                found = VariantComparison(_pairs(tracks, a, b), table.read())
                self._found[name] = found
                threading.Thread(target=_compute, args=(workspace, table, found), daemon=True).start()
            return self._found[name]


def _pairs(tracks: Tracks, a: str, b: str) -> dict[str, tuple[TrackVariant, TrackVariant]]:
    known = {track.variant for found in tracks.values() for track in found}
    if a not in known or b not in known or a == b:
        raise CatalogError("Choose two different ways of tracking that this dataset has tubes of.")
    pairs = {}
    for clip, found in tracks.items():
        newest = {track.variant: track for track in reversed(found)}
        if a in newest and b in newest:
            pairs[clip] = newest[a], newest[b]
    return pairs


def _compute(workspace: Workspace, table: TubeOverlapTable, comparison: VariantComparison) -> None:
    """All overlaps that aren't known, saved now and then."""
    fresh: list[Overlap] = []
    try:
        for clip, (one, other) in comparison.pairs.items():
            keys = pair(one.key, other.key)
            if keys not in comparison.known:
                try:
                    over_time = tube_iou(workspace, *keys).mean(axis=0)
                except (CatalogError, NoArtifact):
                    comparison.failed.add(clip)
                else:
                    worst = int(over_time.argmin())
                    mean, least = round(float(over_time.mean()), 4), round(float(over_time[worst]), 4)
                    row = Overlap(*keys, mean, least, worst)
                    comparison.known[keys] = row
                    fresh.append(row)
            comparison.done += 1
            if len(fresh) >= SAVE_EVERY:
                table.add(fresh)
                fresh.clear()
        if fresh:
            table.add(fresh)
    except OSError:
        logger.exception("overlaps of tubes could not be saved; they are computed again next time")
    finally:
        comparison.done, comparison.ended = len(comparison.pairs), True


def disagreement_routes(state: ViewState) -> APIRouter:
    """/variants and /disagreements."""
    router, comparisons = APIRouter(), Comparisons(state)

    @router.get("/variants")
    def variants(dataset: str) -> list[dict[str, object]]:
        tracks = comparisons.tracks(dataset)
        shown = state.current().dataset(dataset)
        plan = shown.plans.get("track")
        current = {job.key for clip, job in plan.jobs.items() if clip in plan.hits} if plan else set()
        counts = Counter(variant for found in tracks.values() for variant in {track.variant for track in found})
        kinds: dict[str, TrackVariant] = {}
        in_use: set[str] = set()
        for found in tracks.values():
            for track in found:
                kinds.setdefault(track.variant, track)
                if track.key in current:
                    in_use.add(track.variant)
        return [
            {
                "variant": variant,
                "title": _told_apart(kinds[variant], list(kinds.values())),
                "tracker": kinds[variant].tracker,
                "clips": count,
                "current": variant in in_use,
            }
            for variant, count in counts.most_common()
        ]

    @router.get("/disagreements")
    def disagreements(
        dataset: str,
        a: str,
        b: str,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> dict[str, object]:
        found = comparisons.get(dataset, a, b)
        kinds = [track for tracks in comparisons.tracks(dataset).values() for track in tracks]
        first = {track.variant: track for track in reversed(kinds)}
        rows = _rows(found)
        return {
            "state": "done" if found.ended else "computing",
            "done": found.done,
            "total": len(found.pairs),
            "failed": sorted(found.failed),
            "mean": round(float(np.mean([row.mean for _, row in rows])), 4) if rows else None,
            "titles": {"a": _told_apart(first[a], [first[b]]), "b": _told_apart(first[b], [first[a]])},
            "rows": [_row_json(dataset, clip, found.pairs[clip], row) for clip, row in rows[offset : offset + limit]],
        }

    return router


def _rows(comparison: VariantComparison) -> list[tuple[str, Overlap]]:
    """Clips whose overlap is known, those that agree least first."""
    known = dict(comparison.known)
    found = [(clip, known[keys]) for clip, (a, b) in comparison.pairs.items() if (keys := pair(a.key, b.key)) in known]
    return sorted(found, key=lambda item: (item[1].mean, item[0]))


def _row_json(dataset: str, clip: str, tracks: tuple[TrackVariant, TrackVariant], row: Overlap) -> dict[str, object]:
    thumbs = [thumb_url(track.normalize_key, track.key, row.worst_frame) for track in tracks]
    query = {"dataset": dataset, "clip": clip, "a": tracks[0].key, "b": tracks[1].key, "frame": row.worst_frame}
    return {
        "clip": clip,
        "iou": row.mean,
        "worst_frame": row.worst_frame,
        "worst_iou": row.worst,
        "a": tracks[0].key,
        "b": tracks[1].key,
        "thumb_a": thumbs[0],
        "thumb_b": thumbs[1],
        "page": "/compare?" + urlencode(query),
    }


def _told_apart(track: TrackVariant, others: list[TrackVariant]) -> str:
    """The tracker's title, with what else differs where another one has the same title."""
    alike = [other for other in others if other.title == track.title and other.variant != track.variant]
    if not alike:
        return track.title
    return f"{track.title} ({', '.join(changes(track, alike[0])) or track.variant})"
