"""The poses of a clip beside its tube, in pixels of its normalised frames: what is missing, what is off the tube."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import Workspace
from data_catalog.datasets.poses.pose_files import BadPoses, read_poses
from data_catalog.datasets.poses.pose_layer import POSES, pose_file
from flows.draw.poses import ClipPoses


def clip_poses(
    workspace: Workspace,
    dataset: str,
    clip_id: str,
    source_index: NDArray[np.int64],
    attrs: Mapping[str, Any],
    quads: NDArray[np.floating],
) -> ClipPoses | None:
    """The poses that a dataset has of a clip; None where it has none, or they can't be read any more.

    Args:
        workspace: the workspace.
        dataset: its name.
        clip_id: the clip.
        source_index: (L,), the frame of the video that each normalised frame shows.
        attrs: of the `normalize` artifact: sizes of the video's and of the normalised frames.
        quads: (A, L, 4, 2), the athletes' tubes in pixels of the normalised frames; without athletes (A = 0) no pose
            is off the tube.
    """
    folder = _pose_folder(workspace, dataset)
    if folder is None:
        return None
    (clip,) = workspace.datasets.clips(dataset, [clip_id])
    name = pose_file(clip)
    if name is None:
        return None
    try:
        track = read_poses(folder / name, folder)
    except BadPoses as exc:
        workspace.notice(f"Clip '{clip_id}' has no poses any more: {exc}.")
        return None
    rows = source_index - (clip.start_frame or 0)
    joints = np.full((len(rows), *track.joints.shape[1:]), np.nan, np.float32)
    known = (rows >= 0) & (rows < len(track.joints))
    joints[known] = track.joints[rows[known]]
    across, down = attrs["width"] / attrs["source_width"], attrs["height"] / attrs["source_height"]
    joints[..., :2] *= np.asarray((across, down), np.float32)
    return ClipPoses(joints, off_tube(joints, quads))


def pose_stamps(workspace: Workspace, dataset: str, clip_ids: Sequence[str]) -> list[list[object]]:
    """Name, size and time of the clips' files of poses: other ones are drawn otherwise."""
    folder = _pose_folder(workspace, dataset)
    if folder is None:
        return []
    names = (pose_file(clip) for clip in workspace.datasets.clips(dataset, clip_ids))
    files = [folder / name for name in names if name is not None]
    there = [(path.name, path.stat()) for path in files if path.exists()]
    return [[name, found.st_size, found.st_mtime_ns] for name, found in there]


def _pose_folder(workspace: Workspace, dataset: str) -> Path | None:
    folder = workspace.datasets.info(dataset).options.get(POSES)
    return None if folder is None else Path(folder)


def off_tube(joints: NDArray[np.float32], quads: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Frames whose pose has the middle of its seen joints outside of every quad.

    Args:
        joints: (L, J, 3), nan where a frame has no pose.
        quads: (A, L, 4, 2) in the same pixels.

    Returns:
        (L,) bool; False where there is no pose, and everywhere where there is no athlete.
    """
    if not len(quads):
        return np.zeros(len(joints), bool)
    import cv2  # the command line starts without

    found = np.zeros(len(joints), bool)
    for frame, pose in enumerate(joints):
        seen = pose[pose[:, 2] > 0] if np.isfinite(pose).all() else pose[:0]
        if len(seen):
            x, y = seen[:, :2].mean(axis=0).tolist()
            corners = (np.ascontiguousarray(quad, np.float32) for quad in quads[:, frame] if np.isfinite(quad).all())
            found[frame] = not any(cv2.pointPolygonTest(quad, (x, y), False) >= 0 for quad in corners)
    return found
