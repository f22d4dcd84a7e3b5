"""What a tracker learns from: clips that teachers labelled, whose outlines somebody drew, rendered; and sequences."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from data_catalog.datasets.paths import VIDEO_SUFFIXES
from flows.config import ConfigError
from flows.pretrain.tracker_flow import cast_of
from tasks.engine import progress

if TYPE_CHECKING:
    from data_catalog.footage.composed import Composed
    from data_catalog.footage.labelled import LabelledClip
    from data_catalog.tracks.benchmarks import TrackingClip

logger = logging.getLogger(__name__)

MAX_FRAMES: Final = 1500         # of one clip that are read: footage of minutes repeats itself
_FAINT, _PLAIN = 0.2, 0.35       # least scores of athlete-n and NanoDet: what isn't a person the pose network refuses
_FORM: Final = 1                 # raised when other labels are made of the same footage


@dataclass(frozen=True)
class Teachers:
    """Files of those who label: NanoTrack's backbone and head, NanoDet (or none), MediaPipe's pose network."""

    follower: tuple[Path, ...]
    detector: Path | None
    pose: Path


@dataclass(frozen=True)
class Footage:
    """Clips with somebody in them: those that teachers labelled, and those whose outlines somebody drew."""

    labelled: list[LabelledClip]
    drawn: list[LabelledClip]


def gather_footage(footage: Path, labels: Path, teachers: Teachers) -> Footage:
    """Label a folder of clips; what was labelled before is not labelled again, and a damaged clip is left out.

    Args:
        footage: clips, also in folders within. Where NAME_gt.csv and NAME_mask.npz lie beside NAME.mp4, as `tubeflow
            tracks evaluate` reads them, the drawn outlines are the labels.
        labels: folder that keeps them.
        teachers: see there.

    Raises:
        ConfigError: no videos, or LiteRT isn't installed.
        TrackFileError: a table of drawn boxes is damaged, or has no clip.
        OSError: the disk is full or the folder can't be written.
    """
    files = sorted(path for path in footage.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not files:
        raise ConfigError(f"{footage} holds no videos; name a folder of clips.")
    folders = {file: labels / _label_name(file) for file in files}
    todo = [file for file in files if not (folders[file] / "people.npz").is_file()]
    drawn = {clip.source: clip for folder in {file.parent for file in files} for clip in _drawn(folder)}
    for file in todo:
        if file in drawn:
            with _left_out(file):
                _keep_drawn(drawn[file], folders[file])
    unlabelled = [file for file in todo if file not in drawn]
    if unlabelled:
        _label(unlabelled, folders, teachers)
    return Footage(
        _opened(folder for file, folder in folders.items() if file not in drawn),
        _opened(folder for file, folder in folders.items() if file in drawn),
    )


def render_clips(count: int, labels: Path) -> list[LabelledClip]:
    """`count` procedural clips, rendered once and kept in `labels`."""
    from data_catalog.footage.procedural import keep_procedural

    folders = [labels / f"procedural-{number}-{_FORM}" for number in range(count)]
    for number, folder in enumerate(folders):
        if not (folder / "people.npz").is_file():
            keep_procedural(folder, number)
            progress.report("procedural clips", number + 1, count)
    return _opened(folders)


@dataclass(frozen=True)
class Composing:
    """What sequences are composed from; see `TrackerOrder`.

    Attributes:
        sequences: how many; of each there are three search crops, 0.26 MB. Made in parts of 60, and rounded up to them.
        people: how many persons are rendered to act in them.
        seed: of everything random.
        only: names of the materials to take pictures from; the usual ones when empty.
    """

    sequences: int
    people: int = 300
    seed: int = 1
    only: tuple[str, ...] = ()


def compose_sequences(asked: Composing, labels: Path, folders: dict[str, Path]) -> Composed:
    """Compose what isn't kept in `labels` yet, from the materials in `folders`.

    Raises:
        ConfigError: there are no photographs or no actors among them.
        OSError: the disk is full or the folder can't be written.
    """
    from data_catalog.footage.composed import PART, SEARCHES, keep_composed
    from data_catalog.synthetic.composites.mixture import Mixture
    from data_catalog.synthetic.composites.sequences import CropForm
    from models.trackers.siammask.person.person_network import SEARCH_PX, TEMPLATE_PX

    form, parts = CropForm(TEMPLATE_PX, SEARCH_PX), math.ceil(asked.sequences / PART)
    of = [asked.people, asked.seed, {name: folder.name for name, folder in folders.items()}]
    known = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:12]

    def open_mixture() -> Mixture:
        return Mixture(cast_of(folders, asked.people, asked.seed), asked.seed, SEARCHES, form)

    def made(count: int) -> None:
        progress.report("sequences", count, parts * PART)

    return keep_composed(labels / f"composed-{known}-{_FORM}", open_mixture, parts, form, made)


def _opened(folders: Iterator[Path] | list[Path]) -> list[LabelledClip]:
    from data_catalog.footage.labelled import open_labelled

    clips = [open_labelled(folder) for folder in folders if (folder / "people.npz").is_file()]
    return [clip for clip in clips if clip.people]


def _drawn(folder: Path) -> list[TrackingClip]:
    """Clips of a folder whose outlines are known."""
    from data_catalog.tracks.benchmarks import find_tracking_clips

    if not any(folder.glob("*_mask.npz")):
        return []
    return [clip for clip in find_tracking_clips(folder) if clip.read_masks is not None]


def _keep_drawn(clip: TrackingClip, folder: Path) -> None:
    from data_catalog.footage.drawn import drawn_person
    from data_catalog.footage.labelled import keep_labelled
    from data_catalog.media.video import read_frames

    assert clip.read_masks is not None
    masks = clip.read_masks()
    keep_labelled(folder, list(read_frames(clip.source, np.arange(len(masks)))), drawn_person(masks))


@contextlib.contextmanager
def _left_out(file: Path) -> Iterator[None]:
    """Where the clip or its outlines are damaged, says so, and the others go on."""
    from data_catalog.errors import BadVideo
    from data_catalog.tracks.text import TrackFileError

    try:
        yield
    except (BadVideo, TrackFileError) as exc:
        logger.warning("%s is left out: %s", file, exc)


def _label(files: list[Path], folders: dict[Path, Path], teachers: Teachers) -> None:
    from data_catalog.footage.labelled import keep_labelled
    from data_catalog.media.video import probe, read_frames
    from models.detectors import build_detector
    from models.teachers.pose_outline import PoseOutline
    from models.trackers.nano import NanoTracker
    from tasks.pretrain.footage_labels import label_footage

    try:
        outliner = PoseOutline(teachers.pose)
    except ModuleNotFoundError as exc:
        raise ConfigError("Labelling footage needs LiteRT; install tubeflow[teachers].") from exc
    follower = NanoTracker(teachers.follower)
    detectors = [build_detector("athlete-n", min_score=_FAINT)]
    if teachers.detector is not None:
        detectors.append(build_detector("nanodet", weights=teachers.detector, min_score=_PLAIN))
    for number, file in enumerate(files, start=1):
        with _left_out(file):
            frames = read_frames(file, np.arange(min(probe(file).num_frames, MAX_FRAMES)))
            found = label_footage(list(frames), detectors, follower, outliner)
            keep_labelled(folders[file], list(frames), found.people)
            progress.report("labels", number, len(files), f"{len(found.people)} people in {file.name}")


def _label_name(file: Path) -> str:
    """Of a clip's folder of labels: what the file holds, and how it is labelled, not where it lies."""
    with file.open("rb") as stream:
        return f"{file.stem}-{hashlib.file_digest(stream, 'sha256').hexdigest()[:12]}-{_FORM}"
