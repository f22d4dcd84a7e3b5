"""Makes a tracker for somebody's own sport: label their footage with teachers, train, and see whether it got better.

Nobody has to draw a box. What comes out is kept only where, on clips that were not trained on, it agrees with the
teachers more than the tracker that it shall replace.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data_catalog.synthetic.materials import MANIFEST, fetch_materials, load_manifest
from flows.config import ConfigError
from flows.pretrain.footage_clips import Composing, Footage, Teachers, compose_sequences, gather_footage, render_clips
from flows.pretrain.tracker_flow import CLASSIFIER, classifier_file, picture_names
from tasks.engine import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data_catalog.footage.labelled import LabelledClip
    from data_catalog.footage.lessons import Lessons
    from tasks.pretrain.train_person import PersonRecipe, PersonStep

POSE: Final = "mediapipe_pose"   # the material that draws outlines
HELD_OUT: Final = 5              # one clip in so many only measures
# Of the pairs, by the kind of clip that they come from; of kinds that are there, in proportion.
SHARES: Final = {"labelled": 0.5, "drawn": 0.32, "procedural": 0.18}
COMPOSED: Final = 0.35   # of all pairs, where there are composed ones


@dataclass(frozen=True)
class FootageOrder:
    """What to learn from.

    Attributes:
        footage: folder of clips, also in folders within; each one shot, more or less; see `gather_footage`.
        kept: folder for materials and labels; a run that was cut off goes on with what is there.
        out: the weights file to write.
        follower: NanoTrack's backbone and head, the teacher that follows.
        detector: NanoDet's weights, a second detector that finds people who stand about better; None without.
        before: weights of the tracker that the new one is compared with and, where it is of the same form, begins as.
        procedural: rendered clips that are learned from besides.
        composing: sequences that are learned from besides; None without.
        manifest: the list of materials.
    """

    footage: Path
    kept: Path
    out: Path
    follower: tuple[Path, ...]
    detector: Path | None
    before: Path
    procedural: int = 0
    composing: Composing | None = None
    manifest: Path = MANIFEST


@dataclass(frozen=True)
class Adapted:
    """What came out: the file, its size and digest; clips, people and labels; mean IoU with the labels of others."""

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
    names = [CLASSIFIER, POSE, *_pictures(order)]
    folders = fetch_materials(order.kept / "materials", names, manifest=manifest, progress=fetched)
    [pose] = sorted(folders[POSE].rglob("*.tflite"))
    labels = order.kept / "labels"
    footage = gather_footage(order.footage, labels, Teachers(order.follower, order.detector, pose))
    lessons, measured = _apart(footage, order.footage)
    lessons["procedural"] = render_clips(order.procedural, labels)
    learned = [clip for clips in lessons.values() for clip in clips]
    network = _begin(order.before, classifier_file(folders), recipe.seed)

    def told(now: PersonStep) -> None:
        progress.report("training", now.step, recipe.steps, f"IoU {now.errors['iou']:.2f}")

    trained = train_person(network, _mixed(order, lessons, folders), recipe, _state_file(order, recipe, learned), told)
    made = order.out.with_name(f".candidate.{order.out.name}")
    try:
        save_weights(trained, made)
        before, after = agreement(order.before, measured), agreement(made, measured)
        if after <= before:
            raise ConfigError(
                f"Nothing was gained: on {len(measured)} clips that were not trained on the tracker agrees with the "
                f"labels to {after:.3f} IoU, and {order.before.name} to {before:.3f}. {order.out} was not written; "
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
    note: dict[str, Any] = asdict(result) | {"recipe": asdict(recipe), "footage": sorted(clip.name for clip in learned),
                                             "composed": order.composing and asdict(order.composing)}  # fmt: skip
    order.out.with_suffix(".json").write_text(json.dumps(note, indent=1, default=str) + "\n", encoding="utf-8")
    return result


def _state_file(order: FootageOrder, recipe: PersonRecipe, learned: list[LabelledClip]) -> Path:
    """Where a training that was cut off goes on: of this recipe, from these weights, on this footage, and no other."""
    before, composing = hashlib.sha256(order.before.read_bytes()).hexdigest(), order.composing
    of = [asdict(recipe), before, sorted(clip.name for clip in learned), composing and asdict(composing)]
    return order.kept / f"training-{hashlib.sha256(json.dumps(of).encode()).hexdigest()[:12]}.state"


def _apart(footage: Footage, folder: Path) -> tuple[dict[str, list[LabelledClip]], list[LabelledClip]]:
    """Clips that are learned from, by kind, and those that measure; which is which depends on their content alone."""
    clips = footage.labelled + footage.drawn
    if len(clips) < 2:
        raise ConfigError(
            f"The teachers agree on somebody in {len(clips)} of {folder}'s clips, and two are needed, one of them to "
            "measure with; give more clips, with people of at least a tenth of the frame's height."
        )
    ordered = sorted(clips, key=lambda clip: hashlib.sha256(clip.name.encode()).hexdigest())
    measured = ordered[: max(1, len(ordered) // HELD_OUT)]
    kinds = {"labelled": footage.labelled, "drawn": footage.drawn}
    return {kind: [clip for clip in own if clip not in measured] for kind, own in kinds.items()}, measured


def _pictures(order: FootageOrder) -> list[str]:
    return picture_names(order.composing.only, order.composing.people) if order.composing else []


def _mixed(order: FootageOrder, kinds: dict[str, list[LabelledClip]], folders: dict[str, Path]) -> Lessons:
    """Pairs out of the clips, and out of composed sequences where they are asked for."""
    from data_catalog.footage.lessons import MixedLessons, Pairs
    from data_catalog.synthetic.composites.sequences import CropForm
    from models.trackers.siammask.person.person_network import SEARCH_PX, TEMPLATE_PX

    pairs = Pairs({kind: (SHARES[kind], clips) for kind, clips in kinds.items()}, CropForm(TEMPLATE_PX, SEARCH_PX))
    if order.composing is None:
        return pairs
    pictures = {name: folders[name] for name in _pictures(order)}
    composed = compose_sequences(order.composing, order.kept / "labels", pictures)
    return MixedLessons([(1 - COMPOSED, pairs), (COMPOSED, composed)])


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
