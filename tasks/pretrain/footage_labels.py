"""Labels for footage that nobody labelled: people followed there and back, and their outlines where teachers agree.

Every `stretch` frames a detector says who is there. NanoTrack follows each of them to the end of the stretch and from
there back again: where the two ways part, one of them has left the person, and the frame is not kept. Around what it
followed, MediaPipe's pose network draws the person's outline; the label is the outline's box, kept where the network is
sure that there is a person and the followed box agrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from data_catalog.footage.labelled import LabelledPerson
from models.detectors.base import Detections, Detector
from models.detectors.followed import distinct
from models.metrics.tracking import box_overlap
from models.teachers.pose_outline import Posture, SeenPerson
from models.trackers.base import Tracker

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

MIN_TUBELET: Final = 4   # labels: fewer of a person are nothing to learn following from


class Outliner(Protocol):
    """Draws who is in a box; see `PoseOutline`."""

    def see(self, frame: Image, box: Floats, before: Posture | None = None) -> SeenPerson | None:
        """The person in the box (4,) float64 xyxy of a frame (H, W, 3) uint8 RGB."""
        ...


@dataclass(frozen=True)
class LabelRules:
    """What becomes a label.

    Attributes:
        stretch: frames that one start is followed for.
        every: frames between two labels of a person.
        people: starts at a time, largest and surest first.
        least: of the frame's height, that a person must measure one way or the other.
        start_overlap: of the detector's box and the outline's, for a start.
        return_overlap: of the boxes on the way there and on the way back.
        overlap: of the outline's box and the followed one.
        presence: of the pose network.
    """

    stretch: int = 48
    every: int = 2
    people: int = 5
    least: float = 0.08
    start_overlap: float = 0.4
    return_overlap: float = 0.5
    overlap: float = 0.45
    presence: float = 0.7


@dataclass
class FootageLabels:
    """People of one clip, and how many frames were left out for which reason."""

    people: list[LabelledPerson] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def label_footage(
    frames: Sequence[Image],
    detectors: Sequence[Detector],
    follower: Tracker,
    outliner: Outliner,
    rules: LabelRules | None = None,
    progress: Callable[[int], None] | None = None,
) -> FootageLabels:
    """Label one clip.

    Args:
        frames: (H, W, 3) uint8 RGB, all of one shot.
        detectors: their people are taken together, each person once.
        follower: NanoTrack, or another.
        outliner: the pose network.
        rules: see there.
        progress: hears how many frames are done.
    """
    rules = rules or LabelRules()
    labels = FootageLabels()
    for first in range(0, max(1, len(frames) - rules.stretch // 4), rules.stretch):
        stretch = frames[first : first + rules.stretch]
        for box in _starts(stretch[0], detectors, rules):
            seen = outliner.see(stretch[0], box)
            if seen is None or seen.presence < rules.presence or _agreement(seen.box, box) < rules.start_overlap:
                labels.left_out["not the person that the detector saw"] += 1
                continue
            there, back = _there_and_back(stretch, seen.box, follower)
            person = _outlined(stretch, there, back, outliner, rules, labels.left_out)
            if len(person.frames) >= MIN_TUBELET:
                labels.people.append(person.later(first))
        if progress is not None:
            progress(min(first + rules.stretch, len(frames)))
    return labels


def _starts(frame: Image, detectors: Sequence[Detector], rules: LabelRules) -> list[Floats]:
    """Boxes (4,) float64 of those who are followed from this frame on."""
    found = [detector.detect([frame])[0] for detector in detectors]
    people = Detections(np.concatenate([one.boxes for one in found]), np.concatenate([one.scores for one in found]))
    height, width = frame.shape[:2]
    sides = people.boxes[:, 2:] - people.boxes[:, :2]
    rank = people.scores * np.sqrt(sides.prod(axis=1) / (width * height))
    order = distinct(people.boxes, np.argsort(-people.scores, kind="stable"))
    large = [index for index in order if sides[index].max() > rules.least * height]
    best = sorted(large, key=lambda index: -rank[index])[: rules.people]
    return [people.boxes[index].astype(np.float64) for index in best]


def _there_and_back(frames: Sequence[Image], box: Floats, follower: Tracker) -> tuple[Floats, Floats]:
    """Upright boxes (n, 4) float64 of the followed person, and of the same way backwards, both in the clip's order."""
    there = _follow(frames, box, follower)
    height, width = frames[0].shape[:2]
    end = np.clip(there[-1], 0, [width, height, width, height])
    if (end[2:] - end[:2]).min() < 4:   # they have left the picture: nothing to come back from
        return there, np.zeros_like(there)
    return there, _follow(frames[::-1], end, follower)[::-1]


def _follow(frames: Sequence[Image], box: Floats, follower: Tracker) -> Floats:
    follower.init(frames[0], box)
    quads = [np.asarray(follower.update(frame).quad).reshape(4, 2) for frame in frames[1:]]
    return np.stack([box, *(np.concatenate([quad.min(axis=0), quad.max(axis=0)]) for quad in quads)])


def _outlined(
    frames: Sequence[Image], there: Floats, back: Floats, outliner: Outliner, rules: LabelRules, left_out: Counter[str]
) -> LabelledPerson:
    """Labels of one person where follower and outliner agree."""
    kept: list[tuple[int, SeenPerson]] = []
    posture: Posture | None = None
    for index in range(0, len(frames), rules.every):
        if _agreement(there[index], back[index]) < rules.return_overlap:
            left_out["the way back was another"] += 1
            posture = None
            continue
        seen = outliner.see(frames[index], there[index], posture)
        posture = None if seen is None else seen.posture
        if seen is None or seen.presence < rules.presence:
            left_out["no pose was seen"] += 1
        elif _agreement(seen.box, there[index]) < rules.overlap:
            left_out["outline and followed box differ"] += 1
        else:
            kept.append((index, seen))
    return LabelledPerson.of(
        [index for index, _ in kept], [seen.box for _, seen in kept], [seen.mask for _, seen in kept]
    )


def _agreement(one: Floats, other: Floats) -> float:
    """IoU of two boxes (4,) xyxy."""
    first, second = (np.concatenate([box[:2], box[2:] - box[:2]]) for box in (one, other))
    return float(box_overlap(first, second))
