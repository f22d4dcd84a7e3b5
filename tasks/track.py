"""Stage `track`: frames and first boxes → a tube of each chosen athlete, from the first frame to the last.

Reads the normalised frames and the chosen boxes; writes `quads` (A, L, 4, 2) float32 in pixels of the normalised
frame, clockwise, `scores` (A, L) float32, and (A, L) bool `lost`, `border` (the quad touches the frame's border) and
`sudden` (it leapt against the frame before). Trackers that segment add `rle` and `rle_offsets`, the masks as run
lengths (`models.geometry.rle.unpack_runs`, mask of athlete a in frame t at index a · L + t). It repairs nothing: where
a target was lost the quad is the last one that was found.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_catalog.media.frame_codec import decode_frames
from data_catalog.weights.resolve import resolve_weights
from models.geometry.rle import pack_runs
from models.trackers import TRACKERS, ManyTracker, Tracker, Tube, build_tracker, weight_suffixes, weights_files
from models.trackers.flags import at_border, sudden_change
from tasks.assessment.published_tubes import PUBLISHED, published_tracks
from tasks.engine.config import StageConfig
from tasks.engine.errors import BadClip
from tasks.engine.job import Context, Job, Outcome, Product
from tasks.engine.stage import Stage, each, read_parent
from tasks.normalize import NormalizeConfig

STAGE_VERSION = 2
"""1: first. 2: flags `border` and `sudden`, masks."""


class TrackConfig(StageConfig):
    """Which tracker. Every field changes everything from track on."""

    tracker: str = Field("mil", description="mil (needs no weights), nano, siammask, sam2, vit, or published.")
    weights: str | None = Field(
        None,
        description="The tracker's weights: a path or path prefix, or a name of `tubeflow weights list`; "
        "for published, the file of boxes; None for trackers that need none or have their own.",
    )

    preset: str | None = Field(
        None, description="A published set of numbers, for siammask; None takes the one of its weights."
    )

    added: ClassVar[Mapping[str, Any]] = {"tracker_version": 1}

    def key_view(self) -> dict[str, Any]:
        """Without the weights' path: where a file lies on this machine is not part of the key, its digest is.

        With the tracker's version, once it has been raised, and the package that brings the tracker, where one does.
        """
        view = self.model_dump(mode="json", exclude={"weights"})
        entry = TRACKERS.get(self.tracker)
        if entry is not None and entry.version != self.added["tracker_version"]:
            view["tracker_version"] = entry.version
        if (origin := TRACKERS.origin(self.tracker)) is not None:
            view["tracker_plugin"] = origin
        return view


def track_clip(frames: NDArray[np.uint8], boxes: NDArray[np.float32], tracker: Tracker) -> list[Tube]:
    """Follow `boxes` (A, 4) xyxy of the first of `frames` (L, H, W, 3) to the end: A tubes of L quads.

    Raises:
        BadClip: a box has nothing in the frame to follow.
    """
    try:
        tubes = tracker.track(frames, boxes)
    except ValueError as exc:
        raise _cannot_follow(exc) from exc
    return _checked(tubes)


Clip = tuple[NDArray[np.uint8], NDArray[np.float32]]


def track_clips(clips: Sequence[Clip], tracker: ManyTracker) -> list[list[Tube] | BadClip]:
    """`track_clip` for several clips (frames, boxes) together; a bad one has its `BadClip` in its place."""
    results: list[list[Tube] | BadClip] = []
    for outcome in tracker.track_many(clips):
        try:
            results.append(_cannot_follow(outcome) if isinstance(outcome, ValueError) else _checked(outcome))
        except BadClip as exc:
            results.append(exc)
    return results


def _cannot_follow(why: ValueError) -> BadClip:
    return BadClip(
        f"An athlete cannot be followed: {why}.", "Correct the first-frame box, or detect the athlete again."
    )


def _checked(tubes: list[Tube]) -> list[Tube]:
    for tube in tubes:
        if not np.isfinite(tube.quads).all():
            raise BadClip(
                "The tracker returned corners that are not numbers.", "Choose another `track.tracker` for this clip."
            )
    return tubes


def tube_arrays(tubes: Sequence[Tube], frame_wh: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """What the artifact holds of A tubes in frames of `frame_wh`; see the file's head."""
    quads = np.stack([tube.quads for tube in tubes]).astype(np.float32)
    arrays: dict[str, NDArray[Any]] = {
        "quads": quads,
        "scores": np.stack([tube.scores for tube in tubes]).astype(np.float32),
        "lost": np.stack([tube.lost for tube in tubes]).astype(bool),
        "border": at_border(quads, frame_wh),
        "sudden": sudden_change(quads),
    }
    if any(tube.masks is not None for tube in tubes):
        arrays |= pack_runs([mask for tube in tubes for mask in (tube.masks or [None] * len(tube.quads))])
    return arrays


