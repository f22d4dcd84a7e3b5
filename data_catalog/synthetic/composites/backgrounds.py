"""What is behind the people: photographs, and places built of walls, grounds, posts and boards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.materials import MaterialsError, material_files

Image = NDArray[np.uint8]

_PHOTO_PX: Final = 720      # longer side that photographs are kept at
_LARGE_BYTES: Final = 700_000
_SURFACE_PX: Final = 256
_BLUISH: Final = 1.35       # textures with this much more blue than red are maps of bumps, not pictures


class Backgrounds:
    """Random backgrounds.

    Args:
        photos: folders of photographs.
        surfaces: folders of textures.

    Raises:
        MaterialsError: there are none.
    """

    def __init__(self, photos: Sequence[Path], surfaces: Sequence[Path] = ()) -> None:
        self._photos = _read(photos, _PHOTO_PX, 200)
        self._surfaces = [image for image in _read(surfaces, _SURFACE_PX, 128) if not _is_bump_map(image)]
        if not self._photos:
            raise MaterialsError(f"there are no photographs in {', '.join(map(str, photos))}; fetch the materials anew")

    def __call__(self, rng: np.random.Generator, size_wh: tuple[int, int]) -> Image:
        """(H, W, 3) uint8 RGB."""
        if self._surfaces and rng.random() < 0.5:
            return self._place(rng, size_wh)
        return _crop(self._photos[rng.integers(len(self._photos))], rng, size_wh)

    def _surface(self, rng: np.random.Generator, size_wh: tuple[int, int]) -> Image:
        """A texture, repeated or enlarged, in a light of its own."""
        texture = self._surfaces[rng.integers(len(self._surfaces))]
        times = int(rng.integers(1, 4))
        image = _crop(np.tile(texture, (times, times, 1)), rng, size_wh)
        return np.asarray(np.clip(image * (rng.uniform(0.5, 1.5) * rng.uniform(0.85, 1.15, 3)), 0, 255), np.uint8)

    def _place(self, rng: np.random.Generator, size_wh: tuple[int, int]) -> Image:
        """A wall or a view over a ground that recedes, with windows, boards and posts on it."""
        width, height = size_wh
        back = self._surface(rng, size_wh)
        if rng.random() < 0.4:
            back = _crop(self._photos[rng.integers(len(self._photos))], rng, size_wh)
        horizon = round(rng.uniform(0.2, 0.8) * height)
        ground = self._surface(rng, size_wh)
        spread = rng.uniform(0.3, 2.0) * width
        far = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        near = np.array([[0, horizon], [width, horizon], [width + spread, height], [-spread, height]], np.float32)
        view = cv2.warpPerspective(
            ground, cv2.getPerspectiveTransform(far, near), size_wh, borderMode=cv2.BORDER_REFLECT
        )
        back[horizon:] = view[horizon:]
        for _ in range(rng.integers(0, 8)):
            w, h = (int(rng.uniform(0.02, 0.4) * side) for side in size_wh)
            x, y = int(rng.integers(0, width)), int(rng.uniform(-0.1, 0.8) * height)
            patch = back[max(y, 0) : y + h, x : x + w]
            if patch.size:
                patch[:] = cv2.addWeighted(patch, 0.25, self._surface(rng, patch.shape[1::-1]), 0.75, 0)
        for _ in range(rng.integers(0, 4)):   # posts and rails
            ends = rng.uniform(0, 1, (2, 2)) * size_wh
            if rng.random() < 0.7:
                ends[1, 0] = ends[0, 0]
            colour = tuple(int(v) for v in rng.integers(0, 256, 3))
            a, b = (tuple(int(v) for v in end) for end in ends)
            cv2.line(back, a, b, colour, int(rng.integers(1, 9)), cv2.LINE_AA)
        return np.asarray(cv2.GaussianBlur(back, (0, 0), float(rng.uniform(0.3, 2.0))), np.uint8)


def _crop(image: Image, rng: np.random.Generator, size_wh: tuple[int, int]) -> Image:
    """A random piece at a random scale, mirrored or not."""
    height, width = image.shape[:2]
    aspect = size_wh[0] / size_wh[1] * rng.uniform(0.8, 1.25)
    wide = max(8, round(min(width, height * aspect) * rng.uniform(0.25, 1)))
    high = max(8, min(height, round(wide / aspect)))
    x, y = int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - high + 1))
    piece = image[y : y + high, x : x + wide]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    way = cv2.INTER_AREA if wide > size_wh[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(piece, size_wh, interpolation=way), np.uint8)


def _read(folders: Sequence[Path], longer_px: int, smallest_px: int) -> list[Image]:
    images = []
    for folder in folders:
        for file in material_files(folder, (".jpg", ".jpeg", ".png", ".webp")):
            large = file.stat().st_size > _LARGE_BYTES   # decoders that can halve a picture on the way do so
            image = cv2.imread(str(file), cv2.IMREAD_REDUCED_COLOR_2 if large else cv2.IMREAD_COLOR)
            if image is None or min(image.shape[:2]) < smallest_px:
                continue
            shrink = min(1.0, longer_px / max(image.shape[:2]))
            small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            images.append(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8))
    return images


def _is_bump_map(image: Image) -> bool:
    red, _, blue = image.reshape(-1, 3).mean(axis=0)
    return bool(blue > _BLUISH * red and blue > 180 and red > 90)
