"""All the tubes that a clip has: other trackers, settings, or first-frame boxes, as the catalog's index knows them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

from pydantic import JsonValue

from data_catalog.catalog import Workspace
from data_catalog.indexed_read import find_record, read_artifact
from data_catalog.tables.index import Record
from flows.draw.clip_view import CropWindow
from flows.draw.tube_layers import GridLayer, numbers, tube_json
from models.geometry import crop_origin
from tasks.engine.reasons import config_changes

STAGES_BEFORE = ("normalize", "detect")


class StageSettings(TypedDict):
    """What one stage of a tube was made with; without config where nothing is known of it."""

    config: dict[str, JsonValue] | None
    weights: NotRequired[list[str]]
    version: NotRequired[int]


@dataclass(frozen=True)
class TrackVariant:
    """One track artifact and what it was made with.

    Attributes:
        record: its row in the index.
        made: configs and weights by stage, normalize to track; the same for every clip of a run.
        variant: a digest of `made`: clips with one variant were tracked in the same way.
        title: the tracker with its weights, as a person says it.
    """

    record: Record
    made: Mapping[str, StageSettings]
    variant: str
    title: str

    @property
    def key(self) -> str:
        """Key of the artifact."""
        return self.record.key

    @property
    def normalize_key(self) -> str | None:
        """Key of the frames that it lies in."""
        parents: dict[str, str] = json.loads(self.record.parents)
        return parents.get("normalize")

    @property
    def tracker(self) -> str:
        """Its tracker's name, `?` where nothing is known of its config."""
        return str((self.made["track"]["config"] or {}).get("tracker", "?"))


def describe_track(workspace: Workspace, record: Record) -> TrackVariant:
    """A track artifact with the settings of everything that led to it."""
    rows, parents = workspace.index.rows, json.loads(record.parents)
    made: dict[str, StageSettings] = {}
    for stage in STAGES_BEFORE:
        parent = rows.get((stage, parents.get(stage, "")))
        made[stage] = {"config": None} if parent is None else _settings(parent)
    made["track"] = _settings(record)
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:12]
    return TrackVariant(record, made, digest, _title(made["track"]["config"] or {}, json.loads(record.weights)))


def _settings(record: Record) -> StageSettings:
    config = json.loads(record.config).get(record.stage, {})
    return {"config": config, "weights": sorted(json.loads(record.weights).values()), "version": record.stage_version}


def _title(config: Mapping[str, JsonValue], weights: Iterable[str]) -> str:
    """`nano nanotrack_v2`: the tracker, and what the names of its weights files have in common."""
    stems = [Path(name).stem for name in weights]
    alike = itertools.takewhile(lambda signs: len(set(signs)) == 1, zip(*stems, strict=False))
    common = "".join(signs[0] for signs in alike).rstrip("_-. ")
    return " ".join(filter(None, [str(config.get("tracker", "?")), common, str(config.get("preset") or "")]))


def tracks_by_clip(workspace: Workspace, dataset: str) -> dict[str, list[TrackVariant]]:
    """Every clip's track artifacts that are there, newest first."""
    there = workspace.store.scan("track")
    found: dict[str, list[TrackVariant]] = defaultdict(list)
    newest_first = sorted(workspace.index.rows.values(), key=lambda row: row.created, reverse=True)
    for record in newest_first:
        if record.stage == "track" and record.dataset == dataset and record.key in there:
            found[record.clip_id].append(describe_track(workspace, record))
    return dict(found)


def clip_tracks(workspace: Workspace, dataset: str, clip: str, current: str | None) -> list[TrackVariant]:
    """One clip's track artifacts, newest first; `current` among them even where another dataset made it."""
    rows = [
        row
        for row in workspace.index.rows.values()
        if row.stage == "track" and (row.key == current or (row.dataset == dataset and row.clip_id == clip))
    ]
    rows.sort(key=lambda row: row.created, reverse=True)
    return [describe_track(workspace, row) for row in rows if workspace.store.exists("track", row.key)]


def changes(track: TrackVariant, current: TrackVariant) -> list[str]:
    """What makes a tube another one than the current: settings, weights, the first-frame box."""
    found = []
    for stage in ("normalize", "detect", "track"):
        now, other = current.made[stage], track.made[stage]
        if now["config"] is None or other["config"] is None:
            continue
        found += config_changes(f"{stage}.", now["config"], other["config"])
        if now["weights"] != other["weights"]:
            found.append(f"{stage} weights changed")
        if now["version"] != other["version"]:
            found.append(f"{stage} version {now['version']} → {other['version']}")
    if not found and track.key != current.key:
        found.append("another first-frame box, or another cut of the video")
    return found


def masks_of(workspace: Workspace, track_key: str, preferred: str | None = None) -> str | None:
    """Key of a masks artifact of a tube: the preferred one, or else the newest that is there."""
    if preferred is not None and workspace.store.exists("masks", preferred):
        return preferred
    rows = [
        row
        for row in workspace.index.rows.values()
        if row.stage == "masks" and track_key in row.parents and workspace.store.exists("masks", row.key)
    ]
    return max(rows, key=lambda row: row.created).key if rows else None


def read_tube(workspace: Workspace, track_key: str, masks_key: str | None = None) -> dict[str, object]:
    """Everything that the pages draw of one tube. Raises NoArtifact."""
    record = find_record(workspace, "track", track_key)
    track = describe_track(workspace, record)
    artifact = read_artifact(workspace, "track", track_key)
    width, height = int(artifact.attrs["width"]), int(artifact.attrs["height"])
    masks_key = masks_of(workspace, track_key, masks_key)
    found: dict[str, object] = {
        "track_key": track_key,
        "masks_key": masks_key,
        "normalize_key": artifact.lineage.parents["normalize"],
        "title": track.title,
        "tracker": track.tracker,
        "variant": track.variant,
        "width": width,
        "height": height,
        **tube_json(artifact.arrays),
    }
    if masks_key is not None:
        found |= _grid_layer(workspace, masks_key, (width, height)).as_json()
    found["quality"] = quality_json(workspace, track_key, masks_key)
    return found


def _grid_layer(workspace: Workspace, key: str, frame_wh: tuple[int, int]) -> GridLayer:
    artifact = read_artifact(workspace, "masks", key)
    config = artifact.lineage.config["masks"]
    left, top = crop_origin(frame_wh, config["crop"])
    return GridLayer(
        coverage=artifact.arrays["coverage"],
        mask=artifact.arrays["mask"],
        omega=artifact.arrays["omega"],
        crop=CropWindow(left, top, config["crop"]),
        tau=config["tau"],
        starts=tuple(config["starts"]),
        segment_length=config["segment_length"],
        stride=config["stride"],
    )


SERIES = ("change", "likeness", "inside")


def quality_json(workspace: Workspace, track_key: str, masks_key: str | None) -> dict[str, object] | None:
    """What `tube_quality` says of a tube, with the series behind it; None where it was not measured."""
    row = workspace.tube_quality.rows.get((track_key, masks_key or ""))
    if row is None:
        return None
    told = row._asdict()
    for name in ("track_key", "masks_key", "dataset", "clip_id", "settings", "version"):
        del told[name]
    series = workspace.tube_quality.series(row.track_key, row.masks_key)
    found = None if series is None else {name: numbers(getattr(series, name), 4) for name in SERIES}
    return {**told, "series": found}
