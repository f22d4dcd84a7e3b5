"""Pictures to train a detector of people on: people over photographs and synthetic places, and where they can be seen.

Everything that a person could be taken for is there without being one: posts, boards, animals, fruit, vehicles,
furniture, seated crowds far off. About a picture in seven has nobody in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.composites.backgrounds import Backgrounds
from data_catalog.synthetic.composites.camera_faults import spoil, streak
from data_catalog.synthetic.materials import material_files
from data_catalog.synthetic.people.people_pool import PeoplePool

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]

SMALLEST: Final = 0.045      # a person's longer side, in shares of the picture's longer one
LARGEST: Final = 0.62
MIN_SEEN: Final = 0.35       # of a person; who is hidden more has no box
MIN_SIDE_PX: Final = 4
_THING_PX: Final = 200
# Folders whose pictures are of people, or of things with people on them.
_WITH_PEOPLE: Final = (
    "people", "recreation", "sports", "hobbies", "religion", "clothes", "money", "special", "seasonal",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture (H, W, 3) uint8 RGB and the visible people's boxes (k, 4) float32 xyxy."""

    image: Image
    boxes: Boxes


def read_things(folders: Sequence[Path], limit: int = 700) -> list[Image]:
    """Cut-outs (h, w, 4) uint8 RGBA of things that are not people, at most `limit`, spread over the folders' files."""
    files = [
        path
        for folder in folders
        for path in material_files(folder, (".png",))
        if not any(part in _WITH_PEOPLE for part in path.relative_to(folder).parts)
    ]
    step = max(1, len(files) // limit)
    things = []
    for file in files[::step]:
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3 or image.shape[2] != 4 or min(image.shape[:2]) < 12:
            continue
        shrink = min(1.0, _THING_PX / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        if min(small.shape[:2]) >= 8:
            things.append(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGRA2RGBA), np.uint8))
    return things


@dataclass
class Composer:
    """Makes scenes.

    Attributes:
        people: who may be in them.
        things: cut-outs (h, w, 4) of what is not a person.
        backgrounds: see there.
        ready: whole scenes that are mixed in as they are, cut to size: frames of the procedural dataset.
        ready_share: how many of the scenes those are.
    """

    people: PeoplePool
    things: Sequence[Image]
    backgrounds: Backgrounds
    ready: Sequence[Scene] = field(default_factory=list)
    ready_share: float = 0.12

    def __call__(self, rng: np.random.Generator, size_wh: tuple[int, int]) -> Scene:
        """A scene of `size_wh` pixels."""
        if self.ready and rng.random() < self.ready_share:
            return _cut(self.ready[int(rng.integers(len(self.ready)))], size_wh, rng)
        image = self.backgrounds(rng, size_wh)
        for _ in range(rng.integers(0, 4)):
            self._add_thing(image, rng)
        seen: list[NDArray[np.bool_]] = []
        whole: list[int] = []
        for longer in self._sizes(rng, max(size_wh)):
            mask = self._add_person(image, longer, rng)
            if mask is not None:
                seen = [other & ~mask for other in seen]
                seen.append(mask)
                whole.append(int(mask.sum()))
        if rng.random() < 0.3:
            cover = self._add_thing(image, rng)
            seen = [mask & ~cover for mask in seen]
        boxes = [_tight_box(mask) for mask, area in zip(seen, whole, strict=True) if mask.sum() >= MIN_SEEN * area > 0]
        kept = np.asarray([box for box in boxes if min(box[2:] - box[:2]) >= MIN_SIDE_PX], np.float32).reshape(-1, 4)
        return Scene(spoil(image, rng), kept)

    @staticmethod
    def _sizes(rng: np.random.Generator, longer: int) -> list[int]:
        """Longer sides of the people, far ones first: nobody, one or a few anywhere, or a group of one size."""
        kind = rng.random()
        if kind < 0.14:
            return []
        count = 1 if kind < 0.5 else int(rng.integers(2, 5)) if kind < 0.9 else int(rng.integers(5, 10))
        shares = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST), count))
        if kind >= 0.9:
            shares = np.exp(rng.uniform(np.log(SMALLEST), np.log(0.2))) * rng.uniform(0.8, 1.25, count)
        return sorted(round(share * longer) for share in shares)

    def _add_person(self, image: Image, longer: int, rng: np.random.Generator) -> NDArray[np.bool_] | None:
        cutout = self.people[int(rng.integers(len(self.people)))]
        if rng.random() < 0.5:
            cutout = cutout[:, ::-1]
        scaled = _scale(cutout, longer)
        scaled = _suit(scaled, image, rng)
        height, width = image.shape[:2]
        # Mostly inside; some are cut by the edge, as athletes are when a camera lags.
        x = round(rng.uniform(-0.25 * scaled.shape[1], width - 0.75 * scaled.shape[1]))
        y = round(rng.uniform(-0.2 * scaled.shape[0], height - 0.8 * scaled.shape[0]))
        mask = _lay(streak(scaled, rng), image, x, y)
        return mask if mask.any() else None

    def _add_thing(self, image: Image, rng: np.random.Generator) -> NDArray[np.bool_]:
        height, width = image.shape[:2]
        thing = self.things[int(rng.integers(len(self.things)))] if self.things else _board(rng)
        if rng.random() < 0.25:
            thing = _board(rng)
        longer = round(float(np.exp(rng.uniform(np.log(0.05), np.log(0.6)))) * max(width, height))
        scaled = _scale(_turn(thing, rng), max(longer, 6))
        return _lay(scaled, image, int(rng.integers(-20, width - 10)), int(rng.integers(-20, height - 10)))


