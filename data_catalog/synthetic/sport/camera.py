"""The camera: an orthographic view of the world, an operator who follows with a lag, and pan blur.

Panorama pixels are the scene's own raster (x right, y down, continuous); the frame is a window of it whose
centre is the camera path. Because the view is orthographic, a pan is exactly a translation of the panorama.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """World → panorama: azimuth and elevation in radians, scale in pixels per metre, origin in pixels."""

    azimuth: float
    elevation: float
    mirror: float
    px_per_m: float
    origin: tuple[float, float]

    def project(self, points: Floats) -> Floats:
        """(..., 3) metres → (..., 3): panorama x, panorama y, nearness to the camera in pixels."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        right = x * np.cos(self.azimuth) + z * np.sin(self.azimuth)
        near = z * np.cos(self.azimuth) - x * np.sin(self.azimuth)
        up = y * np.cos(self.elevation) - near * np.sin(self.elevation)
        return np.stack(
            [
                self.origin[0] + self.px_per_m * self.mirror * right,
                self.origin[1] - self.px_per_m * up,
                self.px_per_m * (near * np.cos(self.elevation) + y * np.sin(self.elevation)),
            ],
            axis=-1,
        )


@dataclass(frozen=True)
class Operator:
    """How a person swings the camera: stiffness in rad/s, anticipation in seconds, tremor in pixels."""

    stiffness: float
    anticipation_sec: float
    tremor_px: float
    tremor_phase: float

    def follow(self, target: Floats, step_sec: float) -> Floats:
        """Camera centres (n, 2) for targets (n, 2) sampled every `step_sec`: a critically damped spring."""
        ahead = np.arange(len(target)) * step_sec + self.anticipation_sec
        grid = np.arange(len(target)) * step_sec
        aim = np.stack([np.interp(ahead, grid, target[:, axis]) for axis in range(2)], axis=-1)
        place, speed = aim[0].copy(), np.zeros(2)
        path = np.empty_like(aim)
        for number, goal in enumerate(aim):
            pull = self.stiffness**2 * (goal - place) - 2.0 * self.stiffness * speed
            speed = speed + pull * step_sec
            place = place + speed * step_sec
            path[number] = place
        wobble = [np.sin(grid * rate + self.tremor_phase) for rate in (4.1, 5.7)]
        return path + self.tremor_px * np.stack(wobble, axis=-1)


def window(panorama: Image, centre: Floats, swing: Floats, size: tuple[int, int]) -> Image:
    """The frame (H, W, 3) around `centre`, smeared along `swing` (pixels that the camera moves while open)."""
    width, height = size
    reach = np.abs(swing)
    length_x, length_y = (int(value) | 1 if value >= 1.0 else 1 for value in reach)
    pad_x, pad_y = length_x // 2, length_y // 2
    middle = (float(centre[0]) - 0.5, float(centre[1]) - 0.5)  # cv2 puts pixel centres on whole numbers
    view = cv2.getRectSubPix(panorama, (width + 2 * pad_x, height + 2 * pad_y), middle)
    if length_x > 1 or length_y > 1:
        view = cv2.blur(view, (length_x, length_y))
    return np.ascontiguousarray(view[pad_y : pad_y + height, pad_x : pad_x + width])
