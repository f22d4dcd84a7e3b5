"""The tiny workspace with poses of its held-out clip, as AlphaPose writes them: some missing, some of nobody there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import Listing
from data_catalog.synthetic.sport import read_ground_truth
from flows.datasets.ingest import ingest
from tests.support.tiny_workspace import DATASET, copy_workspace

CLIP = "diving_0003"
GONE, ASTRAY = range(10, 20), range(40, 45)
"""Frames of the video that have no pose, and those whose pose is far from the athlete."""


def bodies(videos: Path) -> NDArray[np.float64]:
    """Seventeen joints (T, 17, 2) spread within the athlete's true quad of each frame of the video."""
    quads = read_ground_truth(videos / "ground_truth" / f"{CLIP}.npz").quads[0]
    share = np.random.default_rng(0).dirichlet(np.full(4, 0.5), 17)
    joints: NDArray[np.float64] = np.einsum("jk,tkc->tjc", share, quads)
    return joints


def write_alphapose(path: Path, joints: NDArray[np.float64]) -> None:
    """What AlphaPose writes of a video with the poses of joints (T, 17, 2)."""
    rows = []
    for frame, pose in enumerate(joints):
        if frame in GONE:
            continue
        keypoints = np.concatenate([pose + 1000 * (frame in ASTRAY), np.full((17, 1), 0.8)], axis=1)
        rows.append({"image_id": f"{frame}.jpg", "keypoints": keypoints.ravel().round(3).tolist(), "score": 2.0})
    path.write_text(json.dumps(rows))


def posed_workspace(finished: Path, videos: Path, folder: Path) -> tuple[Path, Listing]:
    """A copy of the finished workspace whose dataset was ingested again with poses, in `folder`."""
    root, poses = copy_workspace(finished, folder / "ws"), folder / "alphapose"
    poses.mkdir()
    write_alphapose(poses / f"{CLIP}.json", bodies(videos))
    return root, ingest(Workspace.open(root), DATASET, "procedural", videos, poses=poses)
