"""From a storyboard to frames and the silhouettes that can be seen in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.sport.athlete import centre_of_mass
from data_catalog.synthetic.sport.camera import window
from data_catalog.synthetic.sport.figure import DrawnPerson
from data_catalog.synthetic.sport.storyboard import SUBFRAMES, Performer, Storyboard

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_MIDDLE: Final = SUBFRAMES // 2
_BLUR_STEP_PX: Final = 2.5  # a joint may move this far between two drawn instants


@dataclass(frozen=True, eq=False)
class Shot:
    """A finished frame: RGB uint8 (H, W, 3) and the visible silhouette (A, H, W) bool of each athlete."""

    frame: Image
    masks: Mask


def render(story: Storyboard) -> Iterator[Shot]:
    """All frames of a clip in order."""
    stage = _Stage(story)
    for number in range(len(story.instants)):
        yield stage.shoot(number)


class _Stage:
    """What is computed once per clip: projected people and their waterlines."""

    def __init__(self, story: Storyboard) -> None:
        self.story = story
        people = [*story.others, *story.athletes]
        placed = [person.motion(story.instants) for person in people]
        scale = story.view.px_per_m
        self.figures = [
            DrawnPerson(story.view.project(joints), person.look, scale)
            for joints, person in zip(placed, people, strict=True)
        ]
        self.feet_of = [self._ground(joints, person) for joints, person in zip(placed, people, strict=True)]
        # Far lanes are painted first.
        depth = [float(figure.joints[0, 0, 0, 2]) for figure in self.figures]
        self.order = sorted(range(len(people)), key=lambda number: depth[number])
        self.first_athlete = len(story.others)
        self.splashes = [person.splash for person in people]  # who has one is hidden by the water from below

    def _ground(self, joints: Floats, person: Performer) -> Floats:
        """Panorama position (F, S, 2) of the ground or water right under a person."""
        under = centre_of_mass(joints)
        under[..., 1] = 0.0
        return self.story.view.project(under)[..., :2]

    def shoot(self, number: int) -> Shot:
        story = self.story
        width, height = story.size
        camera = story.camera[number]
        frame = window(story.scene.panorama, camera[_MIDDLE], camera[-1] - camera[0], story.size)
        corner = camera[_MIDDLE] - np.array([width, height]) / 2.0
        now = float(story.instants[number, _MIDDLE])
        self._shimmer(frame, now, corner)
        for spectator in story.scene.spectators:
            spectator.paint(frame, now, corner)
        masks = np.zeros((len(story.athletes), height, width), np.bool_)
        for who in self.order:
            if story.kind == "skating":
                self._shadow(frame, who, number, corner)
            silhouette = self._person(frame, who, number)
            masks &= ~silhouette
            if who >= self.first_athlete:
                masks[who - self.first_athlete] = silhouette
            if (splash := self.splashes[who]) is None:
                continue
            hidden = splash.paint(frame, now, story.view, corner)
            if hidden is not None:
                masks &= ~hidden
        return Shot(frame, masks)

    def _shimmer(self, frame: Image, now: float, corner: Floats) -> None:
        scene = self.story.scene
        top = max(0, round(scene.water_row - float(corner[1])))
        if scene.ripples is None or top >= frame.shape[0]:
            return
        rows, columns = frame.shape[0] - top, frame.shape[1]
        down = round(16 + 15 * np.sin(now * 1.3)) + max(0, round(float(corner[1]) - scene.water_row))
        across = round(32 + 31 * np.sin(now * 0.9)) + max(0, round(float(corner[0])))
        down = max(0, min(down, scene.ripples.shape[0] - rows))
        across = max(0, min(across, scene.ripples.shape[1] - columns))
        light = scene.ripples[down : down + rows, across : across + columns]
        frame[top:] = cv2.add(frame[top:], cv2.merge([light, light, light]))

    def _shadow(self, frame: Image, who: int, number: int, corner: Floats) -> None:
        spot = self.feet_of[who][number, _MIDDLE] - corner
        reach = 0.42 * self.story.view.px_per_m
        x0, y0 = round(float(spot[0]) - 1.5 * reach), round(float(spot[1]) - 0.6 * reach)
        x1, y1 = round(float(spot[0]) + 1.5 * reach), round(float(spot[1]) + 0.6 * reach)
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, frame.shape[1]), min(y1, frame.shape[0])
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        shade = np.full((y1 - y0, x1 - x0), 255, np.uint8)
        middle = (round(float(spot[0])) - x0, round(float(spot[1])) - y0)
        cv2.ellipse(shade, middle, (round(reach), round(0.2 * reach)), 0, 0, 360, 150, -1, cv2.LINE_AA)
        shade = cv2.blur(shade, (9, 5))
        patch = frame[y0:y1, x0:x1]
        patch[:] = cv2.multiply(patch, cv2.merge([shade, shade, shade]), scale=1.0 / 255.0)

    def _person(self, frame: Image, who: int, number: int) -> Mask:
        """Composite one person with motion blur; return the silhouette (H, W) of the middle instant."""
        story, figure = self.story, self.figures[who]
        width, height = story.size
        silhouette = np.zeros((height, width), np.bool_)
        corners = story.camera[number] - np.array([width, height]) / 2.0
        left, top, right, bottom = figure.bounds(number)
        water = float("inf")
        if self.splashes[who] is not None:
            water = float(self.feet_of[who][number, _MIDDLE, 1] - corners[_MIDDLE, 1])
        x0 = max(0, int(np.floor(left - corners[:, 0].max())))
        y0 = max(0, int(np.floor(top - corners[:, 1].max())))
        x1 = min(width, int(np.ceil(right - corners[:, 0].min())))
        y1 = min(height, int(np.ceil(min(bottom - corners[:, 1].min(), water))))
        if x1 <= x0 or y1 <= y0:
            return silhouette
        size = (x1 - x0, y1 - y0)
        total = np.zeros((size[1], size[0], 4), np.uint16)
        chosen = self._drawn_instants(who, number)
        for instant in chosen:
            at = (x0 + float(corners[instant, 0]), y0 + float(corners[instant, 1]))
            layer = figure.draw(number, instant, at, size)
            total += layer
            if instant == _MIDDLE:
                silhouette[y0:y1, x0:x1] = layer[..., 3] >= 128
        mean = ((total + len(chosen) // 2) // len(chosen)).astype(np.uint8)
        rest = 255 - mean[..., 3]
        patch = frame[y0:y1, x0:x1]
        patch[:] = cv2.add(cv2.multiply(patch, cv2.merge([rest, rest, rest]), scale=1.0 / 255.0), mean[..., :3])
        return silhouette

    def _drawn_instants(self, who: int, number: int) -> tuple[int, ...]:
        """As many instants as the fastest joint needs, seen from the moving camera; always the middle one."""
        seen = self.figures[who].joints[number, ..., :2] - self.story.camera[number][:, None, :]
        moved = float(np.abs(seen[-1] - seen[0]).max())
        for count in (1, 3, 5):
            if moved <= max(count - 1, 0.3) * _BLUR_STEP_PX:
                return tuple(np.linspace(0, SUBFRAMES - 1, count).astype(int)) if count > 1 else (_MIDDLE,)
        return tuple(range(SUBFRAMES))
