"""What a tracker returns, what it promises, and the plain frame loop that most of them use."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_SIDE_PX = 4.0   # below this a box holds too few pixels to recognise anything by


@dataclass(frozen=True, eq=False)
class TrackStep:
    """One athlete in one frame.

    Attributes:
        quad: (4, 2) float32 corners in pixels, clockwise (y down); continuous coordinates, pixel i spans [i, i+1).
        score: confidence in [0, 1], comparable only between frames of one tracker.
        lost: the target was not found; `quad` is then the last one that was.
        mask: (H, W) bool pixels of the target, from trackers that segment.
    """

    quad: NDArray[np.float32]
    score: float
    lost: bool = False
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Tube:
    """One athlete through a clip: `quads` (L, 4, 2) float32, `scores` (L,) float32, `lost` (L,) bool, `masks` or None.

    Frame 0 holds the box that was given, with score 1.
    """

    quads: NDArray[np.float32]
    scores: NDArray[np.float32]
    lost: NDArray[np.bool_]
    masks: list[NDArray[np.bool_] | None] | None = None

    def __post_init__(self) -> None:
        length = len(self.quads)
        if self.quads.shape != (length, 4, 2) or self.scores.shape != (length,) or self.lost.shape != (length,):
            raise ValueError(
                f"a tube needs quads (L, 4, 2), scores (L,), lost (L,); "
                f"got {self.quads.shape}, {self.scores.shape}, {self.lost.shape}"
            )


@runtime_checkable
class Tracker(Protocol):
    """Follows what a box holds. The same frames and boxes have the same quads, whatever ran before."""

    def init(self, frame: NDArray[np.uint8], box: ArrayLike) -> None:
        """Start on `frame` (H, W, 3) uint8 RGB with `box` (4,) xyxy in pixels; forgets everything earlier."""

    def update(self, frame: NDArray[np.uint8]) -> TrackStep:
        """Find the target in the next `frame` (H, W, 3) uint8 RGB."""

    def track(self, frames: NDArray[np.uint8], boxes: NDArray[np.float32]) -> list[Tube]:
        """Follow each of `boxes` (A, 4), given in the first of `frames` (L, H, W, 3), to the end."""


@runtime_checkable
class ManyTracker(Tracker, Protocol):
    """A tracker that is quicker with several clips at a time."""

    def track_many(
        self, clips: Sequence[tuple[NDArray[np.uint8], NDArray[np.float32]]]
    ) -> list[list[Tube] | ValueError]:
        """`track` for each of `clips` (frames, boxes); where it would raise ValueError, that stands in its place."""


class FrameLoopTracker(ABC):
    """Gives a tracker with `init` and `update` the whole-clip `track`."""

    @abstractmethod
    def init(self, frame: NDArray[np.uint8], box: ArrayLike) -> None:
        """See `Tracker.init`."""

    @abstractmethod
    def update(self, frame: NDArray[np.uint8]) -> TrackStep:
        """See `Tracker.update`."""

    def track(self, frames: NDArray[np.uint8], boxes: NDArray[np.float32]) -> list[Tube]:
        """See `Tracker.track`."""
        return [self._track_one(frames, box) for box in np.asarray(boxes, np.float32).reshape(-1, 4)]

    def _track_one(self, frames: NDArray[np.uint8], box: NDArray[np.float32]) -> Tube:
        self.init(frames[0], box)
        steps = [TrackStep(rectangle(box), 1.0), *(self.update(frame) for frame in frames[1:])]
        masks = [step.mask for step in steps]
        return Tube(
            quads=np.stack([step.quad for step in steps]).astype(np.float32),
            scores=np.asarray([step.score for step in steps], np.float32),
            lost=np.asarray([step.lost for step in steps], bool),
            masks=masks if any(mask is not None for mask in masks) else None,
        )


def rectangle(box: ArrayLike) -> NDArray[np.float32]:
    """The box (4,) xyxy as a quad (4, 2), clockwise from the top left."""
    x1, y1, x2, y2 = np.asarray(box, np.float32)
    return np.asarray([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)


def box_inside(box: ArrayLike, frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`box` (4,) xyxy cut to the frame.

    Raises:
        ValueError: it is not finite, or less than 4 pixels of a side are in the frame.
    """
    height, width = frame.shape[:2]
    given = np.asarray(box, np.float64).reshape(4)
    cut = np.clip(given, 0, [width, height, width, height])
    if not np.isfinite(given).all() or min(cut[2] - cut[0], cut[3] - cut[1]) < MIN_SIDE_PX:
        numbers = ", ".join(f"{value:g}" for value in given)
        raise ValueError(
            f"first box ({numbers}) has less than {MIN_SIDE_PX:g} px of a side in the {width}x{height} frame"
        )
    return np.asarray(cut, np.float64)
