"""Actors and photographs out of the materials: what moves in a synthetic sequence, and what it moves over.

An actor is one thing as it looks in several frames: cut-outs (h, w, 4) uint8 RGBA with straight alpha, tightly
cropped. Drawings and stamps look the same in all of them, game units and drawn athletes change their pose, and pieces
of photographs are things of no name at all, which a tracker must follow too.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.materials import material_files
from data_catalog.synthetic.sport.athlete import POSE, place_joints, turn
from data_catalog.synthetic.sport.figure import DrawnPerson, Look, diver_look, official_look, skater_look

Image = NDArray[np.uint8]

PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp")
MIN_SIDE_PX: Final = 20
MAX_SIDE_PX: Final = 320          # actors are kept no larger: crops show them at 40 to 120 px
MAX_PHOTO_PX: Final = 1600
_MIN_FILLED: Final = 0.2        # share of its box that a cut-out covers; thin lines cannot be followed
_MAX_FILLED: Final = 0.97       # more is a picture without a shape
_OPAQUE: Final = 128
_ANGLES: Final = {"spine": (-15, 100), "neck": (-25, 25), "hip": (-30, 135), "knee": (0, 145), "spread": (0, 35),
                  "ankle": (-40, 30), "arm": (-40, 190), "armout": (0, 90), "elbow": (0, 130)}  # fmt: skip


class Actors(Protocol):
    """A kind of actor; `frames` pictures of one of them."""

    def __call__(self, rng: np.random.Generator, frames: int) -> list[Image]:
        """`frames` pictures (h, w, 4) uint8 RGBA with straight alpha of one actor."""
        ...


class Drawings:
    """Cut-outs that look the same in every frame: `paths` of pictures with alpha."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)

    def __call__(self, rng: np.random.Generator, frames: int) -> list[Image]:
        """See `Actors`; unreadable and shapeless pictures are passed over."""
        for _ in range(200):
            found = read_cutout(self._paths[rng.integers(len(self._paths))])
            if found is not None:
                return [found] * frames
        raise ValueError("none of 200 pictures has a shape; the folder of materials holds something else")


class Units:
    """Game units: pictures of one folder whose names begin alike show one unit in several poses."""

    def __init__(self, paths: Sequence[Path]) -> None:
        groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
        for path in paths:
            groups[path.parent, path.stem.split("-")[0]].append(path)
        self._units = [group for group in groups.values() if len(group) > 1]

    def __call__(self, rng: np.random.Generator, frames: int) -> list[Image]:
        """See `Actors`."""
        for _ in range(200):
            group = self._units[rng.integers(len(self._units))]
            chosen = [read_cutout(group[index]) for index in rng.integers(len(group), size=frames)]
            pictures = [picture for picture in chosen if picture is not None]
            if len(pictures) == frames:
                return pictures
        raise ValueError("none of 200 game units could be read; the folder of materials holds something else")


class Pieces:
    """Round, ragged pieces of photographs."""

    def __init__(self, photos: Photos) -> None:
        self._photos = photos

    def __call__(self, rng: np.random.Generator, frames: int) -> list[Image]:
        """See `Actors`."""
        photo = self._photos(rng)
        sides = [int(rng.integers(60, 260)) for _ in range(2)]
        y, x = (int(rng.integers(0, max(1, photo.shape[axis] - sides[axis]))) for axis in (0, 1))
        height, width = sides
        piece = photo[y : y + height, x : x + width]
        return [tight(np.dstack([piece, _blob(piece.shape[:2], rng)]))] * frames


def _blob(shape: tuple[int, ...], rng: np.random.Generator) -> Image:
    """Alpha (h, w) of a smooth closed curve that fills the box, with bays and capes."""
    turn_of = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radius = 1 + sum(
        rng.uniform(0, 0.35) / wave * np.cos(wave * turn_of + rng.uniform(0, 2 * np.pi)) for wave in range(2, 7)
    )
    points = np.stack([np.cos(turn_of), np.sin(turn_of)], axis=1) * np.clip(radius, 0.35, None)[:, None]
    low, high = points.min(axis=0), points.max(axis=0)
    pixels = (points - low) / (high - low) * (np.array(shape[::-1]) - 1)
    alpha = np.zeros(shape, np.uint8)
    return np.asarray(cv2.fillPoly(alpha, [np.rint(pixels).astype(np.int32)], 255), np.uint8)


def athletes(rng: np.random.Generator, frames: int) -> list[Image]:
    """The procedural dataset's people in random poses, turning: the pose of each frame lies between two.

    Returns:
        `frames` pictures (h, w, 4) uint8 RGBA with straight alpha, each of its own size.
    """
    look: Look = (diver_look, skater_look, official_look)[rng.integers(3)](rng)
    ends = np.stack([_random_pose(rng), _random_pose(rng)])
    share = np.cumsum(rng.uniform(0, 0.5, frames))[:, None]
    wave = (1 - np.cos(np.pi * share)) / 2
    poses = ends[0] * (1 - wave) + ends[1] * wave
    pitch = rng.uniform(-np.pi, np.pi) * (rng.random() < 0.5) + np.cumsum(rng.normal(0, 0.3, frames))
    yaw = rng.uniform(-np.pi, np.pi) + np.cumsum(rng.normal(0, 0.4, frames))
    px_per_m = 110.0
    joints = turn(place_joints(poses, look.height_m), pitch, yaw) * px_per_m
    joints[..., 1] *= -1
    figure = DrawnPerson(joints[:, None], look, px_per_m)
    drawn = []
    for frame in range(frames):
        x0, y0, x1, y1 = figure.bounds(frame)
        layer = figure.draw(frame, 0, (x0, y0), (round(x1 - x0) + 1, round(y1 - y0) + 1))
        alpha = np.maximum(layer[..., 3:], 1).astype(np.float32) / 255
        colours = np.clip(layer[..., :3] / alpha, 0, 255).astype(np.uint8)   # from premultiplied to straight
        drawn.append(tight(np.dstack([colours, layer[..., 3]])))
    return drawn


