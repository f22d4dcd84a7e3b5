"""Stage `detect`: the first frame of a clip → who is to be followed.

Reads frame 0 of the normalised clip; writes `boxes` (k, 4) float32 xyxy in pixels of the normalised frame, `scores`
(k,) float32, `chosen` (athletes,) int64, and who chose: "model", "annotation" or (from a person's correction)
"person". Later frames are looked at with `select: followed` only, and only every third of them is decoded then.
"""

import contextlib
import functools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from data_catalog.datasets.records import ClipRecord
from data_catalog.media.frame_codec import decode_frames
from data_catalog.weights.registry import WeightsError
from data_catalog.weights.resolve import resolve_weights
from models.detectors import DETECTORS, Detections, Detector, build_detector, detector_weights
from models.detectors.followed import departed, sampled_frames
from models.detectors.select import FOLLOWED, choose_athletes
from models.weight_files import WeightsNotFound
from tasks.engine.config import StageConfig
from tasks.engine.errors import BadClip
from tasks.engine.job import Context, Job, Outcome, Product
from tasks.engine.stage import Stage, read_parent

STAGE_VERSION = 1
"""1: first."""

ANNOTATION = "annotation"
PERSON = "person"  # who corrected the boxes; wins over any detector
OR = ","  # between detectors of which the first is taken whose weights are there
NOBODY = "none"   # for tubes that were published: they say themselves who is followed
MIN_SIDE_PX = 4.0   # what the trackers need


class DetectConfig(StageConfig):
    """How the athletes are found and chosen. Every field changes everything from detect on."""

    detector: str = Field(
        "annotation",
        description="annotation, athlete-n, faster_rcnn, yolo, nanodet, hog, or none; or several with their weights, "
        'as "faster_rcnn:fasterrcnn_coco, athlete-n", of which the first one is taken whose weights are there.',
    )
    weights: str | None = Field(
        None,
        description="The detector's weights: a path, or a name of `tubeflow weights list`; None for athlete-n, which "
        "has its own, and for detectors that need none.",
    )
    min_score: float = Field(0.25, ge=0, le=1, description="People found with less confidence are ignored.")
    select: Literal["score", "largest", "central", "followed", "annotation"] = Field(
        "score",
        description="Which of several people is the athlete: the surest, largest or most central one, the one that "
        "moves against the scene, or whom the labels' boxes say (whatever the detector, none is asked then).",
    )
    athletes: int = Field(1, ge=1, le=16, description="How many to follow at most; ignored with annotation.")

    def key_view(self) -> dict[str, Any]:
        """Without the weights' path: where a file lies on this machine is not part of the key, its digest is.

        Both ways to ask for the labels' boxes lead to the same artifact. With the package that brings the detector,
        where one does.
        """
        view = self.model_dump(mode="json", exclude={"weights"})
        if self.labels_decide and self.select == ANNOTATION:
            return view | {"detector": ANNOTATION, "select": "score"}
        if self.needs_model and (origin := DETECTORS.origin(self.detector)) is not None:
            view["detector_plugin"] = origin
        return view

    @model_validator(mode="after")
    def _names_weights_once(self) -> "DetectConfig":
        if OR in self.detector and self.weights is not None:
            raise ValueError(f"weights {self.weights} are of which detector? Choose one of {self.detector}")
        return self

    @property
    def labels_decide(self) -> bool:
        """Whether the labels' boxes are taken as they are."""
        return self.detector != NOBODY and ANNOTATION in (self.detector, self.select)

    @property
    def needs_model(self) -> bool:
        """Whether a detector is to be built; the labels' boxes need none."""
        return self.detector != NOBODY and not self.labels_decide


