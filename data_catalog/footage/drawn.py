"""Labels out of outlines that somebody drew."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from data_catalog.footage.labelled import LabelledPerson
from data_catalog.tracks.benchmarks import mask_boxes

EVERY: Final = 2              # frames between two labels: neighbours teach the same
_MIN_PIXELS: Final = 200      # of an outline that is learned from


def drawn_person(masks: NDArray[np.bool_]) -> list[LabelledPerson]:
    """The one whose outlines these are; nobody where no outline is large enough.

    Args:
        masks: (F, H, W) bool, of every frame of a clip.
    """
    usable = [frame for frame in range(0, len(masks), EVERY) if masks[frame].sum() > _MIN_PIXELS]
    return [labels_of(masks, usable)] if usable else []


def labels_of(masks: NDArray[np.bool_], frames: list[int]) -> LabelledPerson:
    """Outlines of some frames and the boxes around them.

    Args:
        masks: (F, H, W) bool, of every frame of a clip.
        frames: numbers of those that are labels; their outlines aren't empty.
    """
    corners = [mask_boxes(masks[frame])[0] for frame in frames]
    boxes = [np.concatenate([box[:2], box[:2] + box[2:]]) for box in corners]
    return LabelledPerson.of(frames, boxes, [masks[frame] for frame in frames])
