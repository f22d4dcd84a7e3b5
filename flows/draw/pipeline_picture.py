"""The README's one picture: a clip's frames with quads, their coverage of the grid, and the tube mask of its segments.

Drawn by the program from a real clip, in the order of the method: track, cover, select.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from flows.draw import paint
from flows.draw.clip_view import ClipView, evenly_chosen

_FINE = 2  # everything is drawn this much larger, then reduced: smooth slanted lines
_PAGE, _WORDS, _SOFT, _RULE = (255, 255, 255), (27, 33, 41), (96, 107, 120), (214, 220, 227)
_CELL_OFF, _CELL_LINE = (238, 241, 244), (205, 211, 219)
_SELECTED = (226, 45, 115)
# Depth and distance of the slanted planes, as parts of the grid's side above them.
_PLANE_DEPTH, _PLANE_APART = 0.29, 0.32


def tube_strip(
    view: ClipView,
    mask: NDArray[np.bool_],
    starts: Sequence[int],
    path: Path,
    *,
    segment_length: int = 16,
    columns: int = 5,
    width: int = 1200,
) -> Path:
    """Draw how a tube comes about, one column a segment, as a PNG.

    Rows: the segment's middle frame with quads and crop window; the coverage of that frame on the grid (the darker the
    more of a cell is covered); the T steps of the tube mask, one below the other.

    Args:
        view: The clip with its tubes.
        mask: (N, T, Hf, Wf) bool, the clip's tube mask.
        starts: First frame of each of the N segments.
        path: Where the PNG is written; its folder is made where missing.
        segment_length: Frames in a segment.
        columns: How many segments, evenly chosen.
        width: Width of the picture in pixels.

    Returns:
        `path`.

    Raises:
        ValueError: The mask has another grid than the coverage, or another number of segments than `starts`.
    """
    grid = view.coverage.shape[1:]
    if mask.ndim != 4 or len(mask) != len(starts) or len(mask) == 0 or mask.shape[2:] != grid:
        raise ValueError(
            f"clip '{view.clip_id}': a tube mask of {mask.shape} does not belong to {len(starts)} segments on a "
            f"{grid[0]}×{grid[1]} grid; run the masks stage again"
        )
    chosen = evenly_chosen(len(starts), columns)
    margin, words_width, gap = 24, 196, 16
    column_width = (width - 2 * margin - words_width - (len(chosen) - 1) * gap) // len(chosen)
    frame_height = round(column_width * view.frame_wh[1] / view.frame_wh[0])
    square = round(column_width * 0.86)
    stack_height = _stack_height(square, mask.shape[1])
    tops = [58, 58 + frame_height + 34, 58 + frame_height + 34 + square + 34]
    height = tops[2] + stack_height + 34
    page = Image.new("RGB", (width * _FINE, height * _FINE), _PAGE)
    draw = ImageDraw.Draw(page)
    rows = zip(tops, (frame_height, square, stack_height), _explanations(view, mask), strict=True)
    for row, (top, row_height, (title, lines)) in enumerate(rows):
        _explain(draw, (margin, top), row_height, row + 1, title, lines)
    for place, n in enumerate(chosen):
        left = margin + words_width + place * (column_width + gap)
        start = int(starts[n])
        index = min(start + segment_length // 2, len(view.frames) - 1)
        middle = left + column_width / 2
        _text(draw, (middle, 22), f"segment {n + 1}", 15, _WORDS, "mm", bold=True)
        _text(draw, (middle, 42), f"frames {start}–{start + segment_length - 1}", 13, _SOFT, "mm")
        inset = left + (column_width - square) // 2
        page.paste(_framed(view, index, column_width * _FINE), (left * _FINE, tops[0] * _FINE))
        page.paste(_covered(view, index, square * _FINE), (inset * _FINE, tops[1] * _FINE))
        _stack(draw, mask[n], (left, tops[2]), column_width, square)
        for top in tops[1:]:
            _arrow(draw, (middle, top - 27), 18)
        words = f"{int(mask[n].sum())} positions" if mask[n].any() else "empty tube"
        _text(draw, (middle, tops[2] + stack_height + 14), words, 13, _SOFT, "mm")
    return paint.save_png(page.resize((width, height), Image.Resampling.LANCZOS), path)


def _explanations(view: ClipView, mask: NDArray[np.bool_]) -> list[tuple[str, list[str]]]:
    rows, columns = view.coverage.shape[1:]
    track = ["one quad in each of", f"{len(view.frames)} frames; the", "network sees the", "brighter square"]
    cover = ["the exact fraction", f"of each of {rows}×{columns} cells", "that the quad covers"]
    select = [
        f"{mask.shape[1]} steps a segment: cells",
        f"covered by ≥ {view.tau:g} in any",
        "of the step's frames",
        "attend to each other",
    ]
    return [("Track", track), ("Cover", cover), ("Select", select)]


def _text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    colour: paint.Colour,
    anchor: str,
    *,
    bold: bool = False,
) -> None:
    place = (at[0] * _FINE, at[1] * _FINE)
    draw.text(place, text, font=paint.font(size * _FINE, bold=bold), fill=colour, anchor=anchor)


def _explain(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], height: int, number: int, title: str, lines: list[str]
) -> None:
    """A numbered heading and what the row shows, beside the row's middle."""
    x, top = at
    y = top + max(0.0, (height - 34 - 19 * len(lines)) / 2)
    circle = [x * _FINE, y * _FINE, (x + 26) * _FINE, (y + 26) * _FINE]
    draw.ellipse(circle, fill=_WORDS)
    _text(draw, (x + 13, y + 13), str(number), 14, _PAGE, "mm", bold=True)
    _text(draw, (x + 36, y + 13), title, 18, _WORDS, "lm", bold=True)
    for place, line in enumerate(lines):
        _text(draw, (x, y + 44 + 19 * place), line, 13, _SOFT, "lm")


