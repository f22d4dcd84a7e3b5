"""Who is in this box, to the pixel: the outline that MediaPipe's pose network draws beside its landmarks.

BlazePose sees a square of 256 x 256 pixels around one person, turned until they stand upright in it. It was made for
people who do fitness in front of a camera, and it holds for athletes too where the square is right: so the square is
carried from frame to frame by the landmarks that say where the person's hips are and which way is up, and where none is
known four turns are tried. Bazarevsky et al. 2020, arXiv:2006.10204; the network comes in the wheel of `mediapipe`
(Apache-2.0) and runs in LiteRT, the extra `teachers`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

SEEN_PX: Final = 256            # side of what the network sees
_POINTS: Final = (39, 5)        # landmarks: x, y, z and two logits
_HIPS: Final = 33               # the landmark between the hips, and
_REACH: Final = 34              # the one on the circle around the whole person
_ROOM: Final = 1.25             # the square is so much wider than the circle, as in MediaPipe's own pipeline
_FIRST_ROOM: Final = 1.4        # of the box's longer side, where no landmarks are known yet
_SURE: Final = 0.9              # presence from which no other turn is tried
_THERE: Final = 0.5             # presence from which landmarks say where the next square is
_PIECE: Final = 0.08            # of the largest piece of an outline: smaller ones are dropped


@dataclass(frozen=True, eq=False)
class Posture:
    """The square that holds a person: hips less the middle of their box (2,) in pixels, side, angle from upright."""

    offset: Floats
    side: float
    angle: float


@dataclass(frozen=True, eq=False)
class SeenPerson:
    """What the network says of the person in a box.

    Attributes:
        mask: (H, W) bool, the person's pixels in the frame.
        box: (4,) float64 xyxy around them.
        presence: 0 to 1, that there is a person at all.
        posture: where to look in the next frame; None where the landmarks are not to be trusted.
    """

    mask: NDArray[np.bool_]
    box: Floats
    presence: float
    posture: Posture | None


class PoseOutline:
    """See the file's head.

    Args:
        file: `pose_landmark_full.tflite`, or its lite or heavy sister.

    Raises:
        ModuleNotFoundError: LiteRT is not installed.
        ValueError: the file is no such network.
    """

    def __init__(self, file: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            with _notes_unheard():
                self._network = Interpreter(str(file), num_threads=1)
                self._network.allocate_tensors()
            [given] = self._network.get_input_details()
            wanted: list[dict[str, Any]] = self._network.get_output_details()
        except (ValueError, RuntimeError) as exc:
            raise ValueError(f"{file} is no pose network of MediaPipe ({str(exc).splitlines()[0]})") from exc
        places = {tuple(one["shape"].tolist()): one["index"] for one in wanted}
        shapes = {"landmarks": (1, _POINTS[0] * _POINTS[1]), "presence": (1, 1), "outline": (1, SEEN_PX, SEEN_PX, 1)}
        if given["shape"].tolist() != [1, SEEN_PX, SEEN_PX, 3] or not set(shapes.values()) <= set(places):
            raise ValueError(f"{file} is no pose network of MediaPipe: it has other inputs and outputs")
        self._given = given["index"]
        self._places = {name: places[shape] for name, shape in shapes.items()}

    def see(self, frame: Image, box: Floats, before: Posture | None = None) -> SeenPerson | None:
        """The person in a box.

        Args:
            frame: (H, W, 3) uint8 RGB.
            box: (4,) float64 xyxy in pixels, roughly around the person.
            before: what was seen of them a few frames earlier.

        Returns:
            None where nobody's outline lies in the box.
        """
        middle = (box[:2] + box[2:]) / 2
        tries = [] if before is None else [(middle + before.offset, before.side, before.angle)]
        tries += [(middle, _FIRST_ROOM * float((box[2:] - box[:2]).max()), turn * np.pi / 2) for turn in (0, 1, 2, -1)]
        best: _Look | None = None
        for number, (centre, side, angle) in enumerate(tries):
            look = self._look(frame, centre, side, angle)
            if best is None or look.presence > best.presence:
                best = look
            carried = before is not None and number == 0 and look.presence >= _THERE
            if carried or look.presence > _SURE:
                break
        if best is None:
            return None
        mask = best.mask(frame.shape[:2], box)
        if mask is None:
            return None
        return SeenPerson(mask, _around(mask), best.presence, best.posture(middle))

    def _look(self, frame: Image, centre: Floats, side: float, angle: float) -> _Look:
        to_frame = _square(centre, side, angle)
        square = cv2.warpAffine(frame, to_frame, (SEEN_PX, SEEN_PX), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        self._network.set_tensor(self._given, square[None].astype(np.float32) / 255)
        self._network.invoke()
        landmarks = self._network.get_tensor(self._places["landmarks"]).reshape(_POINTS)
        logits = self._network.get_tensor(self._places["outline"])[0, ..., 0]
        presence = float(self._network.get_tensor(self._places["presence"])[0, 0])
        points = landmarks[:, :2] @ to_frame[:, :2].T + to_frame[:, 2]
        return _Look(presence, points, np.asarray(logits, np.float32), to_frame)


@contextmanager
def _notes_unheard() -> Iterator[None]:
    """LiteRT writes to the terminal's error stream what it will compute with, past Python and its settings."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@dataclass(frozen=True, eq=False)
class _Look:
    """One pass: presence, landmarks (39, 2) in the frame, outline (256, 256) logits, and the square's map (2, 3)."""

    presence: float
    points: Floats
    logits: NDArray[np.float32]
    to_frame: Floats

    def mask(self, shape: tuple[int, ...], box: Floats) -> NDArray[np.bool_] | None:
        """The piece (H, W) that fills most of the box, and others that are not small beside it."""
        height, width = shape[:2]
        likely = 1 / (1 + np.exp(-np.clip(self.logits, -30, 30)))
        there = cv2.warpAffine(likely, self.to_frame, (width, height), flags=cv2.INTER_LINEAR) > 0.5
        count, pieces, about, _ = cv2.connectedComponentsWithStats(there.astype(np.uint8), connectivity=8)
        x0, y0, x1, y1 = np.clip(np.rint(box).astype(int), 0, [width, height, width, height])
        inside = np.bincount(pieces[y0:y1, x0:x1].ravel(), minlength=count)
        inside[0] = 0
        if not inside.any():
            return None
        kept = about[:, cv2.CC_STAT_AREA] > _PIECE * about[inside.argmax(), cv2.CC_STAT_AREA]
        kept[0] = False
        return np.asarray(kept[pieces])

    def posture(self, middle: Floats) -> Posture | None:
        """Where the landmarks say that the person is, beside the middle (2,) of their box."""
        if self.presence < _THERE:
            return None
        hips, reach = self.points[_HIPS], self.points[_REACH]
        up = reach - hips
        return Posture(hips - middle, float(2 * _ROOM * np.hypot(*up)), float(np.arctan2(up[0], -up[1])))


def _square(centre: Floats, side: float, angle: float) -> Floats:
    """(2, 3) map from pixels of the square, 256 a side and turned by `angle` clockwise, to pixels of the frame."""
    scale = side / SEEN_PX
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, centre - turn @ np.full(2, SEEN_PX / 2)])


def _around(mask: NDArray[np.bool_]) -> Floats:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
