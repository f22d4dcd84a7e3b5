"""Trackers by name. To add one: a file with a class that fulfils `Tracker`, and a line in `TRACKERS`."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from models.trackers.base import FrameLoopTracker, Tracker, TrackStep, Tube
from models.weight_files import find_weights

__all__ = ["TRACKERS", "FrameLoopTracker", "TrackStep", "Tracker", "Tube", "build_tracker", "weights_files"]


@dataclass(frozen=True)
class TrackerEntry:
    """Where a tracker is: `target` "module:Class", and the ends of its weight files' names.

    The class is called with `files` (its weight files, in the order of `suffixes`) and `device`.
    """

    target: str
    suffixes: tuple[str, ...] = ()
    hint: str = ""


TRACKERS: dict[str, TrackerEntry] = {
    "mil": TrackerEntry("models.trackers.mil:MilTracker"),
    "nano": TrackerEntry(
        "models.trackers.nano:NanoTracker",
        ("_backbone.onnx", "_head.onnx"),
        "NanoTrack v1-v3 in ONNX form come from github.com/HonglinChu/SiamTrackers (NanoTrack/models).",
    ),
    "vit": TrackerEntry(
        "models.trackers.vit:VitTracker",
        ("",),
        "The ONNX file is object_tracking_vittrack_2023sep.onnx of github.com/opencv/opencv_zoo.",
    ),
}


def _entry(name: str) -> TrackerEntry:
    if name not in TRACKERS:
        raise ValueError(f"no tracker is called '{name}'; there are {', '.join(sorted(TRACKERS))}")
    return TRACKERS[name]


def weights_files(name: str, weights: Path | str | None, search: Sequence[Path] = ()) -> list[Path]:
    """The files that decide what tracker `name` does, and whose digests therefore belong in the key.

    Raises:
        WeightsNotFound: a file is missing (a ValueError).
    """
    entry = _entry(name)
    if not entry.suffixes:
        return []
    return find_weights(f"tracker {name}", weights, entry.suffixes, search, entry.hint)


def build_tracker(
    name: str, *, weights: Path | str | None = None, device: str = "cpu", search: Sequence[Path] = ()
) -> Tracker:
    """Make a tracker.

    Args:
        name: a key of `TRACKERS`.
        weights: path, path prefix, or a name to look for in the folders `search`.
        device: "cpu", or "cuda[:n]" for trackers that run in torch.

    Raises:
        ValueError: unknown name, or weights missing.
    """
    module, _, cls = _entry(name).target.partition(":")
    files = weights_files(name, weights, search)
    tracker: Tracker = getattr(import_module(module), cls)(files=files, device=device)
    return tracker