def _framed(view: ClipView, index: int, width: int) -> Image.Image:
    """The frame with crop window and quads, but no cells: these come in the next row."""
    scale = width / view.frame_wh[0]
    canvas = paint.resize(view.frames[index], (width, round(view.frame_wh[1] * scale)))
    paint.paint_cells(canvas, np.zeros(view.coverage.shape[1:], np.bool_), view.crop, scale)
    window = paint.crop_quad(view.crop) * scale
    paint.paint_line(canvas, np.concatenate([window, window[:1]]), paint.CROP_COLOUR, _FINE)
    for athlete in range(view.athletes):
        quad = view.quads[athlete, index] * scale
        colour = paint.athlete_colour(athlete)
        paint.paint_quad(canvas, quad, colour, thickness=2 * _FINE, dashed=view.is_lost(athlete, index))
    return Image.fromarray(canvas)


def _covered(view: ClipView, index: int, side: int) -> Image.Image:
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
        canvas[min(side - 1, round(line * side / rows))] = _RULE
    for line in range(columns + 1):
        canvas[:, min(side - 1, round(line * side / columns))] = _RULE
    offset = np.array([crop.left, crop.top])
    for athlete in range(view.athletes):
        quad = (view.quads[athlete, index] - offset) * scale
        paint.paint_quad(canvas, quad, paint.athlete_colour(athlete), thickness=_FINE)
    return Image.fromarray(canvas)


def _stack_height(square: int, steps: int) -> int:
    """Height of the slanted planes below each other, far enough apart that none hides another's cells."""
    return round(_PLANE_DEPTH * square + (steps - 1) * _PLANE_APART * square)


def _stack(
    draw: ImageDraw.ImageDraw, steps: NDArray[np.bool_], at: tuple[int, int], width: int, square: int
) -> None:
    """The T planes (T, Hf, Wf) of one segment as slanted sheets, the first on top."""
    count, rows, columns = steps.shape
    depth, slant, apart = square * _PLANE_DEPTH, width * 0.16, square * _PLANE_APART
    plane = width - slant
    for step in reversed(range(count)):
        top = at[1] + step * apart

        def corner(row: int, column: int, top: float = top) -> tuple[float, float]:
            x = at[0] + slant * (1 - row / rows) + plane * column / columns
            return x * _FINE, (top + depth * row / rows) * _FINE

        outline = [corner(0, 0), corner(0, columns), corner(rows, columns), corner(rows, 0)]
        draw.polygon(outline, fill=_CELL_OFF)
        for row, column in np.argwhere(steps[step]):
            r, c = int(row), int(column)
            draw.polygon(
                [corner(r, c), corner(r, c + 1), corner(r + 1, c + 1), corner(r + 1, c)], fill=_SELECTED
            )
        for row in range(rows + 1):
            draw.line([corner(row, 0), corner(row, columns)], fill=_CELL_LINE, width=1)
        for column in range(columns + 1):
            draw.line([corner(0, column), corner(rows, column)], fill=_CELL_LINE, width=1)
        draw.line([*outline, outline[0]], fill=_SOFT, width=_FINE)


def _arrow(draw: ImageDraw.ImageDraw, at: tuple[float, float], length: float) -> None:
    x, y = at[0] * _FINE, at[1] * _FINE
    tip = y + length * _FINE
    draw.line((x, y, x, tip - 6 * _FINE), fill=_SOFT, width=2 * _FINE)
    draw.polygon([(x - 5 * _FINE, tip - 7 * _FINE), (x + 5 * _FINE, tip - 7 * _FINE), (x, tip)], fill=_SOFT)
