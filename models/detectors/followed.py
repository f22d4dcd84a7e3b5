"""The athlete is the one that moves against the scene while the camera keeps them in view.

A first frame alone doesn't say who that is: on a diving clip the surest box is a spectator's. Later frames do. Laid
over the first one by the scene's own motion, everything that belongs to the scene stays in its place, and the athlete
does not (`models.video.camera_motion.departures`). A good box holds that change and has little of it around, lies near
the middle, where cameras keep whom they follow, and is not small.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.detectors.base import Detections

PATH_EVERY = 3           # frames between two that the scene's motion is chained through
LATER_FRAMES = 12        # later frames that are compared with the first
AROUND = 0.2             # width of the ring around a box, in shares of its mean side
MIDDLE = 0.2             # of the frame's sides: how far from the middle counts half as much (a standard deviation)
STILL = 0.01             # evidence of a box that nothing speaks for: where nothing moves, score, place and size decide
MAX_SHARED = 0.6         # of the smaller of two boxes, before they are taken for one person


def sampled_frames(count: int) -> NDArray[np.int64]:
    """Numbers (n,) of those of a clip's frames that `departed` wants, the first among them."""
    return np.arange(0, count, PATH_EVERY)


def departed(frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """How surely what frame 0 shows in each pixel is not part of the scene, (H, W) in 0..1.

    Args:
        frames: (H, W, 3) uint8 RGB, those of `sampled_frames`.
    """
    # Both here, as the detect stage names this module, and planning it looks at no frame.
    import cv2

    from models.video.camera_motion import camera_path, departures

    path = camera_path([np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames])
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(LATER_FRAMES + 1, len(frames))).round().astype(int))
    return departures([frames[i] for i in chosen], path.at(chosen))


def followed_rank(found: Detections, heat: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much speaks for each box being the athlete's, (k,) float64, more is better.

    Args:
        found: people of frame 0.
        heat: (H, W), of `departed`.
    """
    import cv2  # as above

    height, width = heat.shape
    boxes = found.boxes.astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    total = np.asarray(cv2.integral(heat), np.float64)
    inside, area = _sums(total, boxes)
    ring = AROUND * sides.mean(axis=1, keepdims=True)
    around, wider = _sums(total, np.clip(boxes + ring * [-1, -1, 1, 1], 0, [width, height, width, height]))
    contrast = inside / np.maximum(area, 1) - (around - inside) / np.maximum(wider - area, 1)
    away = (boxes[:, :2] + boxes[:, 2:]) / 2 / [width, height] - 0.5
    middle = np.exp(-(away**2).sum(axis=1) / (2 * MIDDLE**2))
    size = (sides.prod(axis=1) / (width * height)) ** 0.25   # a person twice as tall counts 1.4 times
    return np.asarray(np.sqrt(found.scores) * (np.maximum(contrast, 0) + STILL) * middle * size, np.float64)


def distinct(boxes: NDArray[np.float32], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """`order` (n,) without those of `boxes` (k, 4) xyxy that mostly show somebody who comes before them in it."""
    kept: list[int] = []
    for index in order.tolist():
        one = boxes[index].astype(np.float64)
        others = boxes[kept].astype(np.float64)
        shared = np.clip(np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2]), 0, None).prod(axis=1)
        smaller = np.minimum((one[2:] - one[:2]).prod(), (others[:, 2:] - others[:, :2]).prod(axis=1))
        if (shared <= MAX_SHARED * smaller).all():
            kept.append(index)
    return np.asarray(kept, np.int64)


def _sums(total: NDArray[np.float64], boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of the heat in each box, and its area, both of whole pixels."""
    x0, y0, x1, y1 = np.rint(boxes).astype(np.int64).T
    return total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0], ((x1 - x0) * (y1 - y0)).astype(np.float64)
