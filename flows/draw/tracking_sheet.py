"""One clip of a tracker evaluation at a glance: frames with the truth in green and the tracker's in orange."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from flows.draw.paint import (
    ALARM_COLOUR,
    BACKGROUND,
    FAINT_INK,
    INK,
    Canvas,
    Colour,
    font,
    paint_quad,
    resize,
    save_png,
    write_words,
)

TRUE_COLOUR: Colour = (84, 214, 112)
FOUND_COLOUR: Colour = (255, 154, 48)
FRAME_PX, COLUMNS, SHOWN = 360, 4, 12
_TITLE_PX, _CAPTION_PX, _GAP = 34, 24, 8


@dataclass(frozen=True, eq=False)
class TrackedClip:
    """What is drawn; all in pixels of `frames`.

    Attributes:
        title: printed above.
        frames: (L, H, W, 3) uint8 RGB.
        true_quads: (L, 4, 2), NaN where the target is not in sight.
        quads: (L, 4, 2) of the tracker.
        overlaps: (L,) IoU of the two, NaN where nothing is true.
        lost: (L,) bool, the tracker says so.
        true_masks: (L, h, w) bool of any size, or None.
        masks: L masks (H, W) bool or None, or None where the tracker has none at all.
    """

    title: str
    frames: NDArray[np.uint8]
    true_quads: NDArray[np.floating]
    quads: NDArray[np.floating]
    overlaps: NDArray[np.floating]
    lost: NDArray[np.bool_]
    true_masks: NDArray[np.bool_] | None = None
    masks: Sequence[NDArray[np.bool_] | None] | None = None


def tracking_sheet(clip: TrackedClip, path: Path) -> Path:
    """Write a PNG of up to twelve frames, evenly from the first to the last. Returns `path`."""
    shown = np.unique(np.rint(np.linspace(0, len(clip.frames) - 1, SHOWN)).astype(int))
    pictures = [_paint(clip, int(index)) for index in shown]
    height, width = pictures[0].shape[:2]
    rows = -(-len(shown) // COLUMNS)
    columns = min(COLUMNS, len(shown))
    size = (_GAP + columns * (width + _GAP), _TITLE_PX + rows * (height + _CAPTION_PX + _GAP))
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _TITLE_PX / 2), clip.title, font=font(15, bold=True), fill=INK, anchor="lm")
    legend = [("truth", TRUE_COLOUR), ("tracker", FOUND_COLOUR)]
    right = sum(font(13).getlength(text) + 10 for text, _ in legend)
    if size[0] > right + font(15, bold=True).getlength(clip.title) + 3 * _GAP:
        write_words(draw, (size[0] - _GAP - right, _TITLE_PX / 2), legend, 13)
    for number, (index, picture) in enumerate(zip(shown, pictures, strict=True)):
        x = _GAP + number % COLUMNS * (width + _GAP)
        y = _TITLE_PX + number // COLUMNS * (height + _CAPTION_PX + _GAP)
        sheet.paste(Image.fromarray(picture), (x, y))
        write_words(draw, (x, y + height + _CAPTION_PX / 2), _caption(clip, int(index)), 13)
    return save_png(sheet, path)


def _paint(clip: TrackedClip, index: int) -> Canvas:
    frame = clip.frames[index]
    scale = FRAME_PX / frame.shape[1]
    canvas = resize(frame, (FRAME_PX, max(1, round(frame.shape[0] * scale))))
    if clip.masks is not None and (mask := clip.masks[index]) is not None:
        inside = _resized(mask, canvas)
        canvas[inside] = (canvas[inside] * 0.6 + np.array(FOUND_COLOUR) * 0.4).astype(np.uint8)
    if clip.true_masks is not None:
        inside = _resized(clip.true_masks[index], canvas)
        inner = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
        canvas[inside & ~inner] = TRUE_COLOUR
    paint_quad(canvas, np.asarray(clip.true_quads[index]) * scale, TRUE_COLOUR, thickness=1)
    paint_quad(canvas, np.asarray(clip.quads[index]) * scale, FOUND_COLOUR, thickness=1, dashed=bool(clip.lost[index]))
    return canvas


def _resized(mask: NDArray[np.bool_], canvas: Canvas) -> NDArray[np.bool_]:
    size_wh = canvas.shape[1], canvas.shape[0]
    return np.asarray(cv2.resize(mask.astype(np.uint8) * 255, size_wh, interpolation=cv2.INTER_AREA) >= 128)


def _caption(clip: TrackedClip, index: int) -> list[tuple[str, Colour]]:
    words: list[tuple[str, Colour]] = [(f"frame {index}", INK)]
    overlap = float(clip.overlaps[index])
    words.append((f"IoU {overlap:.2f}", FOUND_COLOUR) if np.isfinite(overlap) else ("not in sight", FAINT_INK))
    if clip.lost[index]:
        words.append(("lost", ALARM_COLOUR))
    return words
