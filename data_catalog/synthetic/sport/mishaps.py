"""What goes wrong in real footage, put into procedural clips with its truth: cuts, athletes who leave or are hidden.

A `Film` is a rendered clip in memory. Nothing here is part of a dataset; it is what detectors of such mishaps are
measured by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.sport.render_clip import render
from data_catalog.synthetic.sport.storyboard import SUBFRAMES, Storyboard

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Film:
    """A clip: `frames` (F, H, W, 3) RGB uint8, `masks` (A, F, H, W) bool visible silhouettes, `cuts` frame numbers."""

    frames: NDArray[np.uint8]
    masks: Mask
    cuts: tuple[int, ...] = ()


def shoot(story: Storyboard) -> Film:
    """Render a whole clip."""
    shots = list(render(story))
    return Film(np.stack([shot.frame for shot in shots]), np.stack([shot.masks for shot in shots], axis=1))


def stop_camera(story: Storyboard, at: int) -> Storyboard:
    """From frame `at` on nobody moves the camera, and the athlete leaves the picture."""
    camera = story.camera.copy()
    camera[at:] = camera[at, SUBFRAMES // 2]
    return replace(story, camera=camera)


def cut_to(film: Film, at: int, other: Film, start: int) -> Film:
    """From frame `at` on the film continues with `other` from its frame `start`; its length stays or shrinks.

    The athletes of `film` are not to be seen after the cut.

    Raises:
        ValueError: the cut lies outside of either film.
    """
    height, width = film.frames.shape[1:3]
    tail = other.frames[start : start + len(film.frames) - at]
    if not 0 < at < len(film.frames) or not len(tail):
        raise ValueError(f"no cut at frame {at} of {len(film.frames)} to frame {start} of {len(other.frames)}")
    tail = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in tail])
    nobody = np.zeros((len(film.masks), len(tail), height, width), bool)
    masks = np.concatenate([film.masks[:, :at], nobody], axis=1)
    return Film(np.concatenate([film.frames[:at], tail]), masks, (*film.cuts, at))


def pass_before(film: Film, begin: int, end: int, rng: np.random.Generator) -> Film:
    """A board passes between camera and athletes and hides all of them from frame `begin` until before `end`."""
    frames, masks = film.frames.copy(), film.masks.copy()
    height, width = frames.shape[1:3]
    rows, columns = np.nonzero(masks[:, begin:end].any(axis=(0, 1)))
    if not len(rows):
        raise ValueError(f"nobody is to be seen in frames {begin} to {end - 1}, so nobody can be hidden there")
    left, right = max(0, int(columns.min()) - 6), min(width, int(columns.max()) + 7)
    top, bottom = max(0, int(rows.min()) - 6), min(height, int(rows.max()) + 7)
    board = _board(bottom - top, right - left, rng)
    lead = max(2, (end - begin) // 4)  # frames that it takes to come and to go
    for t in range(max(0, begin - lead), min(len(frames), end + lead)):
        away = max(begin - t, t - end + 1, 0) / lead
        shift = round(away * (right - left)) * (1 if t < begin else -1)
        x0, x1 = max(left, left + shift), min(right, right + shift)
        if x1 > x0:
            frames[t, top:bottom, x0:x1] = board[:, x0 - left - shift : x1 - left - shift]
            masks[:, t, top:bottom, x0:x1] = False
    return replace(film, frames=frames, masks=masks)


def _board(height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A painted board with some texture, of a colour of its own."""
    paint = rng.integers(40, 200, 3)
    grain = cv2.resize(rng.normal(0, 14, (max(2, height // 6), max(2, width // 6))), (width, height))
    return np.asarray(np.clip(paint + grain[..., None], 0, 255), np.uint8)
