"""Makes a tracker for somebody's own sport: label their footage with teachers, train, and see whether it got better.

Nobody has to draw a box. What comes out is kept only where, on clips that were not trained on, it agrees with the
teachers more than the tracker that it shall replace.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data_catalog.datasets.paths import VIDEO_SUFFIXES
from data_catalog.synthetic.materials import MANIFEST, fetch_materials, load_manifest
from flows.config import ConfigError
from flows.pretrain.tracker_flow import CLASSIFIER, classifier_file
from tasks.engine import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data_catalog.footage.labelled import LabelledClip
    from tasks.pretrain.train_person import PersonRecipe, PersonStep

logger = logging.getLogger(__name__)

POSE: Final = "mediapipe_pose"   # the material that draws outlines
HELD_OUT: Final = 5              # one clip in so many only measures
MAX_FRAMES: Final = 1500         # of one clip that are read: footage of minutes repeats itself
_FAINT, _PLAIN = 0.2, 0.35       # least scores of athlete-n and NanoDet: what isn't a person the pose network refuses
_FORM: Final = 1                 # raised when other labels are made of the same footage


@dataclass(frozen=True)
class FootageOrder:
    """What to learn from.

    Attributes:
        footage: folder of clips, also in folders within; each one shot, more or less.
        kept: folder for materials and labels; a run that was cut off goes on with what is there.
        out: the weights file to write.
        follower: NanoTrack's backbone and head, the teacher that follows.
        detector: NanoDet's weights, a second detector that finds people who stand about better; None without.
        before: weights of the tracker that the new one is compared with and, where it is of the same form, begins as.
        manifest: the list of materials.
    """

    footage: Path
    kept: Path
    out: Path
    follower: tuple[Path, ...]
    detector: Path | None
    before: Path
    manifest: Path = MANIFEST


@dataclass(frozen=True)
class Adapted:
    """What came out: the file, its size and digest; clips, people and labels; mean IoU with the teachers' boxes."""

    file: Path
    size: int
    sha256: str
    clips: int
    held_out: int
    people: int
    labels: int
    agreement_before: float
    agreement: float
    seconds: float


def adapt_tracker(order: FootageOrder, recipe: PersonRecipe) -> Adapted:
    """Make the weights, and beside them a note of what they were made with; reports its progress.

    Raises:
        MaterialsError: a package cannot be had.
        ConfigError: the footage has too few people, an extra is missing, or nothing was gained.
        OSError: the disk is full or a folder can't be written.
    """
    from tasks.pretrain.train_person import train_person
    from tasks.pretrain.train_tracker import save_weights

    start = time.perf_counter()
    manifest, fetched = load_manifest(order.manifest), partial(progress.report, in_bytes=True)
    folders = fetch_materials(order.kept / "materials", [CLASSIFIER, POSE], manifest=manifest, progress=fetched)
    clips = _label_all(order, folders[POSE])
    learned, measured = _apart(clips, order.footage)
    network = _begin(order.before, classifier_file(folders), recipe.seed)

    def told(now: PersonStep) -> None:
        progress.report("training", now.step, recipe.steps, f"IoU {now.errors['iou']:.2f}")

    trained = train_person(network, _pairs(learned), recipe, _state_file(order, recipe, learned), told)
    made = order.out.with_name(f".candidate.{order.out.name}")
    try:
        save_weights(trained, made)
        before, after = agreement(order.before, measured), agreement(made, measured)
        if after <= before:
            raise ConfigError(
                f"Nothing was gained: on {len(measured)} clips that were not trained on the tracker agrees with the "
                f"teachers to {after:.3f} IoU, and {order.before.name} to {before:.3f}. {order.out} was not written; "
                "give more footage, or more --steps."
            )
        made.replace(order.out)
    finally:
        made.unlink(missing_ok=True)
    result = Adapted(
        order.out, order.out.stat().st_size, hashlib.sha256(order.out.read_bytes()).hexdigest(),
        len(learned), len(measured), sum(len(clip.people) for clip in learned),
        sum(len(person.frames) for clip in learned for person in clip.people),
        before, after, time.perf_counter() - start,
    )  # fmt: skip
    note: dict[str, Any] = asdict(result) | {"recipe": asdict(recipe), "footage": sorted(clip.name for clip in clips)}
    order.out.with_suffix(".json").write_text(json.dumps(note, indent=1, default=str) + "\n", encoding="utf-8")
    return result


def _state_file(order: FootageOrder, recipe: PersonRecipe, learned: list[LabelledClip]) -> Path:
    """Where a training that was cut off goes on: of this recipe, from these weights, on this footage, and no other."""
    of = [asdict(recipe), hashlib.sha256(order.before.read_bytes()).hexdigest(), sorted(clip.name for clip in learned)]
    return order.kept / f"training-{hashlib.sha256(json.dumps(of).encode()).hexdigest()[:12]}.state"


