"""A clip's tubes and its tube mask as arrays, which a notebook shows as the pictures of `tubeflow inspect`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.runs.clip_tube import ClipTube


@dataclass(frozen=True, eq=False)
class Tubes:
    """The tubes of one clip, one an athlete; in a notebook the clip's contact sheet.

    Attributes:
        clip_id: the clip.
        dataset: its dataset.
        quads: (A, L, 4, 2) float32, the corners of A athletes in L frames, clockwise, in pixels of the frames below.
        scores: (A, L) float32, the tracker's own score; NaN where it has none.
        lost: (A, L) bool, where the tracker says that it lost the athlete.
        frames: (L, H, W, 3) uint8 RGB, the normalised frames.
        fps: frames a second with which they are shown.
    """

    clip_id: str
    dataset: str
    quads: NDArray[np.float32] = field(repr=False)
    scores: NDArray[np.float32] = field(repr=False)
    lost: NDArray[np.bool_] = field(repr=False)
    frames: NDArray[np.uint8] = field(repr=False)
    fps: float
    _drawn: ClipTube = field(repr=False)

    @classmethod
    def of(cls, tube: ClipTube) -> Tubes:
        """The tubes of a clip as they are drawn."""
        view = tube.view
        quads = np.asarray(view.quads, np.float32)
        scores = np.full(quads.shape[:2], np.nan) if view.tracker_scores is None else view.tracker_scores
        lost = np.zeros(quads.shape[:2], np.bool_) if view.lost is None else view.lost
        return cls(
            view.clip_id, view.dataset, quads, np.asarray(scores, np.float32), lost, view.frames, float(tube.fps), tube
        )

    def _repr_png_(self) -> bytes:
        from flows.draw.sheet import contact_sheet  # loads what draws, which the arrays don't need

        return _picture(lambda path: contact_sheet(self._drawn.view, path))


@dataclass(frozen=True, eq=False)
class Masks:
    """The tube mask of one clip; in a notebook a picture of how it comes about: track, cover, select.

    Attributes:
        clip_id: the clip.
        dataset: its dataset.
        mask: (N, T, Hf, Wf) bool, the grid cells that each step of each of N segments selects.
        coverage: (L, Hf, Wf) float32 in [0, 1], the fraction of each cell that the quads of a frame cover.
        starts: first frame of each segment.
        segment_length: frames of a segment.
        tau: a cell is selected where its coverage reaches this in one of a step's frames.
    """

    clip_id: str
    dataset: str
    mask: NDArray[np.bool_] = field(repr=False)
    coverage: NDArray[np.float32] = field(repr=False)
    starts: tuple[int, ...]
    segment_length: int
    tau: float
    _drawn: ClipTube = field(repr=False)

    @classmethod
    def of(cls, tube: ClipTube, starts: tuple[int, ...], segment_length: int) -> Masks:
        """The mask of a clip, with the segments that it was made for."""
        view = tube.view
        coverage = np.asarray(view.coverage, np.float32)
        return cls(view.clip_id, view.dataset, tube.mask, coverage, starts, segment_length, view.tau, tube)

    def _repr_png_(self) -> bytes:
        from flows.draw.pipeline_picture import tube_strip  # as above

        length = self.segment_length
        return _picture(lambda path: tube_strip(self._drawn.view, self.mask, self.starts, path, segment_length=length))


def _picture(draw: Callable[[Path], Path]) -> bytes:
    """The PNG that a function writes."""
    with tempfile.TemporaryDirectory() as folder:
        return draw(Path(folder) / "picture.png").read_bytes()
