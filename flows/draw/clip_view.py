"""What the pictures of one clip are drawn from: arrays and plain numbers, checked once.

Coordinates are continuous pixels of the normalised frame: pixel i spans [i, i+1), the frame spans [0, W]×[0, H].
Nothing here reads a store; whoever draws fetches the arrays first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.draw.poses import ClipPoses


@dataclass(frozen=True)
class CropWindow:
    """The square of the normalised frame that the network sees.

    Attributes:
        left: Left edge in pixels of the normalised frame.
        top: Upper edge in pixels.
        size: Side in pixels.
    """

    left: float
    top: float
    size: float


@dataclass(frozen=True, eq=False)
class ClipView:
    """One clip with its tubes, ready to be drawn.

    Attributes:
        clip_id: Name of the clip.
        dataset: Name of its dataset.
        frames: (L, H, W, 3) uint8 RGB, the normalised frames.
        quads: (A, L, 4, 2) float, corners of A athletes in pixels. A quad with a non-finite corner isn't drawn.
        coverage: (L, Hf, Wf) float in [0, 1], the fraction of each grid cell that the united tubes cover.
        crop: The window that the grid divides.
        tau: A cell is selected where coverage >= tau.
        tracker_scores: (A, L) float, or None where the tracker has none. Non-finite means "not scored".
        lost: (A, L) bool, frames where the tracker says that it lost the athlete; None means never.
        true_quads: (A', L, 4, 2) float ground truth, or None.
        score: The label that judges gave, or None where there is none.
        poses: The athlete's joints; None where the dataset has none of this clip.
    """

    clip_id: str
    dataset: str
    frames: NDArray[np.uint8]
    quads: NDArray[np.floating]
    coverage: NDArray[np.floating]
    crop: CropWindow
    tau: float = 0.5
    tracker_scores: NDArray[np.floating] | None = None
    lost: NDArray[np.bool_] | None = None
    true_quads: NDArray[np.floating] | None = None
    score: float | None = None
    poses: ClipPoses | None = None

    def __post_init__(self) -> None:
        """Check that all arrays speak of the same frames.

        Raises:
            ValueError: A shape or dtype differs from the above; the message names the clip and the array.
        """
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            self._refuse("frames", "(L, H, W, 3) uint8", self.frames)
        length = len(self.frames)
        if length == 0:
            raise ValueError(f"clip '{self.clip_id}' has no frames to draw")
        if self.quads.ndim != 4 or self.quads.shape[1:] != (length, 4, 2):
            self._refuse("quads", f"(athletes, {length}, 4, 2)", self.quads)
        if self.coverage.ndim != 3 or len(self.coverage) != length or 0 in self.coverage.shape:
            self._refuse("coverage", f"({length}, rows, columns)", self.coverage)
        per_frame = self.quads.shape[:2]
        if self.tracker_scores is not None and self.tracker_scores.shape != per_frame:
            self._refuse("tracker_scores", str(per_frame), self.tracker_scores)
        if self.lost is not None and self.lost.shape != per_frame:
            self._refuse("lost", str(per_frame), self.lost)
        truth = self.true_quads
        if truth is not None and (truth.ndim != 4 or truth.shape[1:] != (length, 4, 2)):
            self._refuse("true_quads", f"(athletes, {length}, 4, 2)", truth)
        if self.poses is not None and len(self.poses.joints) != length:
            self._refuse("poses", f"({length}, joints, 3)", self.poses.joints)

    def _refuse(self, name: str, expected: str, found: NDArray[np.generic]) -> None:
        raise ValueError(
            f"clip '{self.clip_id}': {name} should have shape {expected}, found {found.shape} {found.dtype}; "
            "run the stage that writes it again"
        )

    @property
    def athletes(self) -> int:
        """How many tubes the clip has."""
        return int(self.quads.shape[0])

    @property
    def frame_wh(self) -> tuple[int, int]:
        """Width and height of the normalised frame in pixels."""
        return int(self.frames.shape[2]), int(self.frames.shape[1])

    def selected(self, index: int) -> NDArray[np.bool_]:
        """Cells (Hf, Wf) that frame `index` selects: coverage >= tau."""
        chosen: NDArray[np.bool_] = self.coverage[index] >= self.tau
        return chosen

    def is_lost(self, athlete: int, index: int) -> bool:
        """Whether the tracker had lost this athlete in this frame."""
        return bool(self.lost[athlete, index]) if self.lost is not None else False

    def tracker_score(self, athlete: int, index: int) -> float | None:
        """The tracker's score in this frame, or None where there is no finite one."""
        if self.tracker_scores is None or not np.isfinite(self.tracker_scores[athlete, index]):
            return None
        return float(self.tracker_scores[athlete, index])


def evenly_chosen(length: int, count: int) -> list[int]:
    """Up to `count` frame indices spread evenly over `length` frames, first and last included."""
    if length < 1 or count < 1:
        raise ValueError(f"cannot choose {count} of {length} frames")
    return sorted({int(i) for i in np.linspace(0, length - 1, min(count, length)).round()})
