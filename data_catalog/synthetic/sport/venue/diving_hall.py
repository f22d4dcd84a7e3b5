"""The diving hall: roof, stands, banners, deck, tower or springboard, water."""

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.sport.camera import View
from data_catalog.synthetic.sport.figure import Colour
from data_catalog.synthetic.sport.venue.arena import (
    Arena,
    Floats,
    Image,
    fill_stand,
    hang_banners,
    in_front,
    noise,
    roughen,
    seat_person,
)

Counts = NDArray[np.int64]
_WATER_FAR_M = 0.75  # where the pool's far edge lies above the entry point in the picture


def _slab(image: Image, view: View, low: Floats, high: Floats, top: tuple[int, int, int]) -> None:
    """A box between two world corners, top and near faces, in place."""
    x0, y0, z0 = low
    x1, y1, z1 = high
    edges = np.array([[x0, y0, z1], [x1, y0, z1], [x1, y1, z1], [x0, y1, z1]])
    tip = np.array([[x1, y0, z0], [x1, y0, z1], [x1, y1, z1], [x1, y1, z0]])
    face = np.array([[x0, y1, z0], [x1, y1, z0], [x1, y1, z1], [x0, y1, z1]])
    for corners, gain in ((tip, 0.55), (edges, 0.72), (face, 1.0)):
        pixels = np.rint(view.project(corners)[:, :2] * 8).astype(np.int32)
        shade = tuple(round(channel * gain) for channel in top)
        cv2.fillConvexPoly(image, cv2.convexHull(pixels), shade, cv2.LINE_AA, 3)


def _hall(image: Image, row: dict[str, int], unit: float, wall: Counts, rng: np.random.Generator) -> None:
    """Roof, windows and wall above the stands."""
    height = max(row["stand"], 1)
    fade = np.linspace(0.55, 1.05, height)[:, None, None]
    image[:height] = np.clip(wall * fade, 0, 255).astype(np.uint8)
    panel = 1.6 * unit
    for x in np.arange(0.4 * panel, image.shape[1], panel):
        seam = tuple(int(c * 0.72) for c in wall)
        cv2.line(image, (round(x), 0), (round(x), height), seam, max(1, round(unit / 24)))
    for number, y in enumerate(np.arange(height - 1.3 * unit, 0, -2.4 * unit)):
        for x in np.arange((number % 2) * 1.2 * unit, image.shape[1], 2.4 * unit):
            pane = (164, 190, 206) if (number + round(x / unit)) % 3 else (142, 172, 194)
            cv2.rectangle(image, (round(x), round(y - unit)), (round(x + 1.7 * unit), round(y)), pane, -1)
        beam = round(y + 0.35 * unit)
        cv2.line(image, (0, beam), (image.shape[1], beam), (92, 98, 112), max(2, round(unit / 9)))
    roughen(image, slice(0, height), 10.0, rng, cell=16)


def _deck_and_water(image: Image, row: dict[str, int], unit: float, blue: Counts, rng: np.random.Generator) -> None:
    tiles = image[row["deck"] : row["water"]]
    tiles[:] = (138, 148, 152)
    for x in np.arange(0, image.shape[1], 0.45 * unit):
        cv2.line(image, (round(x), row["deck"]), (round(x), row["water"]), (122, 132, 136), 1)
    for x in np.arange(0.6 * unit, image.shape[1], 1.7 * unit):  # the judges at their desks
        desk = row["deck"] + 0.25 * unit
        seat_person(image, x, desk - 0.72 * unit, 0.11 * unit, (176, 136, 108), (40, 60, 92))
        corner, far = (round(x - 0.34 * unit), round(desk - 0.38 * unit)), (round(x + 0.34 * unit), round(desk))
        cv2.rectangle(image, corner, far, (74, 86, 110), -1)
    gutter = row["water"] - max(2, round(0.09 * unit))
    cv2.rectangle(image, (0, gutter), (image.shape[1], row["water"]), (26, 74, 128), -1)
    depth = image.shape[0] - row["water"]
    fade = np.linspace(1.2, 0.78, depth)[:, None, None]
    image[row["water"] :] = np.clip(blue * fade, 0, 255).astype(np.uint8)
    roughen(image, slice(row["water"], None), 13.0, rng, cell=14)


