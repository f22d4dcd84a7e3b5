"""track: follow each chosen athlete from the first frame to the last.

Reads the normalised frames and the chosen boxes; writes `quads` (A, L, 4, 2) float32 in pixels of the normalised
frame, clockwise, `scores` (A, L) float32 and `lost` (A, L) bool. It repairs nothing: where a target was lost the quad
is the last one that was found.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_catalog.frame_codec import decode_frames
from models.trackers import Tracker, Tube, build_tracker, weights_files
from tasks.config import StageConfig
from tasks.errors import BadClip
from tasks.stage import Context, Job, Product, Stage, each, read_parent

STAGE_VERSION = 1   # 1: first


class TrackConfig(StageConfig):
    """Which tracker. Every field changes everything from track on."""

    tracker: str = Field("mil", description="mil (needs no weights), nano, vit.")
    weights: str | None = Field(
        None, description="The tracker's weights: a path or path prefix, or a name in the weights folder."
    )

    def key_view(self) -> dict[str, Any]:
        """Without the weights' path: where a file lies on this machine is not part of the key, its digest is."""
        return self.model_dump(mode="json", exclude={"weights"})


def track_clip(frames: NDArray[np.uint8], boxes: NDArray[np.float32], tracker: Tracker) -> list[Tube]:
    """Follow `boxes` (A, 4) xyxy of the first of `frames` (L, H, W, 3) to the end: A tubes of L quads.

    Raises:
        BadClip: a box has nothing in the frame to follow.
    """
    try:
        tubes = tracker.track(frames, boxes)
    except ValueError as exc:
        raise BadClip(
            f"An athlete cannot be followed: {exc}.", "Correct the first-frame box, or detect the athlete again."
        ) from exc
    for tube in tubes:
        if not np.isfinite(tube.quads).all():
            raise BadClip(
                "The tracker returned corners that are not numbers.", "Choose another `track.tracker` for this clip."
            )
    return tubes


def tube_arrays(tubes: Sequence[Tube]) -> dict[str, NDArray[Any]]:
    """What the artifact holds of A tubes: `quads` (A, L, 4, 2), `scores` (A, L), `lost` (A, L)."""
    return {
        "quads": np.stack([tube.quads for tube in tubes]).astype(np.float32),
        "scores": np.stack([tube.scores for tube in tubes]).astype(np.float32),
        "lost": np.stack([tube.lost for tube in tubes]).astype(bool),
    }


_local = threading.local()  # a tracker holds the state of one clip: each worker thread has its own


def _tracker(config: TrackConfig, context: Context) -> Tracker:
    """The tracker of this thread, its weights read once."""
    wanted = (config, context.resolved_device)
    if getattr(_local, "wanted", None) != wanted:
        search = [context.workspace.weights]
        _local.tracker = build_tracker(
            config.tracker, weights=config.weights, device=context.resolved_device, search=search
        )
        _local.wanted = wanted
    tracker: Tracker = _local.tracker
    return tracker


def _track_job(job: Job, config: TrackConfig, context: Context) -> Product:
    frames = decode_frames(read_parent(job, "normalize", context).arrays)
    found = read_parent(job, "detect", context).arrays
    tubes = track_clip(frames, found["boxes"][found["chosen"]], _tracker(config, context))
    return Product(tube_arrays(tubes), {"width": frames.shape[2], "height": frames.shape[1]})


def _weights(config: TrackConfig, folder: Path) -> dict[str, Path]:
    files = weights_files(config.tracker, config.weights, [folder])
    return {file.name: file for file in files}


STAGE = Stage(
    "track", STAGE_VERSION, ("normalize", "detect"), each(_track_job), uses_device=True, weights=_weights
)
