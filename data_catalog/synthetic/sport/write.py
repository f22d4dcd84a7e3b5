"""Files of one clip: H.264 video, and the truth beside it."""

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.npy import read_npz
from data_catalog.synthetic.sport.render_clip import render
from data_catalog.synthetic.sport.storyboard import Storyboard

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

MIN_VISIBLE_PX: Final = 12  # fewer visible pixels than this are no athlete
# One thread and no look-ahead threads: the same frames always give the same bytes.
_X264: Final = {"preset": "superfast", "crf": "21", "threads": "1", "x264-params": "lookahead-threads=1"}


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What is true of a clip, in source pixels (continuous: pixel i spans [i, i + 1)).

    quads: (A, F, 4, 2) float32, smallest rotated box around the visible silhouette, corners clockwise as seen
    (y down); where `visible` is False it repeats the last one. masks: (A, F, H, W) bool, the visible
    silhouette at the middle of the exposure. visible: (A, F) bool. fps: frames per second, exact.
    """

    quads: NDArray[np.float32]
    masks: Mask
    visible: Mask
    fps: Fraction


def read_ground_truth(path: Path) -> GroundTruth:
    """Read `ground_truth/<clip_id>.npz`."""
    stored = read_npz(path)
    shape = tuple(int(n) for n in stored["masks_shape"])
    bits = np.unpackbits(stored["masks"], count=int(np.prod(shape)))
    num, den = (int(n) for n in stored["fps"])
    return GroundTruth(stored["quads"], bits.reshape(shape).astype(np.bool_), stored["visible"], Fraction(num, den))


def silhouette_quad(mask: Mask) -> NDArray[np.float32]:
    """Smallest rotated box (4, 2) float32 around all pixels of a mask (H, W), clockwise from the top left.

    Raises:
        ValueError: for a mask without a pixel.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        raise ValueError("an empty mask has no box")
    pixels = np.concatenate([contour[:, 0] for contour in contours]).astype(np.float32)
    reach = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    corners = (pixels[:, None] + reach).reshape(-1, 2)
    box = cv2.boxPoints(cv2.minAreaRect(cv2.convexHull(corners)))
    middle = box.mean(axis=0)
    angle = np.arctan2(box[:, 1] - middle[1], box[:, 0] - middle[0])
    box = box[np.argsort(angle)]  # growing angle with y down is clockwise
    return np.roll(box, -int(np.argmin(box.sum(axis=1))), axis=0).astype(np.float32)


def first_box(mask: Mask) -> tuple[int, int, int, int]:
    """x, y, w, h in pixels of the axis-aligned box around a mask (H, W)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


class VideoWriter:
    """An H.264 file that is written frame by frame; a context manager."""

    def __init__(self, path: Path, size: tuple[int, int], fps: Fraction) -> None:
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=fps, options=_X264)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.thread_count = 1

    def __enter__(self) -> "VideoWriter":
        return self

    def write(self, frame: Image) -> None:
        """Append one RGB frame (H, W, 3) uint8."""
        planes = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420), np.uint8)
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


def write_clip(story: Storyboard, out: Path) -> list[tuple[int, int, int, int]]:
    """Render and write one clip and its truth under `out`; return the first-frame box of each athlete."""
    video, truth = out / "videos" / f"{story.clip_id}.mp4", out / "ground_truth" / f"{story.clip_id}.npz"
    part = video.with_suffix(".part")
    frames, people = len(story.instants), len(story.athletes)
    width, height = story.size
    bits = []
    quads = np.zeros((people, frames, 4, 2), np.float32)
    visible = np.zeros((people, frames), np.bool_)
    boxes = []
    with VideoWriter(part, story.size, story.fps) as writer:
        for number, shot in enumerate(render(story)):
            writer.write(shot.frame)
            for who, mask in enumerate(shot.masks):
                visible[who, number] = int(mask.sum()) >= MIN_VISIBLE_PX
                if visible[who, number]:
                    quads[who, number] = silhouette_quad(mask)
                else:
                    mask[:] = False
                    quads[who, number] = quads[who, max(number - 1, 0)]
            bits.append(shot.masks)
            if number == 0:
                boxes = [first_box(mask) for mask in shot.masks]
    os.replace(part, video)
    packed = np.packbits(np.stack(bits, axis=1))
    _save_truth(truth, story.fps, quads, visible, packed, (people, frames, height, width))
    return boxes


def _save_truth(
    path: Path, fps: Fraction, quads: NDArray[np.float32], visible: Mask, packed: Image, shape: tuple[int, ...]
) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez_compressed(
            stream,
            quads=quads,
            visible=visible,
            masks=packed,
            masks_shape=np.array(shape, np.int64),
            fps=np.array([fps.numerator, fps.denominator], np.int64),
        )
    os.replace(part, path)
