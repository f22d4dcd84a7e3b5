"""Small pictures of a clip as JPEG bytes: one frame with its tube, or frames side by side as a filmstrip."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.media.frame_codec import decode_frames
from flows.draw.clip_view import evenly_chosen
from flows.draw.paint import UNDERSTROKE, athlete_colour, paint_line, paint_quad, resize

QUALITY = 82
MAX_SIDE = 1024


def thumbnail(
    arrays: Mapping[str, NDArray[np.generic]], frame: int, width: int, quads: NDArray[np.floating] | None = None
) -> bytes:
    """One frame of a clip, `width` pixels wide, with every athlete's quad and the path that it takes.

    Args:
        arrays: `frames` and `frame_offsets` of a normalize artifact, or its open HDF5 datasets.
        frame: which frame, from 0; one beyond the end shows the last.
        width: of the picture in pixels.
        quads: (A, L, 4, 2) in pixels of the normalised frame, or None for the frame alone.

    Raises:
        BadVideo: the stored bytes don't decode.
    """
    count = len(arrays["frame_offsets"]) - 1
    frame = min(max(frame, 0), count - 1)
    image = decode_frames(arrays, [frame])[0]
    scale = width / image.shape[1]
    canvas = resize(image, (width, max(1, round(image.shape[0] * scale))))
    if quads is not None:
        for athlete, tube in enumerate(np.asarray(quads, np.float64) * scale):
            path = tube.mean(axis=1)
            if np.isfinite(path).all():
                paint_line(canvas, path, UNDERSTROKE, 3)
                paint_line(canvas, path, athlete_colour(athlete), 1)
            paint_quad(canvas, tube[min(frame, len(tube) - 1)], athlete_colour(athlete))
    return _jpeg(canvas)


def filmstrip(arrays: Mapping[str, NDArray[np.generic]], count: int, height: int) -> bytes:
    """A JPEG of up to `count` frames spread evenly over a clip, side by side, `height` pixels high.

    `arrays` are those of the normalize artifact: `frames` (bytes,) uint8 and `frame_offsets` (L + 1,) int64.
    """
    frames = decode_frames(arrays, evenly_chosen(len(arrays["frame_offsets"]) - 1, count))
    width = max(1, round(frames.shape[2] * height / frames.shape[1]))
    return _jpeg(np.concatenate([resize(frame, (width, height)) for frame in frames], axis=1))


def _jpeg(canvas: NDArray[np.uint8]) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR), settings)[1])
