"""What another tracker did to the tubes: overlap, size, and where the truth is known, overlap with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import Workspace
from data_catalog.store import ArtifactDamaged
from flows.experiments.comparison_record import TubesRow, interval_record
from flows.experiments.contenders import Contender
from flows.runs.clip_tube import true_quads
from flows.runs.finished import FinishedRun
from models.geometry import polygon_iou
from models.metrics.comparison import mean_difference, mean_interval


@dataclass(frozen=True)
class ClipTubes:
    """Two tubes of one clip.

    Attributes:
        overlap: mean IoU of their quads over athletes and frames.
        sizes: positions that each tube mask selects.
        truth: mean IoU of each with the truth where the athlete is visible; None without truth.
    """

    overlap: float
    sizes: tuple[int, int]
    truth: tuple[float, float] | None


def compare_tubes(
    workspace: Workspace, baseline: Contender, other: Contender, clips: Sequence[str], repetitions: int
) -> TubesRow | None:
    """Means over clips with bootstrap intervals; None where both stand on the same tubes, or none can be read."""
    a, b = baseline.first, other.first
    if all(a.keys.get("masks", {}).get(clip) == b.keys.get("masks", {}).get(clip) for clip in clips):
        return None
    tubes = [tube for clip in clips if (tube := read_tubes(workspace, (a, b), clip)) is not None]
    if not tubes:
        return None
    sizes = np.array([tube.sizes for tube in tubes], np.float64)
    row: TubesRow = {
        "baseline": baseline.label,
        "contender": other.label,
        "trackers": [a.config.track.tracker, b.config.track.tracker],
        "clips": len(tubes),
        "iou": interval_record(mean_interval(np.array([tube.overlap for tube in tubes]), repetitions)),
        "size": [float(side) for side in sizes.mean(axis=0)],
        "size_difference": interval_record(mean_difference(sizes[:, 1], sizes[:, 0], repetitions)),
    }
    known = np.array([tube.truth for tube in tubes if tube.truth is not None], np.float64)
    if len(known):
        row["truth_iou"] = [float(side) for side in known.mean(axis=0)]
        row["truth_iou_difference"] = interval_record(mean_difference(known[:, 1], known[:, 0], repetitions))
    return row


def read_tubes(workspace: Workspace, runs: tuple[FinishedRun, FinishedRun], clip: str) -> ClipTubes | None:
    """Both tubes of a clip; None where an artifact is gone or the two follow different numbers of athletes."""
    try:
        quads, sizes = [], []
        for run in runs:
            quads.append(workspace.store.read("track", run.keys["track"][clip], ["quads"]).arrays["quads"])
            mask = workspace.store.read("masks", run.keys["masks"][clip], ["mask"]).arrays["mask"]
            sizes.append(int(np.count_nonzero(mask)))
    except (KeyError, FileNotFoundError):
        return None
    except ArtifactDamaged as exc:
        workspace.notice(workspace.discard(exc))
        return None
    if quads[0].shape != quads[1].shape:
        return None
    truth = _truth(workspace, runs[0], clip)
    with_truth = None
    if truth is not None and truth.shape == quads[0].shape:
        visible = np.isfinite(truth).all(axis=(2, 3))
        first, second = (float(polygon_iou(one[visible], truth[visible]).mean()) for one in quads)
        with_truth = first, second
    overlap = float(polygon_iou(quads[0], quads[1]).mean())
    return ClipTubes(overlap, (sizes[0], sizes[1]), with_truth)


def _truth(workspace: Workspace, run: FinishedRun, clip: str) -> NDArray[np.floating] | None:
    try:
        source = workspace.store.read("normalize", run.keys["normalize"][clip], ["source_index"])
    except (KeyError, FileNotFoundError):
        return None
    except ArtifactDamaged as exc:
        workspace.notice(workspace.discard(exc))
        return None
    return true_quads(workspace, run.dataset, clip, source.arrays["source_index"], source.attrs)
