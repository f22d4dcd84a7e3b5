"""How often the box that is chosen in a clip's first frame is the athlete's, for detectors and policies.

Clips are brought into the pipeline's form (`length` frames of one size); boxes are compared there. A box is right from
an overlap (IoU) of .5 with the truth on, and roughly right from .3 on: then it is on the right person.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from data_catalog.datasets.folder import FolderAdapter
from data_catalog.media.video import probe
from data_catalog.tracks.benchmarks import CONTAINERS, find_tracking_clips
from models.detectors import Detections, Detector
from models.detectors.followed import departed, sampled_frames
from models.detectors.select import FOLLOWED, POLICIES, choose_athletes
from models.metrics.tracking import box_overlap
from tasks.normalize import NormalizeConfig, normalize_clip

RIGHT, ROUGHLY = 0.5, 0.3
CHOICES = (*POLICIES, FOLLOWED)


class DetectEvaluation(BaseModel):
    """How clips are brought into form; what the pipeline's `normalize` does by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: int = Field(103, ge=1, description="Frames of a clip.")
    size_wh: tuple[int, int] = Field((455, 256), description="Frame size in pixels.")


@dataclass(frozen=True, eq=False)
class AthleteClip:
    """A video and where its athletes are in the first frame: `boxes` (k, 4) xyxy in pixels of the video."""

    name: str
    video: Path
    boxes: NDArray[np.float64]


@dataclass(frozen=True)
class ChosenBox:
    """What one detector and one policy came to on one clip; overlap 0 where nobody was found."""

    clip: str
    detector: str
    policy: str
    overlap: float


@dataclass(frozen=True)
class PeopleFound:
    """What one detector found in one clip: how many people, the best overlap of any of them, and how long it took."""

    clip: str
    detector: str
    people: int
    best: float
    seconds: float


def find_athlete_clips(root: Path, more: Mapping[str, tuple[float, float, float, float]]) -> list[AthleteClip]:
    """Clips of a folder with labels.csv (its first-frame boxes), or with tracks in one of the benchmarks' layouts.

    Args:
        root: the folder.
        more: x, y, w, h in pixels of the video for videos of the folder that have no truth there, by name.

    Raises:
        ValueError: no layout is recognised, or there is no such video.
    """
    if (root / "labels.csv").is_file():
        listed = FolderAdapter().read(root).records
        clips = [AthleteClip(one.clip_id, root / one.video, _corners(one.boxes)) for one in listed if one.boxes]
    else:
        clips = [
            AthleteClip(clip.name, clip.source, _corners([tuple(clip.boxes[0])]))
            for clip in find_tracking_clips(root)
            if np.isfinite(clip.boxes[0]).all()
        ]
    for name, box in more.items():
        found = [root / f"{name}{end}" for end in CONTAINERS if (root / f"{name}{end}").is_file()]
        if not found:
            raise ValueError(f"there is no video {name} in {root}")
        clips.append(AthleteClip(name, found[0], _corners([box])))
    return sorted(clips, key=lambda clip: clip.name)


def evaluate_detectors(
    clips: Sequence[AthleteClip],
    detectors: Mapping[str, Detector],
    config: DetectEvaluation,
    on_clip: Callable[[str], None] | None = None,
) -> tuple[list[ChosenBox], list[PeopleFound], float]:
    """Every detector with every policy on every clip.

    Args:
        clips: at least one.
        detectors: by the name they have in the results; their `min_score` decides how faint a box they give.
        config: see there.
        on_clip: called with a clip's name before it is worked on.

    Returns:
        Choices, what was found, and the mean seconds a clip that `followed` looked at later frames.

    Raises:
        BadClip: a clip cannot be read.
    """
    choices: list[ChosenBox] = []
    found: list[PeopleFound] = []
    looking = 0.0
    for clip in clips:
        if on_clip is not None:
            on_clip(clip.name)
        frames = _frames(clip, config)
        start = time.perf_counter()
        heat = departed(list(frames))
        looking += time.perf_counter() - start
        info = probe(clip.video)
        truth = clip.boxes * np.tile([config.size_wh[0] / info.width, config.size_wh[1] / info.height], 2)
        for name, detector in detectors.items():
            start = time.perf_counter()
            people = detector.detect([frames[0]])[0]
            seconds = time.perf_counter() - start
            overlaps = best_overlaps(people, truth)
            found.append(PeopleFound(clip.name, name, len(overlaps), float(overlaps.max(initial=0)), seconds))
            for policy in CHOICES:
                chosen = choose_athletes(people, policy, 1, config.size_wh, heat)
                choices.append(ChosenBox(clip.name, name, policy, float(overlaps[chosen].max(initial=0))))
    return choices, found, looking / len(clips)


def best_overlaps(people: Detections, truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU (k,) of each box found with the true box (of several athletes) that it fits best."""
    if not len(people.scores):
        return np.zeros(0)
    low, size = people.boxes[:, :2].astype(np.float64), (people.boxes[:, 2:] - people.boxes[:, :2]).astype(np.float64)
    mine = np.concatenate([low, size], axis=1)
    theirs = np.concatenate([truth[:, :2], truth[:, 2:] - truth[:, :2]], axis=1)
    return np.asarray(box_overlap(theirs[:, None], mine[None]).max(axis=0), np.float64)


def _frames(clip: AthleteClip, config: DetectEvaluation) -> NDArray[np.uint8]:
    width, height = config.size_wh
    whole = normalize_clip(clip.video, NormalizeConfig(length=config.length, width=width, height=height))
    return whole.frames[sampled_frames(config.length)]


def _corners(boxes: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """x, y, w, h → x, y, x, y."""
    rows = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)
