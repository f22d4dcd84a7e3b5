"""The pictures of docs/tubes.md, drawn by the program's own geometry from procedural clips, whose true tubes are known.

python -m tests.docs.tube_pictures docs/tubes
"""

from __future__ import annotations

import dataclasses
import sys
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from data_catalog.synthetic.sport.render_clip import render
from data_catalog.synthetic.sport.storyboard import Kind, plan_clip
from data_catalog.synthetic.sport.write import MIN_VISIBLE_PX, silhouette_quad
from flows.draw import paint
from flows.draw.clip_view import ClipView, CropWindow, evenly_chosen
from flows.draw.tube_film import tube_film
from flows.draw.tube_panels import PAGE, SOFT, WORDS, covered
from models.geometry import SEGMENT_STARTS, coverage, crop_origin, quads_to_crop, scale_quads, tube_mask, union_coverage

FRAME_WH, CROP, GRID, LENGTH = (455, 256), 224, (14, 14), 103
LARGE, SMALL, GAP, FOOT = 560, 224, 12, 26
TAUS = (0.1, 0.3, 0.5, 0.9)


def true_view(kind: Kind, index: int, first: int = 0, count: int | None = None) -> ClipView:
    """`count` frames of a clip from `first` on, by default 103 of all, with the tubes of the true silhouettes."""
    story = plan_clip(kind, index, 0, "640x360")
    wanted = range(first, first + count) if count else evenly_chosen(len(story.instants), LENGTH)
    shots = [shot for number, shot in enumerate(islice(render(story), wanted[-1] + 1)) if number in wanted]
    quads = np.stack([_held([shot.masks[athlete] for shot in shots]) for athlete in range(len(story.athletes))])
    quads = scale_quads(quads, story.size, FRAME_WH)
    cells = union_coverage(coverage(quads_to_crop(quads, FRAME_WH, CROP), GRID, (CROP, CROP)))
    left, top = crop_origin(FRAME_WH, CROP)
    frames = np.stack([paint.resize(shot.frame, FRAME_WH) for shot in shots])
    return ClipView(story.clip_id, "drawn", frames, quads, cells, CropWindow(left, top, CROP))


def _held(masks: list[NDArray[np.bool_]]) -> NDArray[np.float32]:
    """The quad (L, 4, 2) around each silhouette; where nobody is visible, the last one stays, as in ground truth."""
    quads: list[NDArray[np.float32]] = []
    for mask in masks:
        quads.append(silhouette_quad(mask) if mask.sum() >= MIN_VISIBLE_PX else quads[-1])
    return np.stack(quads)


def selected_cells(view: ClipView, index: int, cells: NDArray[np.bool_]) -> Image.Image:
    """The crop of one frame with its quads and some cells tinted."""
    left, top = crop_origin(FRAME_WH, CROP)
    cut = view.frames[index, top : top + CROP, left : left + CROP]
    canvas = paint.resize(cut, (SMALL, SMALL))
    scale = SMALL / CROP
    paint.paint_cells(canvas, cells, CropWindow(0, 0, CROP), scale, opacity=0.5)
    for athlete, quad in enumerate(quads_to_crop(view.quads[:, index], FRAME_WH, CROP)):
        paint.paint_quad(canvas, quad * scale, paint.athlete_colour(athlete))
    return Image.fromarray(canvas)


def beside(panels: list[tuple[Image.Image, str]]) -> Image.Image:
    """Panels in a row, words below each."""
    width = sum(panel.width for panel, _ in panels) + GAP * (len(panels) - 1)
    page = Image.new("RGB", (width, panels[0][0].height + FOOT), PAGE)
    draw, x = ImageDraw.Draw(page), 0
    for panel, words in panels:
        page.paste(panel, (x, 0))
        draw.text((x + panel.width / 2, page.height - 8), words, font=paint.font(13), fill=SOFT, anchor="ms")
        x += panel.width + GAP
    return page


def numbers(view: ClipView) -> Image.Image:
    """One frame: in each cell that the quad touches, how many percent of it."""
    panel = covered(view, 0, LARGE)
    draw = ImageDraw.Draw(panel)
    cell = LARGE / GRID[0]
    for row, column in np.argwhere(view.coverage[0] > 0.005):
        percent = f"{100 * view.coverage[0, row, column]:.0f}"
        middle = ((column + 0.5) * cell, (row + 0.5) * cell)
        draw.text(middle, percent, font=paint.font(15, bold=True), fill=WORDS, anchor="mm")
    return panel


def thresholds(view: ClipView) -> Image.Image:
    """The same frame with four values of tau."""
    chosen = [(tau, dataclasses.replace(view, tau=tau).selected(0)) for tau in TAUS]
    return beside([(selected_cells(view, 0, cells), f"tau {tau:g}: {int(cells.sum())} cells") for tau, cells in chosen])


def step(view: ClipView) -> Image.Image:
    """Four frames, and the cells of the one feature step that sees them."""
    frames = [(selected_cells(view, n, view.selected(n)), f"frame {n + 1} of 4") for n in range(4)]
    [[cells]] = tube_mask(view.coverage, view.tau, (0,), 4, 4)
    return beside([*frames, (selected_cells(view, 3, cells), f"the step: {int(cells.sum())} cells")])


def pictures() -> dict[str, Image.Image]:
    """Every picture of the page by its name."""
    dive = true_view("diving", 3, 38, 4)
    pair = true_view("sync_diving", 1, 20, 1)
    both = pair.selected(0)
    return {
        "cover": numbers(dive),
        "thresholds": thresholds(dive),
        "step": step(dive),
        "two": beside([(selected_cells(pair, 0, both), f"{int(both.sum())} cells of two divers")]),
    }


def film(path: Path) -> Path:
    """The film of README and of the start page."""
    dive = true_view("diving", 3)
    return tube_film(dive, tube_mask(dive.coverage, dive.tau), SEGMENT_STARTS, path)


if __name__ == "__main__":
    film(Path(sys.argv[1]) / "film.gif")
    for name, picture in pictures().items():
        picture.quantize(128, dither=Image.Dither.NONE).save(Path(sys.argv[1]) / f"{name}.png", optimize=True)
