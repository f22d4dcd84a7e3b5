"""How a tube comes about, as a picture that moves: a GIF, which pages show that play no video.

The three steps of `pipeline_picture`, side by side, frame by frame: track, cover, select.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from flows.draw import paint
from flows.draw.clip_view import ClipView
from flows.draw.tube_panels import (
    FINE,
    PAGE,
    RULE,
    SOFT,
    WORDS,
    check_mask,
    covered,
    draw_steps,
    framed,
    planes_height,
    write_text,
)

_COLOURS = 128  # of one palette for the whole film, so that nothing flickers
_SHOW_MS, _HOLD_MS = 120, 1800
_MARGIN, _GAP, _HEAD, _FOOT = 16, 18, 56, 26


def tube_film(
    view: ClipView,
    mask: NDArray[np.bool_],
    starts: Sequence[int],
    path: Path,
    *,
    segment_length: int = 16,
    every: int = 3,
    width: int = 800,
) -> Path:
    """Write the film as a GIF that starts again when it has ended.

    Args:
        view: The clip with its tubes.
        mask: (N, T, Hf, Wf) bool, the clip's tube mask.
        starts: First frame of each of the N segments.
        path: Where the GIF is written; its folder is made where missing.
        segment_length: Frames in a segment.
        every: One picture for so many frames of the clip.
        width: Width of the film in pixels.

    Returns:
        `path`.

    Raises:
        ValueError: The mask has another grid than the coverage, or another number of segments than `starts`.
    """
    check_mask(view, mask, starts)
    shown = segments_shown(starts, segment_length, len(view.frames))
    pictures = list(_pictures(view, mask, shown, starts, segment_length, every, width))
    palette = _montage(pictures).quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    content = io.BytesIO()
    durations = [_SHOW_MS] * len(others) + [_HOLD_MS]
    first.save(content, "GIF", save_all=True, append_images=others, duration=durations, loop=0, disposal=1)
    return paint.write_whole(path, content.getvalue())


def segments_shown(starts: Sequence[int], segment_length: int, length: int) -> list[int]:
    """Which segment (L,) each frame is shown with: segments overlap, and one is shown to its end before the next."""
    chosen = [0]
    for n, start in enumerate(starts):
        if start >= starts[chosen[-1]] + segment_length:
            chosen.append(n)
    return [max((n for n in chosen if starts[n] <= frame), default=0) for frame in range(length)]


def _pictures(
    view: ClipView,
    mask: NDArray[np.bool_],
    shown: Sequence[int],
    starts: Sequence[int],
    segment_length: int,
    every: int,
    width: int,
) -> Iterator[Image.Image]:
    """Every `every`th frame as a picture of the film."""
    room = width - 2 * _MARGIN - 2 * _GAP
    frame_width = round(room * 0.5)
    frame_height = round(frame_width * view.frame_wh[1] / view.frame_wh[0])
    square = min(frame_height, (room - frame_width) // 2)
    stack_width = room - frame_width - square
    side = round(square / planes_height(1000, mask.shape[1]) * 1000)  # so that the planes are as high as the grid
    tall = max(frame_height, square)
    lefts = (_MARGIN, _MARGIN + frame_width + _GAP, _MARGIN + frame_width + square + 2 * _GAP)
    titles = ("Track", "Cover", "Select")
    stride = segment_length // mask.shape[1]
    for index in range(0, len(view.frames), every):
        n = shown[index]
        done = min(max((index - starts[n]) // stride + 1, 0), mask.shape[1])
        page = Image.new("RGB", (width * FINE, (_HEAD + tall + _FOOT) * FINE), PAGE)
        draw = ImageDraw.Draw(page)
        said = (
            f"frame {index}",
            f"{int(view.selected(index).sum())} of {mask[0, 0].size} cells",
            f"segment {n + 1}, step {done}",
        )
        for place, (left, title) in enumerate(zip(lefts, titles, strict=True)):
            write_text(draw, (left, 20), f"{place + 1}  {title}", 17, WORDS, "lm", bold=True)
            write_text(draw, (left, 41), said[place], 13, SOFT, "lm")
        page.paste(framed(view, index, frame_width * FINE), (lefts[0] * FINE, _HEAD * FINE))
        page.paste(covered(view, index, square * FINE), (lefts[1] * FINE, _HEAD * FINE))
        draw_steps(
            draw, mask[n] & (np.arange(mask.shape[1]) < done)[:, None, None], (lefts[2], _HEAD), stack_width, side
        )
        bottom = _HEAD + tall + _FOOT / 2
        end = _MARGIN + (width - 2 * _MARGIN) * (index + 1) / len(view.frames)
        for x, colour in ((width - _MARGIN, RULE), (end, paint.CELL_COLOUR)):  # where in the clip are we?
            draw.line((_MARGIN * FINE, bottom * FINE, x * FINE, bottom * FINE), fill=colour, width=2 * FINE)
        yield page.resize((page.width // FINE, page.height // FINE), Image.Resampling.LANCZOS)


def _montage(pictures: Sequence[Image.Image]) -> Image.Image:
    """What the palette is made from: some of the pictures, and the quads' colours, too rare in them to be kept."""
    chosen = pictures[:: max(1, len(pictures) // 6)]
    width, height = pictures[0].size
    whole = Image.new("RGB", (width, height * (len(chosen) + 1)))
    for place, picture in enumerate(chosen):
        whole.paste(picture, (0, place * height))
    part = width // len(paint.ATHLETE_COLOURS)
    for place, colour in enumerate(paint.ATHLETE_COLOURS):
        whole.paste(colour, (place * part, len(chosen) * height, (place + 1) * part, (len(chosen) + 1) * height))
    return whole
