"""Pieces that both arenas are made of: noise, spectators, banners, and the record of a built scene."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.sport.figure import Colour

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]

_SPONSORS: Final = (
    "TUBEFLOW", "AQUA+", "NORDKAFE", "VELO 9", "LUMEN", "HALCYON", "RIVERBANK", "OSTRA AIR", "PIXELA", "MERIDIAN",
)  # fmt: skip
_CLOTHES: Final[tuple[Colour, ...]] = (
    (118, 50, 56), (52, 66, 106), (150, 150, 150), (44, 48, 58), (140, 120, 66), (62, 92, 76), (102, 78, 104),
    (82, 106, 128), (128, 90, 72),
)  # fmt: skip
_FACES: Final[tuple[Colour, ...]] = ((168, 140, 122), (146, 114, 94), (114, 84, 66), (86, 64, 52))


@dataclass(frozen=True)
class Spectator:
    """A moving onlooker: seat in panorama pixels, head radius, colours, and how they bob and wave."""

    x: float
    y: float
    radius: float
    face: Colour
    coat: Colour
    rate: float
    phase: float

    def paint(self, frame: Image, time_sec: float, corner: Floats) -> None:
        """Draw at `time_sec` into `frame`, (H, W, 3) uint8 RGB, in place; `corner` (2,): its top left panorama x, y."""
        x, y = self.x - corner[0], self.y - corner[1]
        reach = 4 * self.radius
        if not (-reach < x < frame.shape[1] + reach and -reach < y < frame.shape[0] + reach):
            return
        beat = np.sin(self.rate * time_sec + self.phase)
        y = y - self.radius * (0.5 + 0.5 * beat)
        seat_person(frame, x, y, self.radius, self.face, self.coat)
        for side in (-1.0, 1.0):
            shoulder = (round((x + side * 1.3 * self.radius) * 8), round((y + 1.6 * self.radius) * 8))
            lift = 1.4 + 1.1 * np.sin(self.rate * time_sec + self.phase + side)
            hand = (round((x + side * 1.9 * self.radius) * 8), round((y - lift * self.radius) * 8))
            cv2.line(frame, shoulder, hand, self.coat, max(1, round(self.radius * 0.6)), cv2.LINE_AA, 3)


@dataclass(frozen=True, eq=False)
class Arena:
    """A built arena: panorama (Hp, Wp, 3) RGB uint8, its moving onlookers, and its shimmering water if any."""

    panorama: Image
    spectators: tuple[Spectator, ...]
    ripples: Image | None = None  # (h, w) uint8 added to the water
    water_row: float = 0.0  # panorama y where the water begins


def noise(height: int, width: int, cell: int, rng: np.random.Generator) -> Floats:
    """Smooth noise (height, width) in about -1..1 with features of `cell` pixels."""
    coarse = rng.uniform(-1.0, 1.0, (height // cell + 3, width // cell + 3)).astype(np.float32)
    smooth = cv2.resize(coarse, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth[:height, :width], np.float64)


def roughen(image: Image, rows: slice, strength: float, rng: np.random.Generator, cell: int = 9) -> None:
    """Add brightness noise to a band of rows of `image`, (H, W, 3) uint8, in place, so that flat paint looks real."""
    band = image[rows]
    if band.size == 0:
        return
    grain = strength * (0.6 * noise(band.shape[0], band.shape[1], cell, rng)
                        + 0.4 * noise(band.shape[0], band.shape[1], 3, rng))  # fmt: skip
    shade = np.rint(grain).astype(np.int16)[..., None]
    band[:] = np.clip(band.astype(np.int16) + shade, 0, 255).astype(np.uint8)


def seat_person(image: Image, x: float, y: float, radius: float, face: Colour, coat: Colour) -> None:
    """Head and shoulders, head centre at (x, y) pixels."""
    spot = (round(x * 8), round((y + 2.5 * radius) * 8))
    axes = (round(1.6 * radius * 8), round(1.7 * radius * 8))
    cv2.ellipse(image, spot, axes, 0, 0, 360, coat, -1, cv2.LINE_AA, 3)
    top = (round(x * 8), round((y - 0.25 * radius) * 8))
    cv2.circle(image, top, round(radius * 8), (48, 36, 30), -1, cv2.LINE_AA, 3)
    front = (round(x * 8), round((y + 0.15 * radius) * 8))
    cv2.circle(image, front, round(0.82 * radius * 8), face, -1, cv2.LINE_AA, 3)


def fill_stand(
    image: Image, rows: tuple[float, float], start: float, px_per_m: float, venue: np.random.Generator
) -> tuple[Spectator, ...]:
    """Paint tiers of spectators between two panorama rows, in place; return those who move.

    Args:
        image: the panorama, (Hp, Wp, 3) uint8 RGB.
        rows: top and bottom in pixels.
        start: panorama x of seat number 0.
        px_per_m: scale.
        venue: generator of the arena: the same public keeps its seats from clip to clip.
    """
    radius, row_step, seat = 0.085 * px_per_m, 0.46 * px_per_m, 0.37 * px_per_m
    faces, coats = (venue.integers(len(tones), size=(16, 97)) for tones in (_FACES, _CLOTHES))
    luck, shift = venue.random((16, 97)), venue.uniform(-0.07, 0.07, (16, 97, 2)) * px_per_m
    moving = []
    for tier, y in enumerate(np.arange(rows[0] + 0.25 * px_per_m, rows[1] - 0.2 * px_per_m, row_step)):
        cv2.rectangle(image, (0, round(y)), (image.shape[1], round(y + row_step)), (58, 62, 78), -1)
        cv2.line(image, (0, round(y)), (image.shape[1], round(y)), (84, 90, 108), max(1, round(0.05 * px_per_m)))
        for number in range(-int(start // seat) - 1, int((image.shape[1] - start) // seat) + 1):
            who = (tier % 16, number % 97)
            face, coat = _FACES[faces[who]], _CLOTHES[coats[who]]
            x = start + (number + 0.5 * (tier % 2)) * seat
            at = (float(x + shift[who][0]), float(y + shift[who][1]))
            if luck[who] < 0.07:
                rate, phase = 5.0 + 100.0 * luck[who], 1000.0 * luck[who]
                moving.append(Spectator(*at, radius, face, coat, float(rate), float(phase)))
            elif luck[who] < 0.86:
                seat_person(image, *at, radius, face, coat)
    top, bottom = rows
    band = image[max(0, round(top)) : round(bottom)]
    band[:] = cv2.GaussianBlur(band, (0, 0), 0.018 * px_per_m)  # out of the lens's focus
    return tuple(moving)


def in_front(image: Image, before: Image, spectators: tuple[Spectator, ...]) -> tuple[Spectator, ...]:
    """The onlookers whose place is the same in both panoramas, (Hp, Wp, 3) uint8: nothing was built before them."""
    seen = []
    for one in spectators:
        reach = 4.0 * one.radius
        rows = slice(max(0, round(one.y - reach)), max(0, round(one.y + 1.2 * reach)))
        columns = slice(max(0, round(one.x - reach)), max(0, round(one.x + reach)))
        if np.array_equal(image[rows, columns], before[rows, columns]):
            seen.append(one)
    return tuple(seen)


def hang_banners(
    image: Image, rows: tuple[float, float], start: float, width_px: float, venue: np.random.Generator, pale: bool
) -> None:
    """A row of sponsors' boards between two panorama rows, in place.

    Args:
        image: the panorama, (Hp, Wp, 3) uint8 RGB.
        rows: top and bottom in pixels.
        start: panorama x of an edge between two boards.
        width_px: of one board.
        venue: generator of the arena, so that the same boards hang there in every clip.
        pale: dark letters on pale paint instead of the reverse.
    """
    top, bottom = rows
    order, hues = venue.permutation(len(_SPONSORS)), venue.integers(0, 180, len(_SPONSORS))
    height = bottom - top
    first = -int(np.ceil(start / width_px))
    for number in range(first, int((image.shape[1] - start) // width_px) + 1):
        left = start + number * width_px
        name = _SPONSORS[order[number % len(order)]]
        hue = int(hues[number % len(order)])
        strong = (hue, 60, 235) if pale else (hue, 150, 118)
        red, green, blue = cv2.cvtColor(np.array([[strong]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist()
        corner, far = (round(left), round(top)), (round(left + width_px) - 2, round(bottom))
        cv2.rectangle(image, corner, far, (red, green, blue), -1)
        ink = (30, 40, 90) if pale else (206, 208, 204)
        (wide, high), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
        scale = min(0.6 * height / high, 0.8 * width_px / wide)
        spot = (round(left + 0.5 * (width_px - wide * scale)), round(bottom - 0.5 * (height - high * scale)))
        cv2.putText(image, name, spot, cv2.FONT_HERSHEY_DUPLEX, scale, ink, max(1, round(scale * 2)), cv2.LINE_AA)
