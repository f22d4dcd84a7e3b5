"""Two tubes of one clip side by side: a sheet, a video, and their overlap over time below."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from flows.draw import paint
from flows.draw.clip_view import ClipView, evenly_chosen
from flows.draw.overlay import write_video
from flows.draw.sheet import GAP, MARGIN, TITLE, frame_panel, sheet_heading

_PLOT, _AXIS = 150, 26  # px: height of the plot, and of what stands below it


@dataclass(frozen=True, eq=False)
class PairView:
    """Two tubes of one clip.

    Attributes:
        views: the clip with each tube, frames the same.
        titles: what tracked each.
        overlap: (L,) IoU of the quads in [0, 1], mean over athletes.
    """

    views: tuple[ClipView, ClipView]
    titles: tuple[str, str]
    overlap: NDArray[np.floating]

    def __post_init__(self) -> None:
        one, other = self.views
        if len(one.frames) != len(other.frames) or self.overlap.shape != (len(one.frames),):
            raise ValueError(f"the two tubes of clip '{one.clip_id}' are of different lengths")


def pair_sheet(pair: PairView, path: Path, *, frames: int = 6, panel_width: int = 360) -> Path:
    """Some frames twice, one tube beside the other, where they agree least among them; below, overlap over time."""
    length = len(pair.overlap)
    chosen = sorted({*evenly_chosen(length, frames - 1), int(np.argmin(pair.overlap))})
    rows = [[frame_panel(view, index, panel_width) for view in pair.views] for index in chosen]
    block = 2 * panel_width + 4
    columns = 2
    height_of = rows[0][0].height
    width = 2 * MARGIN + columns * block + GAP * 2
    lines = -(-len(rows) // columns)
    top = MARGIN + TITLE + 24
    sheet = Image.new("RGB", (width, top + lines * (height_of + GAP) + _PLOT + _AXIS + MARGIN), paint.BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    mean, worst = float(pair.overlap.mean()), int(np.argmin(pair.overlap))
    facts = f"{pair.views[0].dataset}  ·  mean overlap (IoU) {mean:.2f}, least in frame {worst}"
    sheet_heading(draw, (MARGIN, MARGIN), pair.views[0].clip_id, facts, width - 2 * MARGIN)
    for place, panels in enumerate(rows):
        line, column = divmod(place, columns)
        for side, panel in enumerate(panels):
            x = MARGIN + column * (block + 2 * GAP) + side * (panel_width + 4)
            if line == 0:
                draw.text((x, top - 14), pair.titles[side], font=paint.font(15, True), fill=paint.INK, anchor="lm")
            sheet.paste(panel, (x, top + line * (height_of + GAP)))
    box = (MARGIN, sheet.height - _PLOT - _AXIS - MARGIN, width - MARGIN, sheet.height - _AXIS - MARGIN)
    _plot(draw, box, pair, marks=chosen)
    return paint.save_png(sheet, path)


def pair_video(pair: PairView, path: Path, *, fps: Fraction | float = 25, panel_width: int = 640) -> Path:
    """All frames, one tube beside the other, the overlap so far below, as an MP4."""
    return write_video(path, _pictures(pair, panel_width - panel_width % 2), Fraction(fps).limit_denominator(60_000))


def _pictures(pair: PairView, panel_width: int) -> Iterator[paint.Canvas]:
    for index in range(len(pair.overlap)):
        panels = [frame_panel(view, index, panel_width) for view in pair.views]
        height = panels[0].height + 30 + 110 + _AXIS
        page = Image.new("RGB", (2 * panel_width + 4, height + height % 2), paint.BACKGROUND)
        draw = ImageDraw.Draw(page)
        for side, panel in enumerate(panels):
            x = side * (panel_width + 4)
            draw.text((x + 4, 15), pair.titles[side], font=paint.font(17, True), fill=paint.INK, anchor="lm")
            page.paste(panel, (x, 30))
        _plot(draw, (10, panels[0].height + 34, page.width - 10, page.height - _AXIS), pair, cursor=index)
        yield np.asarray(page)


def _plot(
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    pair: PairView,
    cursor: int | None = None,
    marks: list[int] | None = None,
) -> None:
    """Overlap over frames inside of `box` (x0, y0, x1, y1), its axis below."""
    x0, y0, x1, y1 = box
    length, left = len(pair.overlap), x0 + 34

    def at(t: float, value: float) -> tuple[float, float]:
        return left + (x1 - left) * t / max(length - 1, 1), y1 - (y1 - y0) * value

    for value in (0.0, 0.5, 1.0):
        draw.line((*at(0, value), *at(length - 1, value)), fill=(52, 60, 70))
        draw.text((left - 6, at(0, value)[1]), f"{value:g}", font=paint.font(12), fill=paint.FAINT_INK, anchor="rm")
    for mark in marks or []:
        draw.line((*at(mark, 0), *at(mark, 1)), fill=(44, 52, 62))
        draw.text((at(mark, 0)[0], y1 + 12), str(mark), font=paint.font(12), fill=paint.FAINT_INK, anchor="mm")
    shown = length if cursor is None else cursor + 1
    draw.line([at(t, float(value)) for t, value in enumerate(pair.overlap[:shown])], fill=paint.CELL_COLOUR, width=3)
    if cursor is not None:
        draw.line((*at(cursor, 0), *at(cursor, 1)), fill=paint.INK)
        words = f"overlap {pair.overlap[cursor]:.2f} in frame {cursor}"
        draw.text((left, y1 + 13), words, font=paint.font(14), fill=paint.FAINT_INK, anchor="lm")
