"""Frames of the procedural dataset as ready scenes for a detector: its athletes are drawn, and look it."""

from __future__ import annotations

from typing import Final

import numpy as np

from data_catalog.synthetic.composites.scenes import MIN_SIDE_PX, Scene
from data_catalog.synthetic.sport.render_clip import render
from data_catalog.synthetic.sport.storyboard import KINDS, plan_clip
from data_catalog.synthetic.sport.write import MIN_VISIBLE_PX, first_box

FIRST_SEED: Final = 7_000_000   # far from the seeds that people choose, so that no clip is seen twice
_EVERY: Final = 9               # frames that follow each other show the same


def procedural_scenes(clips: int, seed: int = 0) -> list[Scene]:
    """Every ninth frame of `clips` clips, each of another arena; clips with officials are left out, they have no box.

    Args:
        clips: how many to render (about two seconds each).
        seed: other clips.
    """
    scenes: list[Scene] = []
    for number in range(clips):
        story = plan_clip(KINDS[number % len(KINDS)], number, FIRST_SEED + 1000 * seed + number, "mixed")
        if story.others:
            continue
        for index, shot in enumerate(render(story)):
            if index % _EVERY:
                continue
            seen = [mask for mask in shot.masks if mask.sum() >= MIN_VISIBLE_PX]
            boxes = [(x, y, x + w, y + h) for x, y, w, h in map(first_box, seen) if min(w, h) >= MIN_SIDE_PX]
            scenes.append(Scene(shot.frame.copy(), np.asarray(boxes, np.float32).reshape(-1, 4)))
    return scenes