def _boards(image: Image, view: View, height_m: float, lanes: tuple[float, ...], paint: Colour) -> None:
    """Tower platforms up to the one in use, or springboards on their stands."""
    concrete = (176, 178, 182)
    _slab(image, view, np.array([-30.0, -1.0, -2.6]), np.array([-1.7, 0.3, 2.6]), (140, 148, 150))
    if height_m > 3.0:
        wide = max(abs(lane) for lane in lanes) + 1.0
        column = (150, 154, 160)
        _slab(image, view, np.array([-4.6, 0.3, -wide]), np.array([-3.0, height_m, wide * 0.4]), column)
        for level in (3.0, 5.0, 7.5, 10.0):
            if level <= height_m:
                reach = 0.0 if level == height_m else -1.2 - 0.05 * level
                low, high = np.array([-5.0, level - 0.28, -wide]), np.array([reach, level, wide])
                _slab(image, view, low, high, concrete)
        _slab(image, view, np.array([-5.0, height_m - 0.02, -wide]), np.array([0.0, height_m, wide]), paint)
        return
    for lane in sorted(lanes):
        stand = np.array([-3.6, 0.3, lane - 0.35]), np.array([-2.2, height_m - 0.25, lane + 0.35])
        _slab(image, view, *stand, (150, 158, 166))
        low, high = np.array([-4.8, height_m - 0.07, lane - 0.27]), np.array([0.0, height_m, lane + 0.27])
        _slab(image, view, low, high, (120, 190, 214))


def build_pool(
    view: View,
    shape: tuple[int, int],
    height_m: float,
    lanes: tuple[float, ...],
    venue: np.random.Generator,
    rng: np.random.Generator,
) -> Arena:
    """The hall around a board of `height_m`, seen through `view`.

    Args:
        view: the projection; its origin is the water under the board's tip.
        shape: (Hp, Wp) of the panorama.
        height_m: of the board above the water.
        lanes: sideways positions of the athletes in metres.
        venue: generator of what belongs to the hall: colours, banners, paint.
        rng: generator of what differs from clip to clip: the public, light on the walls, waves.
    """
    image = np.zeros((*shape, 3), np.uint8)
    unit = view.px_per_m
    levels = {"water": _WATER_FAR_M, "deck": 1.5, "banner": 1.6, "stand_low": 2.5, "stand": 5.8}
    row = {name: round(view.origin[1] - unit * level) for name, level in levels.items()}
    wall = venue.choice([[140, 152, 166], [122, 136, 152], [154, 148, 140], [104, 122, 146]])
    blue = venue.choice([[26, 112, 166], [30, 124, 164], [22, 94, 152]])
    paint = (188, 40, 44) if venue.random() < 0.5 else (24, 84, 150)
    _hall(image, row, unit, wall, rng)
    image[max(row["stand"], 0) : row["deck"]] = (70, 74, 88)
    spectators = fill_stand(image, (row["stand"], row["stand_low"]), view.origin[0], unit, venue)
    hang_banners(image, (row["stand_low"], row["banner"]), view.origin[0], 3.4 * unit, venue, pale=False)
    _deck_and_water(image, row, unit, blue, rng)
    empty = image.copy()
    _boards(image, view, height_m, lanes, paint)
    spectators = in_front(image, empty, spectators)
    depth = shape[0] - row["water"]
    waves = noise(depth + 64, shape[1] // 6 + 64, 7, rng)
    stretched = cv2.resize(np.clip(waves - 0.25, 0, 1).astype(np.float32), None, fx=6.0, fy=1.0)
    ripples = np.rint(stretched * 44).astype(np.uint8)
    return Arena(image, spectators, ripples, float(row["water"]))