CLIPS_TOGETHER = 32  # whose frames are in memory at once, some 36 MB a clip

_local = threading.local()  # a tracker holds the state of one clip: each worker thread has its own


def _tracker(config: TrackConfig, context: Context) -> Tracker:
    """The tracker of this thread, its weights read once."""
    wanted = (config, context.resolved_device)
    if getattr(_local, "wanted", None) != wanted:
        weights = _named(config, context.workspace.weights)
        _local.tracker = build_tracker(
            config.tracker, weights=weights, device=context.resolved_device, preset=config.preset
        )
        _local.wanted = wanted
    tracker: Tracker = _local.tracker
    return tracker


def _read_clip(job: Job, context: Context) -> Clip:
    """All frames of a clip, and its athletes' boxes in the first one."""
    frames = decode_frames(read_parent(job, "normalize", context).arrays)
    found = read_parent(job, "detect", context).arrays
    return frames, found["boxes"][found["chosen"]]


def _product(frames: NDArray[np.uint8], tubes: Sequence[Tube]) -> Product:
    height, width = frames.shape[1:3]
    return Product(tube_arrays(tubes, (width, height)), {"width": width, "height": height})


def _track_jobs(jobs: Sequence[Job], config: TrackConfig, context: Context) -> Iterator[Outcome]:
    """All clips of the shard together where the tracker gains from it, otherwise one by one."""
    tracker = None if config.tracker == PUBLISHED else _tracker(config, context)
    if isinstance(tracker, ManyTracker):
        yield from _track_together(jobs, tracker, context)
    else:
        yield from each(_track_job)(jobs, config, context)


def _track_together(jobs: Sequence[Job], tracker: ManyTracker, context: Context) -> Iterator[Outcome]:
    for begin in range(0, len(jobs), CLIPS_TOGETHER):
        ready: list[tuple[Job, Clip]] = []
        for job in jobs[begin : begin + CLIPS_TOGETHER]:
            try:
                ready.append((job, _read_clip(job, context)))
            except Exception as exc:  # becomes the clip's outcome; `run_jobs` sorts out which kind
                yield job, exc
        results = track_clips([clip for _, clip in ready], tracker)
        for (job, (frames, _)), result in zip(ready, results, strict=True):
            yield job, result if isinstance(result, BadClip) else _product(frames, result)


def _track_job(job: Job, config: TrackConfig, context: Context) -> Product:
    if config.tracker == PUBLISHED:
        return _published_job(job, config, context)
    frames, boxes = _read_clip(job, context)
    return _product(frames, track_clip(frames, boxes, _tracker(config, context)))


def _published_job(job: Job, config: TrackConfig, context: Context) -> Product:
    """Boxes that the file holds; the frames themselves are not decoded."""
    (file,) = _weights(config, context.workspace.weights).values()
    clip = read_parent(job, "normalize", context, ["source_index"])
    start = job.clip.start_frame if job.clip else None
    # Fields with their default value stay out of keys, and so of the lineage.
    window = str(clip.lineage.config.get("window", NormalizeConfig().window))
    found = published_tracks(file, job.clip_id, clip.arrays["source_index"], start, clip.attrs, window)
    size = {"width": int(clip.attrs["width"]), "height": int(clip.attrs["height"])}
    mended = {"corners_repaired": json.dumps(found.repaired), "frames_absent": json.dumps(found.absent)}
    return Product(tube_arrays([found.tube], (size["width"], size["height"])), size | mended)


def _named(config: TrackConfig, folder: Path) -> Path | None:
    """What `weights` means: a path, or a name in the workspace's weights folder. Raises WeightsError."""
    suffixes = ("",) if config.tracker == PUBLISHED else weight_suffixes(config.tracker)
    if not config.weights or not suffixes:
        return None
    return resolve_weights(config.weights, folder, suffixes=suffixes)


def _weights(config: TrackConfig, folder: Path) -> dict[str, Path]:
    named = _named(config, folder)
    if config.tracker == PUBLISHED:
        if named is None:
            raise ValueError("The tracker published needs a file of boxes: set track.weights=FRFS_Boxes.json.")
        return {named.name: named}
    return {file.name: file for file in weights_files(config.tracker, named)}


STAGE = Stage(
    "track", STAGE_VERSION, ("normalize", "detect"), _track_jobs, uses_device=True, weights=_weights
)
