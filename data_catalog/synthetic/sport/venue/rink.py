"""The ice rink: stands, sponsors' boards, glass, and scratched ice with painted lines."""

import cv2
import numpy as np

from data_catalog.synthetic.sport.camera import View
from data_catalog.synthetic.sport.venue.arena import Arena, Image, fill_stand, hang_banners, roughen


def build_rink(view: View, shape: tuple[int, int], venue: np.random.Generator, rng: np.random.Generator) -> Arena:
    """The rink seen through `view`, whose origin lies on the ice where the skater starts; shape is (Hp, Wp).

    What belongs to the hall comes from `venue`, what differs from clip to clip from `rng`.
    """
    height, width = shape
    image = np.zeros((height, width, 3), np.uint8)
    unit = view.px_per_m
    levels = {"ice": 0.75, "rail": 1.75, "stand": 5.0}
    row = {name: round(view.origin[1] - unit * level) for name, level in levels.items()}
    image[: row["rail"]] = np.array(venue.choice([[34, 36, 52], [48, 40, 44], [30, 46, 56]]))
    for x in np.arange(rng.uniform(0, unit), width, 2.1 * unit):
        lamp = (round(x), max(3, row["stand"] - round(0.5 * unit)))
        cv2.circle(image, lamp, max(2, round(0.1 * unit)), (255, 250, 226), -1)
    spectators = fill_stand(image, (row["stand"], row["rail"]), view.origin[0], unit, venue)
    hang_banners(image, (row["rail"], row["ice"]), view.origin[0], 3.0 * unit, venue, pale=True)
    cv2.rectangle(image, (0, row["rail"] - 3), (width, row["rail"]), (226, 196, 60), -1)
    cv2.rectangle(image, (0, row["ice"] - max(3, round(0.12 * unit))), (width, row["ice"]), (240, 206, 40), -1)
    _ice(image, row["ice"], unit, rng)
    roughen(image, slice(0, row["ice"]), 7.0, rng, cell=12)
    return Arena(image, spectators)


def _ice(image: Image, top: int, unit: float, rng: np.random.Generator) -> None:
    depth = image.shape[0] - top
    fade = np.linspace(0.86, 1.0, depth)[:, None, None]
    image[top:] = np.clip(np.array([226, 236, 244]) * fade, 0, 255).astype(np.uint8)
    for x in np.arange(rng.uniform(1.0, 4.0) * unit, image.shape[1], 7.0 * unit):
        tone = (206, 120, 126) if rng.random() < 0.5 else (116, 150, 206)
        lean = 0.5 * depth
        far, foot = x + 0.3 * unit, image.shape[0]
        band = np.array([[x, top], [far, top], [far - lean, foot], [x - lean, foot]])
        cv2.fillConvexPoly(image, np.rint(band).astype(np.int32), tone, cv2.LINE_AA)
    for _ in range(round(image.shape[1] / unit * 9)):
        x, y = rng.uniform(0, image.shape[1]), rng.uniform(top, image.shape[0])
        reach, tilt = rng.uniform(0.2, 1.3) * unit, rng.uniform(-0.16, 0.16)
        end = (round(x + reach), round(y + tilt * reach))
        cv2.line(image, (round(x), round(y)), end, (246, 250, 253), 1, cv2.LINE_AA)
    roughen(image, slice(top, None), 8.0, rng, cell=18)
