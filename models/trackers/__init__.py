"""Trackers by name. To add one: a file with a class that fulfils `Tracker`, and a line in `TRACKERS`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.registry import Entry, Registry
from models.trackers.base import FrameLoopTracker, ManyTracker, Tracker, TrackStep, Tube
from models.weight_files import find_weights

__all__ = [
    "TRACKERS",
    "FrameLoopTracker",
    "ManyTracker",
    "TrackStep",
    "Tracker",
    "Tube",
    "build_tracker",
    "weight_suffixes",
    "weights_files",
]


@dataclass(frozen=True)
class TrackerEntry(Entry[Callable[..., Tracker]]):
    """Where a tracker is, and the ends of its weight files' names.

    The class is called with `files` (its weight files, in the order of `suffixes`), `device`, and, where it has
    `presets` and one is asked for, `preset`. `segments`: it returns masks beside quads. `version`: raised when it makes
    other tubes for the same weights, frames and boxes, so that its own tubes are made again and nobody else's; of a
    plug-in the distribution's version does that. `measured_iou`: of one without weights, docs/trackers.md's figure on
    real clips; weights have theirs in `models/weights`.
    """

    suffixes: tuple[str, ...] = ()
    hint: str = ""
    presets: tuple[str, ...] = ()
    segments: bool = False
    version: int = 1
    measured_iou: float | None = None


TRACKERS: Registry[TrackerEntry] = Registry("tracker", {
    "mil": TrackerEntry("models.trackers.mil:MilTracker", measured_iou=0.449),
    "nano": TrackerEntry(
        "models.trackers.nano:NanoTracker",
        ("_backbone.onnx", "_head.onnx"),
        "NanoTrack v1-v3 in ONNX form come from github.com/HonglinChu/SiamTrackers (NanoTrack/models).",
    ),
    "sam2": TrackerEntry(
        "models.trackers.sam2:Sam2Tracker",
        ("",),
        "sam2.1_t.pt and the larger ones are among the assets of github.com/ultralytics/assets/releases/tag/v8.3.0.",
        segments=True,
    ),
    "siammask": TrackerEntry(
        "models.trackers.siammask:SiamMaskTracker",
        ("",),
        "siammask-s and siammask-people ship with Tubeflow; larger checkpoints come from github.com/foolwood/SiamMask "
        "(SiamMask_DAVIS.pth, SiamMask_VOT.pth) and from pysot's model zoo (siammask_r50_l3).",
        ("base", "davis", "vot", "vot18", "pysot", "small", "upright"),
        segments=True,
        version=3,  # 2: siammask-s finds a lost target again from 0.3 on; 3: another quad of the person's form
    ),
    "vit": TrackerEntry(
        "models.trackers.vit:VitTracker",
        ("",),
        "The ONNX file is object_tracking_vittrack_2023sep.onnx of github.com/opencv/opencv_zoo.",
    ),
}, group="tubeflow.trackers", plain=TrackerEntry)


def weight_suffixes(name: str) -> tuple[str, ...]:
    """Ends of the names of the tracker's weight files; empty where it needs none. Raises ValueError."""
    return TRACKERS.find(name).suffixes


def weights_files(name: str, weights: Path | str | None) -> list[Path]:
    """The files that decide what tracker `name` does, and whose digests therefore belong in the key.

    Raises:
        WeightsNotFound: a file is missing (a ValueError).
    """
    entry = TRACKERS.find(name)
    if not entry.suffixes:
        return []
    return find_weights(f"tracker {name}", weights, entry.suffixes, entry.hint)


def build_tracker(
    name: str, *, weights: Path | str | None = None, device: str = "cpu", preset: str | None = None
) -> Tracker:
    """Make a tracker.

    Args:
        name: a key of `TRACKERS`.
        weights: a path, or what the paths of its files have in common.
        device: "cpu", or "cuda[:n]" for trackers that run in torch.
        preset: a published set of numbers, for trackers that have several; None takes the weights' own.

    Raises:
        ValueError: unknown name or preset, or weights missing.
    """
    entry = TRACKERS.find(name)
    if preset is not None and preset not in entry.presets:
        known = f"it has {', '.join(entry.presets)}" if entry.presets else "it has none; leave `preset` away"
        raise ValueError(f"tracker {name} has no preset '{preset}'; {known}")
    options = {"preset": preset} if preset is not None else {}
    files = weights_files(name, weights)
    return entry.load()(files=files, device=device, **options)
