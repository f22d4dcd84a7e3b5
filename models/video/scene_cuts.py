"""Scene cuts: frames before which the whole picture changes at once.

Two neighbouring frames are compared by their colours (a histogram) and by where bright and dark parts lie (a coarse
thumbnail, so that two views of one arena differ, too). A cut is a change that stays: a flash, after which the picture
is as before, is none. And it stands alone: a fast pan changes much in every frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 8  # a colour channel, in the histogram
THUMBNAIL = (16, 9)
LAYOUT_WEIGHT = 2.0  # thumbnails of unlike pictures differ by about 0.15 of full scale, histograms by about 0.3
NEIGHBOURS = 5  # frames on either side that a cut has to stand out from
CALM = 0.02  # the change between frames of a still scene: coding noise


def scene_changes(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much each frame begins something new: (L, h, w, 3) uint8 → (L,) float32, 0 for frame 0.

    0 is the same picture; unlike pictures are above about 0.2, the largest possible value is 3. The change against the
    frame before counts only as far as it holds for a frame more on either side. A quarter of the size is enough.
    """
    import cv2  # here, as `find_cuts` alone judges what was measured, and needs no OpenCV

    colours = [_histogram(frame) for frame in frames]
    thumbnails = [cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32) for frame in frames]

    def unlike(a: int, b: int) -> float:
        histogram = 0.5 * float(np.abs(colours[a] - colours[b]).sum())
        return histogram + LAYOUT_WEIGHT * float(np.abs(thumbnails[a] - thumbnails[b]).mean()) / 255

    changes = np.zeros(len(frames), np.float32)
    for t in range(1, len(frames)):
        pairs = [(t - 1, t), (t - 2, t), (t - 1, t + 1)]
        changes[t] = min(unlike(a, b) for a, b in pairs if a >= 0 and b < len(frames))
    return changes


def _histogram(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2  # as above

    counts = cv2.calcHist([frame], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3).ravel()
    return np.asarray(counts / counts.sum(), np.float32)


def find_cuts(changes: ArrayLike, elapsed: ArrayLike, least: float, contrast: float) -> NDArray[np.int64]:
    """Frames that begin a new scene, in order.

    Args:
        changes: (L,) of `scene_changes`.
        elapsed: (L,) frames of the source between each frame and the one before: where one was skipped, a pan changes
            the picture twice as much.
        least: a cut changes at least so much.
        contrast: and so many times what its neighbours do a source frame (their 0.9 quantile, five on either side).
    """
    series, skipped = np.asarray(changes, np.float64), np.asarray(elapsed, np.float64)
    pace = series / np.maximum(skipped, 1.0)
    moving = skipped > 0  # a frame that is shown twice is no measure of a pan
    cuts: list[int] = []
    for t in range(1, len(series)):
        if series[t] < least:
            continue
        around = np.arange(max(1, t - NEIGHBOURS), min(len(series), t + 1 + NEIGHBOURS))
        around = around[(around != t) & moving[around]]
        usual = float(np.quantile(pace[around], 0.9)) if len(around) else 0.0
        if pace[t] >= contrast * max(usual, CALM):
            cuts.append(t)
    return np.asarray(cuts, np.int64)
