"""An athlete's joints as they are drawn beside the tube: bones and dots, orange where the pose is off the tube."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

# Of COCO's 17 joints; other skeletons are drawn as dots.
COCO_BONES = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13),
    (13, 15), (12, 14), (14, 16),
)  # fmt: skip
COCO_JOINTS = 17
POSE_COLOUR, OFF_COLOUR, _UNDER = (125, 255, 155), (255, 140, 60), (16, 18, 22)
_BITS = 4  # places are given to OpenCV in sixteenths of a pixel


@dataclass(frozen=True, eq=False)
class ClipPoses:
    """The poses of a clip's frames.

    Attributes:
        joints: (L, J, 3) float32, x and y in pixels of the normalised frames and confidence; nan where there is none.
        off_tube: (L,) bool, frames whose pose lies beside every athlete's tube: that of somebody else, or of nobody.
    """

    joints: NDArray[np.float32]
    off_tube: NDArray[np.bool_]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """(L,) bool, frames without a pose."""
        return cast(NDArray[np.bool_], ~np.isfinite(self.joints).all(axis=(1, 2)))

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Pairs of joints that are joined by a line; none where it isn't known which joint is which."""
        return COCO_BONES if self.joints.shape[1] == COCO_JOINTS else ()

    @property
    def sentence(self) -> str:
        """How many frames have a pose, and how many of those are off the tube."""
        frames = len(self.joints)
        return f"{frames - int(self.missing.sum())} of {frames} frames, {int(self.off_tube.sum())} off the tube"

    def as_json(self) -> dict[str, object]:
        """What a page draws it from: joints with two decimals, None where there is none, and bones as pairs of them."""
        both = zip(self.joints, self.missing, strict=True)
        return {
            "joints": [None if gone else pose.astype(np.float64).round(2).tolist() for pose, gone in both],
            "bones": [list(bone) for bone in self.bones],
            "off_tube": self.off_tube.tolist(),
            "sentence": self.sentence,
        }


def paint_pose(canvas: NDArray[np.uint8], poses: ClipPoses, index: int, scale: float) -> None:
    """Draw the pose of frame `index` into a canvas (h, w, 3) uint8 RGB that is `scale` times as large as the frame.

    Joints that the estimator didn't see (confidence 0), and their bones, are left out; a frame without a pose is left
    as it is.
    """
    import cv2  # what has poses but draws none, loads none

    pose = poses.joints[index]
    if not np.isfinite(pose).all():
        return
    places = [(round(x * 2**_BITS), round(y * 2**_BITS)) for x, y in pose[:, :2].astype(np.float64) * scale]
    seen = pose[:, 2] > 0
    colour = OFF_COLOUR if poses.off_tube[index] else POSE_COLOUR
    for stroke, width in ((_UNDER, 3), (colour, 1)):
        for one, other in poses.bones:
            if seen[one] and seen[other]:
                cv2.line(canvas, places[one], places[other], stroke, width, cv2.LINE_AA, _BITS)
        for joint in np.flatnonzero(seen):
            cv2.circle(canvas, places[joint], (width + 1) * 2**_BITS // 2, stroke, -1, cv2.LINE_AA, _BITS)
