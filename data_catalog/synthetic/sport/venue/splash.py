"""Water thrown up by an entry: a sheet, drops, foam and rings, all a function of time."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.sport.camera import View

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]
_GRAVITY = 9.81


@dataclass(frozen=True, eq=False)
class Splash:
    """One entry. `size` 0 is a rip entry, 1 drenches the judges."""

    entry_sec: float
    x_m: float
    z_m: float
    size: float
    launch: Floats = field(repr=False)  # (n,) seconds after entry
    velocity: Floats = field(repr=False)  # (n, 3) metres per second
    start: Floats = field(repr=False)  # (n, 3) metres around the entry
    radius: Floats = field(repr=False)  # (n,) metres

    @classmethod
    def throw(
        cls, entry_sec: float, place: Floats, size: float, rng: np.random.Generator, tilt: float = 0.0
    ) -> "Splash":
        """A random splash of a given size at `place` (3,) on the water, thrown towards +x by `tilt` radians."""
        sheet, drops = round(16 + 290 * size), round(16 + 240 * size)
        count = sheet + drops
        thick = np.arange(count) < sheet
        share = rng.uniform(0.2, 1.0, count)
        up = np.sqrt(2.0 * _GRAVITY * (0.10 + 2.7 * size)) * share
        angle = rng.uniform(0.0, 2.0 * np.pi, count)
        out = (0.15 + 1.25 * size) * rng.uniform(0.1, 1.0, count) * np.where(thick, 0.6, 1.25)
        velocity = np.stack([out * np.cos(angle), up, out * np.sin(angle)], axis=-1)
        velocity[:, 0] += up * np.tan(tilt)
        ring = (0.08 + 0.26 * size) * rng.uniform(0.2, 1.0, count)
        start = np.stack([ring * np.cos(angle), np.zeros(count), ring * np.sin(angle)], axis=-1)
        wet = rng.uniform(0.035, 0.085, count) * (0.7 + 0.6 * size)
        radius = np.where(thick, wet, rng.uniform(0.008, 0.022, count))
        launch = rng.uniform(0.02, 0.16 + 0.22 * size, count)
        return cls(entry_sec, float(place[0]), float(place[2]), size, launch, velocity, start, radius)

    def paint(self, frame: Image, time_sec: float, view: View, corner: Floats) -> NDArray[np.bool_] | None:
        """Draw the water at `time_sec` into `frame` in place.

        Args:
            frame: (H, W, 3) RGB.
            time_sec: seconds of the clip.
            view: the projection.
            corner: (2,) panorama position of the frame's top left corner.

        Returns:
            (H, W) bool where the water hides what is behind it, or None before the entry.
        """
        since = time_sec - self.entry_sec
        if since <= 0.0:
            return None
        cover = np.zeros(frame.shape[:2], np.uint8)
        self._foam(cover, since, view, corner)
        age = since - self.launch
        place = self.start + self.velocity * age[:, None] + np.array([self.x_m, 0.0, self.z_m])
        place[:, 1] -= 0.5 * _GRAVITY * age**2
        seen = (age > 0.0) & (place[:, 1] > -0.05)
        tail = place - 0.018 * (self.velocity - np.array([0.0, _GRAVITY, 0.0]) * age[:, None])
        spots, tails = (
            np.rint((view.project(points[seen])[:, :2] - corner) * 8.0 - 4.0).astype(np.int32).tolist()
            for points in (place, tail)
        )
        torn = self.radius[seen] * np.clip(1.0 - 0.75 * age[seen], 0.3, 1.0)  # the sheet breaks into drops
        sizes = np.maximum(np.rint(torn * view.px_per_m * 8.0), 4).astype(np.int32).tolist()
        tones = 170 + 80 * (np.arange(len(spots)) * 0.618 % 1.0)
        strength = (tones * np.exp(-0.45 * age[seen])).astype(np.int32).tolist()
        thin = 0.03 * view.px_per_m * 8.0
        for spot, end, size, tone in zip(spots, tails, sizes, strength, strict=True):
            if size > thin:
                cv2.circle(cover, spot, size, tone, cv2.FILLED, cv2.LINE_AA, 3)
            else:
                cv2.line(cover, spot, end, tone, max(1, size // 6), cv2.LINE_AA, 3)
        return _blend_white(frame, cover)

    def _foam(self, cover: Image, since: float, view: View, corner: Floats) -> None:
        middle = view.project(np.array([self.x_m, 0.0, self.z_m]))[:2] - corner
        spot = (round(float(middle[0]) * 8), round(float(middle[1]) * 8))
        reach = view.px_per_m * (0.14 + 1.15 * self.size) * min(1.0, 0.06 + since * 2.2)
        flat = max(float(np.sin(view.elevation)), 0.12) * 1.3
        strength = round(240 * float(np.exp(-since * 0.4)))
        # Patches where the drops were thrown from, denser towards the middle, that drift apart.
        count = round(8 + 52 * self.size)
        angle = np.arange(count) * 2.399963 + self.launch[0] * 50.0
        away = reach * np.sqrt((np.arange(count) + 0.5) / count)
        around = np.stack([away * np.cos(angle), flat * away * np.sin(angle)], axis=-1) + middle
        patches = np.rint(around * 8.0).astype(np.int32).tolist()
        sizes = (0.05 + 0.10 * np.sin(angle * 7.0) ** 2) * view.px_per_m * 8.0 * (1.0 + 0.4 * self.size)
        tones = (strength * (0.75 + 0.25 * np.cos(angle * 3.0) ** 2)).astype(np.int32).tolist()
        for patch, wide, tone in zip(patches, sizes.tolist(), tones, strict=True):
            axes = (round(wide), round(0.4 * wide))
            cv2.ellipse(cover, patch, axes, 0, 0, 360, tone, cv2.FILLED, cv2.LINE_AA, 3)
        for ring in range(3):
            grown = (since - 0.12 * ring) * (0.9 + 0.5 * self.size)
            if grown > 0.05:
                axes = (round(view.px_per_m * grown * 8), round(view.px_per_m * grown * flat * 8))
                cv2.ellipse(cover, spot, axes, 0, 0, 360, max(20, 120 - 30 * ring), 1, cv2.LINE_AA, 3)


def _blend_white(frame: Image, cover: Image) -> NDArray[np.bool_]:
    rows = np.flatnonzero(cover.any(axis=1))
    hidden = np.zeros(cover.shape, np.bool_)
    if len(rows) == 0:
        return hidden
    band = slice(max(0, rows[0] - 3), rows[-1] + 4)
    soft = cv2.GaussianBlur(cover[band], (5, 5), 0)
    alpha = cv2.merge([soft, soft, soft])
    water = np.empty_like(frame[band])
    water[:] = (236, 246, 252)
    bright = cv2.multiply(water, alpha, scale=1.0 / 255.0)
    frame[band] = cv2.add(cv2.multiply(frame[band], 255 - alpha, scale=1.0 / 255.0), bright)
    hidden[band] = soft >= 128
    return hidden
