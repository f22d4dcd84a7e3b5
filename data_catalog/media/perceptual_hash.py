"""Whether two clips show the same, whatever their size, bit rate and brightness: cheap hashes, then thumbnails.

`first_frame_hash` (a pHash: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010) decodes
one frame and sifts out what can't be the same. `appearance` decodes nearly the whole clip and tells two dives in
one pool apart, for they are also compared by what moves in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.errors import BadVideo
from data_catalog.media.video import probe, read_frames

HASH_BITS = 64
SAMPLES = 8
THUMBNAIL_PX = 32
# Grey levels (of 255) of the mean motion below which a clip counts as a still picture.
STILL = 1.0


def first_frame_hash(path: Path, start: int | None = None) -> np.uint64:
    """64-bit perceptual hash of a clip's first frame, `start` or the video's first.

    Raises:
        BadVideo: that frame can't be decoded.
        OSError: the file system refuses.
    """
    frame = read_frames(path, np.array([start or 0], np.int64), (THUMBNAIL_PX, THUMBNAIL_PX))[0]
    low = cv2.dct(_grey(frame).astype(np.float32))[:8, :8].ravel()
    low[0] = 0.0  # brightness
    return np.uint64(int.from_bytes(np.packbits(low > np.median(low)).tobytes()))


@dataclass(frozen=True, eq=False)
class Appearance:
    """What two clips are compared by; D = SAMPLES · THUMBNAIL_PX².

    Attributes:
        frames: (D,) float32 of length 1, grey levels of thumbnails less their mean.
        motion: (D,) float32 of length 1, the same less the mean picture; what changes over time.
        still: nothing moves.
    """

    frames: NDArray[np.float32]
    motion: NDArray[np.float32]
    still: bool


def appearance(path: Path, start: int | None = None, end: int | None = None) -> Appearance:
    """Thumbnails of a few frames of a clip, evenly spread over its time.

    Args:
        path: the video file or folder of images.
        start: first frame of the clip, from 0; None means the video's first.
        end: one past its last frame; None, or one beyond the video, means the video's end.

    Raises:
        BadVideo: one of the frames can't be decoded.
        OSError: the file system refuses.
    """
    first, last = start or 0, probe(path).num_frames
    last = min(last, end) if end is not None else last
    if last <= first:
        raise BadVideo(f"Video {path} ends before frame {first}.", "Correct start_frame in the labels.")
    places = first + (np.arange(SAMPLES) + 0.5) / SAMPLES * (last - first)
    frames = read_frames(path, places.astype(np.int64), (THUMBNAIL_PX, THUMBNAIL_PX))
    grey = np.stack([_grey(frame) for frame in frames]).astype(np.float32)
    motion = grey - grey.mean(axis=0)
    return Appearance(_unit(grey - grey.mean()), _unit(motion), bool(np.abs(motion).mean() < STILL))


def similarities(one: Appearance, others: Sequence[Appearance]) -> NDArray[np.float32]:
    """How alike a clip is to each of n others: (n,) float32, 1 for the same, about 0 for nothing in common.

    The smaller of two correlations: of the frames, and of what changes between them. The second tells apart what is
    filmed before the same background. Clips in which nothing moves are compared by their frames alone.
    """
    frames = np.stack([other.frames for other in others]) @ one.frames
    motion = np.stack([other.motion for other in others]) @ one.motion
    still = np.asarray([one.still and other.still for other in others])
    return np.where(still, frames, np.minimum(frames, motion))


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    length = float(np.linalg.norm(values))
    return np.asarray(values.ravel() / (length or 1.0), np.float32)


def _grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
