"""How a tube comes about: a clip's frames with quads, their coverage of the grid, the tube mask of its segments.

Drawn by the program from a real clip, in the order of the method: track, cover, select.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from flows.draw import paint
from flows.draw.clip_view import ClipView, evenly_chosen
from flows.draw.tube_panels import (
    FINE,
    PAGE,
    SOFT,
    WORDS,
    check_mask,
    covered,
    draw_steps,
    framed,
    planes_height,
    write_text,
)


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
    check_mask(view, mask, starts)
    chosen = evenly_chosen(len(starts), columns)
    margin, words_width, gap = 24, 196, 16
    column_width = (width - 2 * margin - words_width - (len(chosen) - 1) * gap) // len(chosen)
    frame_height = round(column_width * view.frame_wh[1] / view.frame_wh[0])
    square = round(column_width * 0.86)
    stack = planes_height(square, mask.shape[1])
    tops = [58, 58 + frame_height + 34, 58 + frame_height + 34 + square + 34]
    height = tops[2] + stack + 34
    page = Image.new("RGB", (width * FINE, height * FINE), PAGE)
    draw = ImageDraw.Draw(page)
    rows = zip(tops, (frame_height, square, stack), _explanations(view, mask), strict=True)
    for row, (top, row_height, (title, lines)) in enumerate(rows):
        _explain(draw, (margin, top), row_height, row + 1, title, lines)
    for place, n in enumerate(chosen):
        left = margin + words_width + place * (column_width + gap)
        start = int(starts[n])
        index = min(start + segment_length // 2, len(view.frames) - 1)
        middle = left + column_width / 2
        write_text(draw, (middle, 22), f"segment {n + 1}", 15, WORDS, "mm", bold=True)
        write_text(draw, (middle, 42), f"frames {start}–{start + segment_length - 1}", 13, SOFT, "mm")
        inset = left + (column_width - square) // 2
        page.paste(framed(view, index, column_width * FINE), (left * FINE, tops[0] * FINE))
        page.paste(covered(view, index, square * FINE), (inset * FINE, tops[1] * FINE))
        draw_steps(draw, mask[n], (left, tops[2]), column_width, square)
        for top in tops[1:]:
            _arrow(draw, (middle, top - 27), 18)
        words = f"{int(mask[n].sum())} positions" if mask[n].any() else "empty tube"
        write_text(draw, (middle, tops[2] + stack + 14), words, 13, SOFT, "mm")
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


def _explain(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], height: int, number: int, title: str, lines: list[str]
) -> None:
    """A numbered heading and what the row shows, beside the row's middle."""
    x, top = at
    y = top + max(0.0, (height - 34 - 19 * len(lines)) / 2)
    circle = [x * FINE, y * FINE, (x + 26) * FINE, (y + 26) * FINE]
    draw.ellipse(circle, fill=WORDS)
    write_text(draw, (x + 13, y + 13), str(number), 14, PAGE, "mm", bold=True)
    write_text(draw, (x + 36, y + 13), title, 18, WORDS, "lm", bold=True)
    for place, line in enumerate(lines):
        write_text(draw, (x, y + 44 + 19 * place), line, 13, SOFT, "lm")


def _arrow(draw: ImageDraw.ImageDraw, at: tuple[float, float], length: float) -> None:
    x, y = at[0] * FINE, at[1] * FINE
    tip = y + length * FINE
    draw.line((x, y, x, tip - 6 * FINE), fill=SOFT, width=2 * FINE)
    draw.polygon([(x - 5 * FINE, tip - 7 * FINE), (x + 5 * FINE, tip - 7 * FINE), (x, tip)], fill=SOFT)