def _scale(cutout: Image, longer: int) -> Image:
    """With the longer side `longer`, colours weighted by alpha so that nothing of the empty part bleeds in."""
    scale = longer / max(cutout.shape[:2])
    size = tuple(max(2, round(side * scale)) for side in cutout.shape[1::-1])
    alpha = cutout[..., 3:].astype(np.float32) / 255
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(np.dstack([cutout[..., :3] * alpha, alpha * 255]), size, interpolation=way)
    colours = small[..., :3] / np.maximum(small[..., 3:] / np.float32(255), np.float32(1e-3))
    return np.asarray(np.clip(np.dstack([colours, small[..., 3:]]), 0, 255), np.uint8)


def _turn(cutout: Image, rng: np.random.Generator) -> Image:
    turned = np.rot90(cutout, int(rng.integers(4))) if rng.random() < 0.3 else cutout
    return np.ascontiguousarray(turned[:, ::-1] if rng.random() < 0.5 else turned)


def _board(rng: np.random.Generator) -> Image:
    """A post, a board or a stripe of one colour, some of them round at the top: what is taken for people most."""
    width, height = int(rng.integers(6, 60)), int(rng.integers(40, 200))
    colour = rng.integers(0, 256, 3)
    board = np.zeros((height, width, 4), np.uint8)
    if rng.random() < 0.3:
        cv2.circle(board, (width // 2, width // 2), width // 2, (1, 1, 1, 255), -1)
        board[width // 2 :, :, 3] = 255
    else:
        board[..., 3] = 255
    shade = np.linspace(rng.uniform(0.6, 1), rng.uniform(0.6, 1), height)[:, None, None]
    board[..., :3] = np.clip(colour * shade, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(board.transpose(1, 0, 2)) if rng.random() < 0.2 else board


def _suit(cutout: Image, image: Image, rng: np.random.Generator) -> Image:
    """Brightness and tint moved towards the picture's, as one light and one camera would have it."""
    if rng.random() < 0.25:
        return cutout
    share = rng.uniform(0, 0.6)
    person = np.array(cv2.mean(cutout, (cutout[..., 3] > 128).astype(np.uint8))[:3], np.float64)
    around = np.array(cv2.mean(image)[:3], np.float64)
    gain = ((1 - share) * person + share * around) / np.maximum(person, 8)
    suited = cutout.copy()
    suited[..., :3] = np.clip(cutout[..., :3] * np.clip(gain * rng.uniform(0.75, 1.3), 0.25, 3), 0, 255)
    return suited


def _lay(cutout: Image, image: Image, x: int, y: int) -> NDArray[np.bool_]:
    """Draw in place with the top left corner at (x, y); returns where (H, W) it now covers the picture."""
    mask = np.zeros(image.shape[:2], np.bool_)
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + cutout.shape[1], image.shape[1]), min(y + cutout.shape[0], image.shape[0])
    if x1 <= x0 or y1 <= y0:
        return mask
    part = cutout[y0 - y : y1 - y, x0 - x : x1 - x]
    alpha = part[..., 3:].astype(np.float32) / 255
    spot = image[y0:y1, x0:x1]
    spot[:] = np.rint(part[..., :3] * alpha + spot * (1 - alpha)).astype(np.uint8)
    mask[y0:y1, x0:x1] = part[..., 3] >= 110
    return mask


def _tight_box(mask: NDArray[np.bool_]) -> Boxes:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.asarray([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def _cut(scene: Scene, size_wh: tuple[int, int], rng: np.random.Generator) -> Scene:
    """A piece of a ready scene that holds all of its people, scaled to `size_wh` and spoilt."""
    height, width = scene.image.shape[:2]
    aspect = size_wh[0] / size_wh[1]
    wide = min(width, height * aspect) * rng.uniform(0.6, 1)
    high = wide / aspect
    x, y = rng.uniform(0, width - wide), rng.uniform(0, height - high)
    if len(scene.boxes):   # moved so that people are inside, as far as the piece can hold them
        low, high_corner = scene.boxes[:, :2].min(axis=0), scene.boxes[:, 2:].max(axis=0)
        x = float(np.clip(np.clip(x, high_corner[0] - wide, low[0]), 0, width - wide))
        y = float(np.clip(np.clip(y, high_corner[1] - high, low[1]), 0, height - high))
    scale = np.array([size_wh[0] / wide, size_wh[1] / high])
    place = np.column_stack([np.diag(scale), -scale * [x, y]]).astype(np.float32)
    image = cv2.warpAffine(scene.image, place, size_wh, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    boxes = scene.boxes * np.tile(np.diag(place[:, :2]), 2) + np.tile(place[:, 2], 2)
    cut = np.clip(boxes, 0, np.tile(size_wh, 2)).astype(np.float32)
    if rng.random() < 0.5:
        image, cut = image[:, ::-1], np.stack([size_wh[0] - cut[:, 2], cut[:, 1], size_wh[0] - cut[:, 0], cut[:, 3]], 1)
    kept = (cut[:, 2:] - cut[:, :2]).min(axis=1, initial=np.inf) >= MIN_SIDE_PX
    return Scene(spoil(np.ascontiguousarray(image), rng), cut[kept])
