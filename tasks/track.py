"""track: follow each chosen athlete from the first frame to the last.

Reads the normalised frames and the chosen boxes; writes `quads` (A, L, 4, 2) float32 in pixels of the normalised
frame, clockwise, `scores` (A, L) float32 and `lost` (A, L) bool. It repairs nothing: where a target was lost the quad
is the last one that was found.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.trackers import Tracker, Tube
from tasks.config import StageConfig
from tasks.errors import BadClip

STAGE_VERSION = 1   # 1: first


class TrackConfig(StageConfig):
    """Which tracker. Every field changes everything from track on."""

    tracker: str = Field("mil", description="mil (needs no weights), nano, vit.")
    weights: str | None = Field(
        None, description="The tracker's weights: a path or path prefix, or a name in the weights folder."
    )
    device: str = Field("cpu", description="cpu or cuda[:n]; not part of the key.", exclude=True)


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