@dataclass(frozen=True, eq=False)
class FirstFrame:
    """What detect knows of a clip.

    Attributes:
        clip_id: for messages.
        frame: (H, W, 3) uint8 RGB, frame 0 of the normalised clip.
        source_size_wh: upright size in pixels of the source video.
        annotated_boxes: (k, 4) xyxy in pixels of the source, or None where the labels have none.
        by_person: a person drew these boxes to correct what was there, so no detector is asked.
        heat: (H, W) float32, of `models.detectors.followed.departed`; only `select: followed` needs it.
    """

    clip_id: str
    frame: NDArray[np.uint8]
    source_size_wh: tuple[int, int]
    annotated_boxes: NDArray[np.float64] | None = None
    by_person: bool = False
    heat: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class DetectResult:
    """People found (`boxes`, `scores`), which of them are athletes (`chosen`, best first), and who chose."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    chosen: NDArray[np.int64]
    chosen_by: str

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the artifact holds: boxes (P, 4) float32 xyxy, scores (P,) float32, chosen (athletes,) int64."""
        return {"boxes": self.boxes, "scores": self.scores, "chosen": self.chosen}

    def attributes(self) -> dict[str, str]:
        """What the artifact remembers beside its arrays."""
        return {"chosen_by": self.chosen_by}

    @property
    def chosen_boxes(self) -> NDArray[np.float32]:
        """(athletes, 4) float32 xyxy: what track starts from."""
        return self.boxes[self.chosen]


def detect_athletes(
    clips: Sequence[FirstFrame], config: DetectConfig, detector: Detector | None = None
) -> list[DetectResult | BadClip]:
    """Find and choose the athletes of a batch of clips; a clip without any has its `BadClip` in its place.

    Args:
        clips: first frames, given to the detector together.
        config: see `DetectConfig`.
        detector: what `models.detectors.build_detector` made; None with `detector: annotation`.

    Raises:
        ValueError: a model is configured but not given.
    """
    if config.detector == NOBODY:
        return [_nobody_asked_for() for _ in clips]
    asked = [clip for clip in clips if config.needs_model and not clip.by_person]
    if asked and detector is None:
        known = ", ".join(sorted(DETECTORS.names()))
        raise ValueError(f"detector '{config.detector}' must be built; it is one of {known}")
    found = iter(detector.detect([clip.frame for clip in asked]) if detector and asked else [])
    return [_choose(clip, next(found), config) if clip in asked else _from_annotation(clip) for clip in clips]


def _choose(clip: FirstFrame, found: Detections, config: DetectConfig) -> DetectResult | BadClip:
    """Of the people that the detector found, the athletes."""
    height, width = clip.frame.shape[:2]
    usable = np.flatnonzero((found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1, initial=np.inf) >= MIN_SIDE_PX)
    people = Detections(found.boxes[usable], found.scores[usable])
    chosen = usable[choose_athletes(people, config.select, config.athletes, (width, height), clip.heat)]
    if len(chosen) == 0:
        return _nobody(clip.clip_id, config)
    return DetectResult(found.boxes, found.scores, chosen, "model")


def _nobody_asked_for() -> DetectResult:
    return DetectResult(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), chosen_by="nobody"
    )


def _nobody(clip_id: str, config: DetectConfig) -> BadClip:
    return BadClip(
        f"No person was found in the first frame of clip '{clip_id}' "
        f"(detector {config.detector}, min_score {config.min_score:g}).",
        "Lower `detect.min_score`, or give the athlete's first-frame box in the labels (x, y, w, h) "
        "and set `detect.detector: annotation`.",
    )


def _from_annotation(clip: FirstFrame) -> DetectResult | BadClip:
    """The labels' boxes, all of them athletes, scaled to the normalised frame and cut to it."""
    remedy = (
        "Give the athlete's first-frame box in the labels (x, y, w, h in pixels of the video), "
        "or choose another `detect.detector`."
    )
    if clip.annotated_boxes is None or len(clip.annotated_boxes) == 0:
        return BadClip(f"Clip '{clip.clip_id}' has no first-frame box in the labels.", remedy)
    height, width = clip.frame.shape[:2]
    scale = np.tile([width / clip.source_size_wh[0], height / clip.source_size_wh[1]], 2)
    boxes = np.asarray(clip.annotated_boxes, np.float64).reshape(-1, 4) * scale
    cut = np.clip(boxes, 0, [width, height, width, height])
    usable = np.isfinite(boxes).all(axis=1) & ((cut[:, 2:] - cut[:, :2]).min(axis=1) >= MIN_SIDE_PX)
    if not usable.all():
        given = ", ".join(f"{value:g}" for value in np.asarray(clip.annotated_boxes)[~usable][0])
        return BadClip(
            f"The first-frame box of clip '{clip.clip_id}' (corners {given}) has no usable part inside its "
            f"{clip.source_size_wh[0]}x{clip.source_size_wh[1]} video.",
            remedy,
        )
    return DetectResult(
        cut.astype(np.float32),
        np.ones(len(cut), np.float32),
        np.arange(len(cut), dtype=np.int64),
        PERSON if clip.by_person else ANNOTATION,
    )


