"""What is known to be true of a clip, in the frames that the pipeline sees: the one place that scales ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.procedural_folder import read_ground_truth
from models.geometry import polygon_iou, scale_quads


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of a clip, frame by frame.

    Attributes:
        quads: (A', L, 4, 2) float32, pixels of the normalised frame; finite also where the athlete is not visible.
        visible: (A', L) bool.
        masks: (A', L, h, w) bool, pixels of the source's frame; None: only quads are known or needed.
    """

    quads: NDArray[np.float32]
    visible: NDArray[np.bool_]
    masks: NDArray[np.bool_] | None = None

    def quads_in_sight(self) -> NDArray[np.float32]:
        """Quads (A', L, 4, 2) in pixels of the normalised frame, NaN where the athlete is not visible."""
        return np.where(self.visible[..., None, None], self.quads, np.float32(np.nan))


def read_truth(
    root: Path, clip_id: str, source_index: NDArray[np.int64], attrs: Mapping[str, Any], with_masks: bool = False
) -> Truth:
    """The ground truth of a clip, for its normalised frames and in their pixels.

    Args:
        root: folder of a dataset that knows its own truth.
        clip_id: the clip.
        source_index: (L,) the source frame behind each normalised frame, of the normalize artifact.
        attrs: attributes of the normalize artifact; `width`, `height`, `source_width` and `source_height` in pixels.
        with_masks: whether the pixel masks are needed too.

    Raises:
        DatasetError: the dataset has no truth for that clip.
        OSError, ValueError: the file can't be read.
    """
    known = read_ground_truth(root, clip_id)
    frame_wh = int(attrs["width"]), int(attrs["height"])
    source_wh = float(attrs["source_width"]), float(attrs["source_height"])
    return Truth(
        quads=scale_quads(known.quads[:, source_index], source_wh, frame_wh),
        visible=known.visible[:, source_index],
        masks=known.masks[:, source_index] if with_masks else None,
    )


def quad_overlaps(
    quads: NDArray[np.floating], true_quads: NDArray[np.floating], visible: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """IoU (A', L) of each true quad and the tube that follows its athlete; NaN where the athlete is not visible.

    Athletes are paired so that the overlaps are largest; a true athlete whom no tube follows has 0 in every frame.

    Args:
        quads: (A, L, 4, 2) of the tubes, in the pixels of the true ones.
        true_quads: (A', L, 4, 2); what it holds where nobody is visible doesn't count.
        visible: (A', L) bool.
    """
    # Here, as the records of runs hold figures that were measured long ago.
    from scipy.optimize import linear_sum_assignment

    true_quads = np.where(visible[..., None, None], true_quads, 0)
    pairs = np.where(visible, polygon_iou(quads[:, None], true_quads[None]), 0.0)  # (A, A', L)
    tubes, athletes = linear_sum_assignment(-pairs.sum(axis=2))
    found = np.zeros(visible.shape)
    found[athletes] = pairs[tubes, athletes]
    return np.where(visible, found, np.nan)