def _random_pose(rng: np.random.Generator) -> NDArray[np.float64]:
    """(16,) degrees; every other one with both sides alike, as gymnasts and divers hold them."""
    alike = rng.random() < 0.5
    drawn: dict[str, float] = {}
    angles = []
    for name in POSE:
        stem = name.removesuffix("_l").removesuffix("_r")
        low, high = _ANGLES[stem]
        if not (alike and stem in drawn):
            drawn[stem] = low + (high - low) * rng.beta(1.2, 2.0)
        angles.append(drawn[stem])
    return np.asarray(angles)


class Photos:
    """Photographs and wallpapers, (h, w, 3) uint8 RGB, no side longer than 1600 px, kept in memory once read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._read = functools.lru_cache(maxsize=128)(_read_photo)

    def __call__(self, rng: np.random.Generator) -> Image:
        """One of them."""
        for _ in range(200):
            photo = self._read(self._paths[rng.integers(len(self._paths))])
            if photo is not None:
                return photo
        raise ValueError("none of 200 photographs could be read; the folder of materials holds something else")


def _read_photo(path: Path) -> Image | None:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None or min(picture.shape[:2]) < 2 * MIN_SIDE_PX:
        return None
    shrink = MAX_PHOTO_PX / max(picture.shape[:2])
    if shrink < 1:
        picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return np.asarray(picture, np.uint8)


@functools.lru_cache(maxsize=4096)
def read_cutout(path: Path) -> Image | None:
    """The picture (h, w, 4) uint8 RGBA of a file, tightly cropped, at most 320 px; None where it has no shape."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype != np.uint8:
        return None
    picture = np.ascontiguousarray(picture[..., [2, 1, 0, 3]])
    if not (picture[..., 3] >= _OPAQUE).any():
        return None
    cut = tight(np.asarray(picture, np.uint8))
    shrink = MAX_SIDE_PX / max(cut.shape[:2])
    if shrink < 1:
        cut = np.asarray(cv2.resize(cut, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
    filled = float((cut[..., 3] >= _OPAQUE).mean())
    if min(cut.shape[:2]) < MIN_SIDE_PX or not _MIN_FILLED <= filled <= _MAX_FILLED:
        return None
    return cut


def tight(picture: Image) -> Image:
    """A picture (H, W, 4) uint8 RGBA cut to the box of its opaque pixels; the whole of it where there are none."""
    rows, columns = (np.flatnonzero((picture[..., 3] >= _OPAQUE).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return picture
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


class Cast:
    """All kinds of actors, each drawn as often as its weight says, and the photographs.

    Raises:
        ValueError: there is no photograph, or no kind of actor.
    """

    def __init__(self, kinds: Mapping[str, tuple[float, Actors]], photos: Photos) -> None:
        if not kinds:
            raise ValueError("synthetic sequences need at least one kind of actor")
        self._actors = [actors for _, actors in kinds.values()]
        weights = np.array([weight for weight, _ in kinds.values()])
        self._weights = weights / weights.sum()
        self.photos = photos

    def actor(self, rng: np.random.Generator, frames: int) -> list[Image]:
        """`frames` pictures (h, w, 4) uint8 RGBA of one actor."""
        return self._actors[int(rng.choice(len(self._actors), p=self._weights))](rng, frames)


def open_cast(folders: Mapping[str, Path], people: Actors | None = None) -> Cast:
    """The cast of unpacked materials, by name and folder; `people` are rendered persons, if there are any.

    Raises:
        ValueError: the folders hold no photographs.
    """
    files = {name: material_files(folder, PICTURES) for name, folder in folders.items()}
    backgrounds = [path for name, paths in files.items() if name not in DRAWN for path in paths]
    if not backgrounds:
        raise ValueError(f"no photographs are among the materials {', '.join(folders)}; fetch one of their packages")
    photos = Photos(backgrounds)
    kinds: dict[str, tuple[float, Actors]] = {"athletes": (0.2, athletes), "pieces": (0.2, Pieces(photos))}
    if people is not None:
        kinds["people"] = (0.5, people)
    for name, (weight, kind) in DRAWN.items():
        if files.get(name):
            kinds[name] = (weight, kind(files[name]))
    return Cast(kinds, photos)


# Materials that hold cut-outs: how often each is drawn, and as what.
DRAWN: Final[dict[str, tuple[float, Callable[[Sequence[Path]], Actors]]]] = {
    "openclipart": (0.1, Drawings),
    "tuxpaint": (0.12, Drawings),
    "wesnoth": (0.12, Units),
}
