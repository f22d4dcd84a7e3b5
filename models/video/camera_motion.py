"""How the camera moved, and what moved against the scene: the evidence that somebody is being followed.

The scene's motion between two frames is a homography, found from corners that most of the picture agrees on. Chained
from frame to frame it says where a place of the first frame lies in a later one, for as long as it is in sight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Matrix = NDArray[np.float64]

WORK_PX = 256            # longer side that motion is looked for at
MAX_CORNERS = 300
MIN_INLIERS = 12         # fewer corners that agree say nothing
INLIER_PX = 1.5          # of the working size
BOUNCE_PX = 1.0          # a corner that is followed there and back must return this near


@dataclass(frozen=True, eq=False)
class CameraPath:
    """The scene's way through some frames.

    Attributes:
        homographies: (n, 3, 3) float64; number i takes a pixel of frame 0 to where the same place lies in frame i.
        known: (n,) bool; False from the first frame on whose motion could not be found, a cut for example.
    """

    homographies: Matrix
    known: NDArray[np.bool_]

    def at(self, frames: NDArray[np.int64]) -> "CameraPath":
        """The path through some of the `frames` (n,) only, by number."""
        return CameraPath(self.homographies[frames], self.known[frames])


def scene_motion(earlier: Frame, later: Frame) -> Matrix | None:
    """Homography (3, 3) that takes pixels of the earlier frame to the later one, or None where none is found.

    Things that move by themselves do not count as long as most corners belong to the scene.

    Args:
        earlier, later: (H, W) uint8 grey frames of one size.

    Raises:
        ValueError: the frames differ in size.
    """
    if earlier.shape != later.shape or earlier.ndim != 2:
        raise ValueError(f"two grey frames of one size needed, got {earlier.shape} and {later.shape}")
    shrink = min(1.0, WORK_PX / max(earlier.shape))
    small = [cv2.resize(one, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) for one in (earlier, later)]
    corners = cv2.goodFeaturesToTrack(small[0], MAX_CORNERS, 0.01, 5)
    if corners is None or len(corners) < MIN_INLIERS:
        return None
    there, found = _follow(small[0], small[1], corners)
    back, returned = _follow(small[1], small[0], there)
    bounce = np.linalg.norm((back - corners).reshape(-1, 2), axis=1)
    kept = found & returned & (bounce < BOUNCE_PX)
    if kept.sum() < MIN_INLIERS:
        return None
    cv2.setRNGSeed(0)   # the samples of RANSAC, so that the same frames always give the same motion
    affine, inliers = cv2.estimateAffine2D(corners[kept], there[kept], ransacReprojThreshold=INLIER_PX)
    if affine is None or int(inliers.sum()) < MIN_INLIERS:
        return None
    linear, shift = affine[:, :2], affine[:, 2] / shrink
    if not 0.5 < np.linalg.det(linear) < 2.0:   # between neighbouring frames nothing zooms like that
        return None
    # Pixels are continuous: the centre of pixel 0 is 0.5, and OpenCV counts from that centre.
    shift += 0.5 / shrink - linear @ np.full(2, 0.5 / shrink)
    return np.vstack([np.column_stack([linear, shift]), [0.0, 0.0, 1.0]])


def _follow(earlier: Any, later: Any, corners: Any) -> tuple[Any, NDArray[np.bool_]]:
    """Where corners (n, 1, 2) of one picture are in another, and which of them were found."""
    flow: Any = cv2.calcOpticalFlowPyrLK   # its types don't allow that there is no first guess
    there, found, _ = flow(earlier, later, corners, None, winSize=(15, 15), maxLevel=4)
    return there, np.asarray(found.ravel() == 1)


def camera_path(frames: Sequence[Frame]) -> CameraPath:
    """Chain the scene's motion through frames that follow each other closely.

    Args:
        frames: (H, W) uint8 grey, at least one.
    """
    chained, known = [np.eye(3)], [True]
    for earlier, later in pairwise(frames):
        step = scene_motion(earlier, later) if known[-1] else None
        known.append(step is not None)
        chained.append(step @ chained[-1] if step is not None else chained[-1])
    return CameraPath(np.stack(chained), np.asarray(known))


CHANGE_RGB = 28.0    # mean difference of a channel that counts as fully another thing
SEARCH_PX = (-2, 0, 2)   # of the working size: neighbours that a place is also compared with, for parallax


def departures(frames: Sequence[Frame], path: CameraPath) -> NDArray[np.float32]:
    """How surely each pixel's thing in frame 0 leaves its place in the scene, or changes there, (H, W) in 0..1.

    Later frames are laid over the first one by the scene's motion. What belongs to the scene then stays where it is;
    somebody who is followed is gone, or in another posture. The mean is over the time that a place is in sight: what
    only passes in front of it changes little.

    Args:
        frames: (H, W, 3) uint8 RGB, the first being frame 0.
        path: of these frames.
    """
    height, width = frames[0].shape[:2]
    shrink = min(1.0, WORK_PX / max(height, width))
    size = (round(width * shrink), round(height * shrink))
    fit = np.diag([size[0] / width, size[1] / height, 1.0])
    first = _shrunk(frames[0], size)
    changes = [
        _change(first, _shrunk(frame, size), fit @ there @ np.linalg.inv(fit))
        for frame, there, known in zip(frames[1:], path.homographies[1:], path.known[1:], strict=True)
        if known
    ]
    if not changes:
        return np.zeros((height, width), np.float32)
    stacked = np.stack(changes)
    sighted = np.isfinite(stacked)
    heat = np.where(sighted, stacked, 0).sum(axis=0) / np.maximum(sighted.sum(axis=0), 1)
    return np.asarray(cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _grey(frame: Frame) -> Frame:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def _shrunk(frame: Frame, size: tuple[int, int]) -> Frame:
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _change(first: Frame, later: Frame, there: Matrix) -> NDArray[np.float32]:
    """Difference in 0..1 to the later frame laid over the first; NaN where that place is out of sight."""
    size = first.shape[1::-1]
    to_centres = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    pixels = np.linalg.inv(to_centres) @ there @ to_centres   # OpenCV counts from the centre of pixel 0
    ways = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpPerspective(later, pixels, size, flags=ways, borderMode=cv2.BORDER_REPLICATE)
    # Errors of the chain add up from frame to frame; what is left of them shows between these two.
    rest = scene_motion(_grey(first), _grey(np.asarray(laid, np.uint8)))
    if rest is not None:
        pixels = pixels @ np.linalg.inv(to_centres) @ rest @ to_centres
        laid = cv2.warpPerspective(later, pixels, size, flags=ways, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.warpPerspective(np.ones(first.shape[:2], np.uint8), pixels, size, flags=ways)
    best = np.full(first.shape[:2], 255.0, np.float32)
    for down in SEARCH_PX:
        for across in SEARCH_PX:
            moved = np.roll(laid, (down, across), (0, 1))
            apart = cv2.absdiff(first, moved).mean(axis=2, dtype=np.float32)
            best = np.minimum(best, cv2.blur(apart, (5, 5)))
    change = np.asarray(np.clip(best / CHANGE_RGB, 0, 1), np.float32)
    change[seen == 0] = np.nan
    return change
