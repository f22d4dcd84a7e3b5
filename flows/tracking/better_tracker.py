"""Whether the workspace has weights of a tracker that was measured to be better than the one that a config chose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data_catalog.catalog import Workspace
from data_catalog.weights.registry import Weights, load_registry
from flows.config import PipelineConfig
from models.trackers import TRACKERS
from tasks.track import TrackConfig


def better_tracker(config: PipelineConfig, workspace: Workspace) -> str | None:
    """A sentence with the best tracker whose weights lie in the workspace's folder, None where the chosen one is it.

    Only trackers with a figure of docs/trackers.md are compared: of other weights nobody can say whether they are
    better. Where tubes are made from masks, those that return none don't count.
    """
    registry = load_registry()
    chosen = _measured(config.track, registry)
    there = [
        entry
        for entry in registry.values()
        if entry.measured is not None
        and all((workspace.weights / file.file).is_file() for file in entry.files)
        and (config.masks.source != "mask" or TRACKERS[entry.measured.tracker].segments)
    ]
    best = max(there, key=_iou, default=None)
    if chosen is None or best is None or best.measured is None or _iou(best) <= chosen:
        return None
    name = " with ".join(word for word in (config.track.tracker, config.track.weights) if word)
    return (
        f"{best.measured.tracker} with {best.name}, which is in {workspace.weights}, follows the real clips of "
        f"docs/trackers.md better than {name} (IoU {best.measured.iou:.3f} against {chosen:.3f}): "
        f"-o track.tracker={best.measured.tracker} -o track.weights={best.name}"
    )


def _iou(entry: Weights) -> float:
    return entry.measured.iou if entry.measured is not None else 0.0


def _measured(config: TrackConfig, registry: Mapping[str, Weights]) -> float | None:
    """The figure of the chosen tracker with the chosen weights, which may be a path to registered ones."""
    if config.weights is None:
        entry = TRACKERS.get(config.tracker)
        return None if entry is None else entry.measured_iou
    name = Path(config.weights).name
    for weights in registry.values():
        known = (weights.name, *(file.file for file in weights.files))
        if weights.measured is not None and weights.measured.tracker == config.tracker and name in known:
            return weights.measured.iou
    return None
