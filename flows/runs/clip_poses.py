"""The poses of a clip beside its tube, in pixels of its normalised frames: what is missing, what is off the tube."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import Workspace
from data_catalog.datasets.poses.pose_files import BadPoses, read_poses
from data_catalog.datasets.poses.pose_layer import POSES, pose_file
from flows.draw.tube_layers import numbers
from tasks.engine.plan import StagePlan

# Of COCO's 17 joints; other skeletons are drawn as dots.
COCO_BONES = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13),
    (13, 15), (12, 14), (14, 16),
)  # fmt: skip
COCO_JOINTS = 17


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
    def sentence(self) -> str:
        """How many frames have a pose, and how many of those are off the tube."""
        frames = len(self.joints)
        return f"{frames - int(self.missing.sum())} of {frames} frames, {int(self.off_tube.sum())} off the tube"

    def as_json(self) -> dict[str, object]:
        """What a page draws it from: joints with two decimals, None where there is none, and bones as pairs of them."""
        both = zip(self.joints, self.missing, strict=True)
        return {
            "joints": [None if gone else numbers(pose, 2) for pose, gone in both],
            "bones": [list(bone) for bone in COCO_BONES] if self.joints.shape[1] == COCO_JOINTS else [],
            "off_tube": self.off_tube.tolist(),
        }


def clip_poses(
    workspace: Workspace,
    plans: Mapping[str, StagePlan],
    dataset: str,
    clip_id: str,
    quads: NDArray[np.floating],
    frame_wh: tuple[int, int],
) -> ClipPoses | None:
    """The poses that a dataset has of a clip; None where it has none, or they can't be read any more.

    Args:
        workspace: the workspace.
        plans: of the clip's stages.
        dataset: its name.
        clip_id: the clip.
        quads: (A, L, 4, 2), the athletes' tubes in pixels of the normalised frames.
        frame_wh: width and height of those.
    """
    (clip,) = workspace.datasets.clips(dataset, [clip_id])
    folder, name = workspace.datasets.info(dataset).options.get(POSES), pose_file(clip)
    job = plans["normalize"].jobs.get(clip_id)
    if folder is None or name is None or job is None or not workspace.store.exists("normalize", job.key):
        return None
    try:
        track = read_poses(Path(folder) / name, Path(folder))
    except BadPoses as exc:
        workspace.notice(f"Clip '{clip_id}' has no poses any more: {exc}.")
        return None
    source = workspace.store.read("normalize", job.key, ["source_index"])
    rows = source.arrays["source_index"] - (clip.start_frame or 0)
    source_wh = int(source.attrs["source_width"]), int(source.attrs["source_height"])
    joints = np.full((len(rows), *track.joints.shape[1:]), np.nan, np.float32)
    known = (rows >= 0) & (rows < len(track.joints))
    joints[known] = track.joints[rows[known]]
    joints[..., :2] *= np.asarray(frame_wh, np.float32) / np.asarray(source_wh, np.float32)
    return ClipPoses(joints, off_tube(joints, quads))


def off_tube(joints: NDArray[np.float32], quads: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Frames whose pose has the middle of its seen joints outside of every quad.

    Args:
        joints: (L, J, 3), nan where a frame has no pose.
        quads: (A, L, 4, 2) in the same pixels.

    Returns:
        (L,) bool; False where there is no pose.
    """
    found = np.zeros(len(joints), bool)
    for frame, pose in enumerate(joints):
        seen = pose[pose[:, 2] > 0] if np.isfinite(pose).all() else pose[:0]
        if len(seen):
            x, y = seen[:, :2].mean(axis=0).tolist()
            corners = (np.ascontiguousarray(quad, np.float32) for quad in quads[:, frame] if np.isfinite(quad).all())
            found[frame] = not any(cv2.pointPolygonTest(quad, (x, y), False) >= 0 for quad in corners)
    return found
