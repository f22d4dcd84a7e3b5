"""True tubes of a procedural dataset as a file for the tracker `published`, as they are or made worse on purpose."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.procedural_folder import read_ground_truth
from data_catalog.errors import DatasetError
from data_catalog.tracks.text import Track
from flows.datasets.clips import dataset_clips
from tasks.engine import progress

MEMORY_FRAMES = 10.0
"""An error of a frame has faded to 1/e after so many: trackers drift, they don't tremble."""


def true_tubes(
    workspace: Workspace, dataset: str, athlete: int = 0, jitter: float = 0.0, seed: int = 0
) -> dict[str, Track]:
    """Clip → (F, 4, 2) float32 quads of one athlete in pixels of the source, NaN where the athlete isn't visible.

    Args:
        workspace: the workspace.
        dataset: a procedural dataset.
        athlete: number of the athlete in each clip.
        jitter: strength of the errors, see `drift`; 0 leaves the truth as it is.
        seed: of the errors; those of a clip depend on it and on the clip's name alone.

    Raises:
        CatalogError: no such dataset, or one without ground truth.
    """
    info = workspace.datasets.info(dataset)
    if not info.procedural:
        raise CatalogError(f"Dataset '{dataset}' has no ground truth; only procedural ones have.")
    tubes: dict[str, Track] = {}
    for clip in progress.each("read", dataset_clips(workspace, dataset)):
        try:
            truth = read_ground_truth(Path(info.root), clip.clip_id)
        except DatasetError as exc:
            raise CatalogError(f"{exc}.") from exc
        if athlete >= len(truth.quads):
            raise CatalogError(f"Clip '{clip.clip_id}' has {len(truth.quads)} athletes, none numbered {athlete}.")
        quads = truth.quads[athlete].copy()
        if jitter:
            quads = drift(quads, jitter, np.random.default_rng([seed, zlib.crc32(clip.clip_id.encode())]))
        quads[~truth.visible[athlete]] = np.nan
        tubes[clip.clip_id] = quads
    return tubes


def drift(quads: NDArray[np.float32], level: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Quads (F, 4, 2) moved and resized by errors that wander slowly from frame to frame.

    With s the square root of a quad's area, the centre is off by `level` · s in x and in y (standard deviation), and
    sides are longer by a factor exp(`level` / 2 · n), n a wandering normal number.
    """
    frames = len(quads)
    keep = np.exp(-1.0 / MEMORY_FRAMES)
    steps = rng.normal(size=(frames, 3)) * np.sqrt(1 - keep**2)
    errors = np.empty((frames, 3))
    errors[0] = rng.normal(size=3)
    for frame in range(1, frames):
        errors[frame] = keep * errors[frame - 1] + steps[frame]
    corners = quads.astype(np.float64)
    centre = corners.mean(axis=1, keepdims=True)
    sides = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    size = np.sqrt(sides[:, 0] * sides[:, 1])[:, None, None]
    moved = centre + level * size * errors[:, None, :2]
    return np.asarray(moved + (corners - centre) * np.exp(level / 2 * errors[:, 2])[:, None, None], np.float32)
