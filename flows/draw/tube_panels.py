"""The panels that pictures of a tube are made of: a frame with its quads, what they cover, and the mask's steps.

A picture is drawn `FINE` times as large and then reduced, so that slanted lines are smooth. Places and sizes are in
pixels of the finished picture, except for the width of a panel that is pasted, which is in pixels of the large one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from flows.draw import paint
from flows.draw.clip_view import ClipView

FINE = 2  # everything is drawn this much larger, then reduced: smooth slanted lines
PAGE, WORDS, SOFT, RULE = (255, 255, 255), (27, 33, 41), (96, 107, 120), (214, 220, 227)
_CELL_OFF, _CELL_LINE = (238, 241, 244), (205, 211, 219)
_SELECTED = (226, 45, 115)
# Depth and distance of the slanted planes, as parts of the grid's side above them.
_PLANE_DEPTH, _PLANE_APART = 0.29, 0.32


def check_mask(view: ClipView, mask: NDArray[np.bool_], starts: Sequence[int]) -> None:
    """Raise ValueError where a mask (N, T, Hf, Wf) isn't one of this clip's N segments and grid."""
    grid = view.coverage.shape[1:]
    if mask.ndim != 4 or len(mask) != len(starts) or len(mask) == 0 or mask.shape[2:] != grid:
        raise ValueError(
            f"clip '{view.clip_id}': a tube mask of {mask.shape} does not belong to {len(starts)} segments on a "
            f"{grid[0]}×{grid[1]} grid; run the masks stage again"
        )


def write_text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    colour: paint.Colour,
    anchor: str,
    *,
    bold: bool = False,
) -> None:
    """Text at a place in pixels of the finished picture."""
    place = (at[0] * FINE, at[1] * FINE)
    draw.text(place, text, font=paint.font(size * FINE, bold=bold), fill=colour, anchor=anchor)


def framed(view: ClipView, index: int, width: int) -> Image.Image:
    """The frame with crop window and quads, but no cells: these come in the next row."""
    scale = width / view.frame_wh[0]
    canvas = paint.resize(view.frames[index], (width, round(view.frame_wh[1] * scale)))
    paint.paint_cells(canvas, np.zeros(view.coverage.shape[1:], np.bool_), view.crop, scale)
    window = paint.crop_quad(view.crop) * scale
    paint.paint_line(canvas, np.concatenate([window, window[:1]]), paint.CROP_COLOUR, FINE)
    for athlete in range(view.athletes):
        quad = view.quads[athlete, index] * scale
        colour = paint.athlete_colour(athlete)
        paint.paint_quad(canvas, quad, colour, thickness=2 * FINE, dashed=view.is_lost(athlete, index))
    return Image.fromarray(canvas)


def covered(view: ClipView, index: int, side: int) -> Image.Image:
    """The crop window with its grid; cells are tinted by their coverage, quads drawn thin."""
    scale = side / view.crop.size
    crop = view.crop
    # The affine copy keeps fractions of a pixel and shows black where a window leaves the frame.
    frame = Image.fromarray(view.frames[index])
    affine = (1 / scale, 0, crop.left, 0, 1 / scale, crop.top)
    cut = frame.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    canvas = np.array(cut)
    rows, columns = view.coverage.shape[1:]
    row = (np.arange(side) * rows // side).astype(np.intp)
    column = (np.arange(side) * columns // side).astype(np.intp)
    amount = np.clip(view.coverage[index], 0, 1)[np.ix_(row, column)][..., None] * 0.62
    # The picture steps back so that the grid's values are what one sees.
    pale = canvas * 0.65 + 255 * 0.35
    canvas = np.ascontiguousarray(pale * (1 - amount) + np.array(_SELECTED) * amount, dtype=np.uint8)
    for line in range(rows + 1):
        canvas[min(side - 1, round(line * side / rows))] = RULE
    for line in range(columns + 1):
        canvas[:, min(side - 1, round(line * side / columns))] = RULE
    offset = np.array([crop.left, crop.top])
    for athlete in range(view.athletes):
        quad = (view.quads[athlete, index] - offset) * scale
        paint.paint_quad(canvas, quad, paint.athlete_colour(athlete), thickness=FINE)
    return Image.fromarray(canvas)


def planes_height(square: int, steps: int) -> int:
    """Height of the slanted planes below each other, far enough apart that none hides another's cells."""
    return round(_PLANE_DEPTH * square + (steps - 1) * _PLANE_APART * square)


def draw_steps(
    draw: ImageDraw.ImageDraw, steps: NDArray[np.bool_], at: tuple[int, int], width: int, square: int
) -> None:
    """The T planes (T, Hf, Wf) bool of one segment as slanted sheets, the first on top."""
    count, rows, columns = steps.shape
    depth, slant, apart = square * _PLANE_DEPTH, width * 0.16, square * _PLANE_APART
    plane = width - slant
    for step in reversed(range(count)):
        top = at[1] + step * apart

        def corner(row: int, column: int, top: float = top) -> tuple[float, float]:
            x = at[0] + slant * (1 - row / rows) + plane * column / columns
            return x * FINE, (top + depth * row / rows) * FINE

        outline = [corner(0, 0), corner(0, columns), corner(rows, columns), corner(rows, 0)]
        draw.polygon(outline, fill=_CELL_OFF)
        for row, column in np.argwhere(steps[step]):
            r, c = int(row), int(column)
            draw.polygon([corner(r, c), corner(r, c + 1), corner(r + 1, c + 1), corner(r + 1, c)], fill=_SELECTED)
        for row in range(rows + 1):
            draw.line([corner(row, 0), corner(row, columns)], fill=_CELL_LINE, width=1)
        for column in range(columns + 1):
            draw.line([corner(0, column), corner(rows, column)], fill=_CELL_LINE, width=1)
        draw.line([*outline, outline[0]], fill=SOFT, width=FINE)