@functools.lru_cache(maxsize=2)
def _detector(config: DetectConfig, device: str, folder: Path) -> Detector:
    """One detector a process; `_one_at_a_time` keeps threads from using it together."""
    file = _weights_file(config, folder)
    return build_detector(config.detector, weights=file, device=device, min_score=config.min_score)


_one_at_a_time = threading.Lock()


def _detect_jobs(jobs: Sequence[Job], config: DetectConfig, context: Context) -> Iterator[Outcome]:
    """First frames of all jobs go through the detector together."""
    ready: list[tuple[Job, FirstFrame]] = []
    for job in jobs:
        try:
            ready.append((job, _first_frame(job, config, context)))
        except Exception as exc:
            yield job, exc
    with _one_at_a_time if config.needs_model else contextlib.nullcontext():
        detector = None
        if config.needs_model:
            detector = _detector(config, context.resolved_device, context.workspace.weights)
        results = detect_athletes([first for _, first in ready], config, detector) if ready else []
    for (job, _), result in zip(ready, results, strict=True):
        yield job, result if isinstance(result, BadClip) else Product(result.arrays(), result.attributes())


def _first_frame(job: Job, config: DetectConfig, context: Context) -> FirstFrame:
    clip = read_parent(job, "normalize", context)
    labelled = np.array([(x, y, x + w, y + h) for x, y, w, h in job.clip.boxes]) if job.clip else np.empty((0, 4))
    by_person = job.clip is not None and job.clip.boxes_by_person
    heat = None
    if config.needs_model and config.select == FOLLOWED and not by_person:
        frames = decode_frames(clip.arrays, sampled_frames(len(clip.arrays["frame_offsets"]) - 1).tolist())
        first, heat = frames[0], departed(list(frames))
    else:
        first = decode_frames(clip.arrays, [0])[0]
    return FirstFrame(
        clip_id=job.clip_id,
        frame=first,
        source_size_wh=(int(clip.attrs["source_width"]), int(clip.attrs["source_height"])),
        annotated_boxes=labelled if len(labelled) else None,
        by_person=by_person,
        heat=heat,
    )


def _labelled_boxes(clip: ClipRecord, config: DetectConfig) -> dict[str, Any]:
    matter = config.labels_decide or (clip.boxes_by_person and config.detector != NOBODY)
    return {"boxes": [list(box) for box in clip.boxes]} if matter else {}


def _weights(config: DetectConfig, folder: Path) -> dict[str, Path]:
    if not config.needs_model:
        return {}
    file = _weights_file(config, folder)
    return {file.name: file} if file is not None else {}


def settle(config: DetectConfig, folder: Path) -> DetectConfig:
    """The config with the first of its detectors whose weights are there; the last one needs no proof.

    Args:
        config: `detector` may be several, each as "name" or "name:weights".
        folder: of the workspace's weights.
    """
    *first, last = [one.strip().partition(":") for one in config.detector.split(OR)]
    if not first:
        return config
    for name, _, weights in first:
        one = config.model_copy(update={"detector": name, "weights": weights or None})
        with contextlib.suppress(WeightsError, WeightsNotFound):
            _weights_file(one, folder)
            return one
    return config.model_copy(update={"detector": last[0], "weights": last[2] or None})


def _weights_file(config: DetectConfig, folder: Path) -> Path | None:
    named = resolve_weights(config.weights, folder) if config.weights else None
    return detector_weights(config.detector, named)


STAGE = Stage(
    "detect",
    STAGE_VERSION,
    ("normalize",),
    _detect_jobs,
    inputs=_labelled_boxes,
    uses_device=True,
    weights=_weights,
    settle=settle,
)