def _label_all(order: FootageOrder, pose: Path) -> list[LabelledClip]:
    """All clips with somebody in them; what was labelled before is not labelled again."""
    from data_catalog.footage.labelled import open_labelled

    files = sorted(path for path in order.footage.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not files:
        raise ConfigError(f"{order.footage} holds no videos; name a folder of clips.")
    folders = [order.kept / "labels" / _label_name(file) for file in files]
    todo = [pair for pair in zip(files, folders, strict=True) if not (pair[1] / "people.npz").is_file()]
    if todo:
        _label(todo, order, pose)
    clips = [open_labelled(folder) for folder in folders if (folder / "people.npz").is_file()]
    return [clip for clip in clips if clip.people]


def _label(todo: list[tuple[Path, Path]], order: FootageOrder, pose: Path) -> None:
    from data_catalog.errors import BadVideo
    from data_catalog.footage.labelled import keep_labelled
    from data_catalog.media.video import probe, read_frames
    from models.detectors import build_detector
    from models.teachers.pose_outline import PoseOutline
    from models.trackers.nano import NanoTracker
    from tasks.pretrain.footage_labels import label_footage

    [network] = sorted(pose.rglob("*.tflite"))
    try:
        outliner = PoseOutline(network)
    except ModuleNotFoundError as exc:
        raise ConfigError("Labelling footage needs LiteRT; install tubeflow[teachers].") from exc
    follower = NanoTracker(order.follower)
    detectors = [build_detector("athlete-n", min_score=_FAINT)]
    if order.detector is not None:
        detectors.append(build_detector("nanodet", weights=order.detector, min_score=_PLAIN))
    for number, (file, folder) in enumerate(todo, start=1):
        try:
            frames = read_frames(file, np.arange(min(probe(file).num_frames, MAX_FRAMES)))
        except BadVideo as exc:
            logger.warning("%s is left out: %s", file, exc)
            continue
        labels = label_footage(list(frames), detectors, follower, outliner)
        keep_labelled(folder, list(frames), labels.people)
        progress.report("labels", number, len(todo), f"{len(labels.people)} people in {file.name}")


def _label_name(file: Path) -> str:
    """Of a clip's folder of labels: what the file holds, and how it is labelled, not where it lies."""
    with file.open("rb") as stream:
        return f"{file.stem}-{hashlib.file_digest(stream, 'sha256').hexdigest()[:12]}-{_FORM}"


def _apart(clips: list[LabelledClip], footage: Path) -> tuple[list[LabelledClip], list[LabelledClip]]:
    """Clips that are learned from, and those that measure; which is which depends on their content alone."""
    if len(clips) < 2:
        raise ConfigError(
            f"The teachers agree on somebody in {len(clips)} of {footage}'s clips, and two are needed, one of them to "
            "measure with; give more clips, with people of at least a tenth of the frame's height."
        )
    ordered = sorted(clips, key=lambda clip: hashlib.sha256(clip.name.encode()).hexdigest())
    count = max(1, len(ordered) // HELD_OUT)
    return ordered[count:], ordered[:count]


def _pairs(clips: list[LabelledClip]) -> Any:
    from data_catalog.footage.lessons import Pairs
    from data_catalog.synthetic.composites.sequences import CropForm
    from models.trackers.siammask.person.person_network import SEARCH_PX, TEMPLATE_PX

    return Pairs({"footage": (1.0, clips)}, CropForm(TEMPLATE_PX, SEARCH_PX))


def _begin(before: Path, classifier: Path, seed: int) -> Any:
    """The person's network as it was, or with ImageNet's backbone where `before` is of another form."""
    import torch

    from models.backbones.checkpoint import read_tensors
    from models.trackers.siammask.checkpoint import load_siammask
    from models.trackers.siammask.person.person_backbone import person_backbone_tensors
    from models.trackers.siammask.person.person_network import PersonSiamMask

    loaded = load_siammask(before).network
    if isinstance(loaded, PersonSiamMask):
        return loaded.requires_grad_(True)
    torch.manual_seed(seed)
    network = PersonSiamMask()
    network.backbone.load_state_dict(person_backbone_tensors(read_tensors(classifier)))
    return network


def agreement(weights: Path, clips: list[LabelledClip]) -> float:
    """Mean IoU of a tracker's upright boxes and the teachers', over people, then over clips.

    Args:
        weights: a file of `siammask`.
        clips: labelled ones; the tracker sees their labelled frames one after the other, and the first box.
    """
    from models.trackers import build_tracker

    tracker = build_tracker("siammask", weights=weights)
    return float(np.mean([np.mean([_person_agreement(tracker, clip, person) for person in clip.people])
                          for clip in clips]))  # fmt: skip


def _person_agreement(tracker: Any, clip: LabelledClip, person: Any) -> float:
    from models.metrics.tracking import box_overlap

    frames = np.asarray(clip.frames[person.frames])
    [tube] = tracker.track(frames, person.boxes[:1].astype(np.float32))
    corners = tube.quads.reshape(len(frames), 4, 2).astype(np.float64)
    found = np.concatenate([corners.min(axis=1), np.ptp(corners, axis=1)], axis=1)
    true: NDArray[np.float64] = np.concatenate([person.boxes[:, :2], person.boxes[:, 2:] - person.boxes[:, :2]], axis=1)
    return float(box_overlap(true[1:], found[1:]).mean())
