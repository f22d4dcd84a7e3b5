"""Strokes that all pictures share: quads, crop window, selected cells, text.

Every function takes a canvas (h, w, 3) uint8 RGB and paints into it in place; coordinates are continuous canvas
pixels (canvas pixel i spans [i, i+1)), so a quad of the normalised frame is multiplied by the canvas' scale first.
"""

import importlib.util
import io
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data_catalog.atomic import replacing
from flows.draw.clip_view import ClipView, CropWindow
from flows.draw.poses import paint_pose

Colour = tuple[int, int, int]
Canvas = NDArray[np.uint8]

ATHLETE_COLOURS: tuple[Colour, ...] = ((255, 209, 64), (64, 208, 255), (255, 140, 60), (160, 240, 110))
TRUTH_COLOUR: Colour = (255, 255, 255)
CELL_COLOUR: Colour = (255, 74, 140)
CROP_COLOUR: Colour = (214, 220, 228)
ALARM_COLOUR: Colour = (255, 112, 96)
BACKGROUND: Colour = (20, 24, 30)
INK: Colour = (236, 240, 244)
FAINT_INK: Colour = (158, 168, 180)
UNDERSTROKE: Colour = (16, 18, 22)

_SUBPIXEL_BITS = 4
_DASH_PX, _GAP_PX = 7.0, 5.0


def athlete_colour(athlete: int) -> Colour:
    """Colour of the tube with this index; colours repeat after four athletes."""
    return ATHLETE_COLOURS[athlete % len(ATHLETE_COLOURS)]


@lru_cache(maxsize=32)
def font(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it: the same letters on every machine, with Greek and mathematical signs."""
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            "matplotlib, whose fonts the pictures use, is not installed; install tubeflow again"
        )
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / name), size_px)


def fit_text(text: str, face: ImageFont.FreeTypeFont, width_px: float) -> str:
    """The text, its end replaced by an ellipsis where it is wider than `width_px`."""
    if face.getlength(text) <= width_px:
        return text
    while text and face.getlength(text + "…") > width_px:
        text = text[:-1]
    return text + "…"


def resize(frame: Canvas, size_wh: tuple[int, int]) -> Canvas:
    """A copy (h, w, 3) of the frame (H, W, 3) with another size; areas are averaged when it shrinks."""
    shrinks = size_wh[0] < frame.shape[1]
    scaled = cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.ascontiguousarray(scaled, dtype=np.uint8)


def paint_line(canvas: Canvas, points: NDArray[np.floating], colour: Colour, thickness: int) -> None:
    """An antialiased open line through (k, 2) points."""
    # cv2 counts from pixel centres, we from pixel edges: hence the half pixel.
    fixed = np.clip(np.rint((np.asarray(points, np.float64) - 0.5) * 2**_SUBPIXEL_BITS), -(2**28), 2**28)
    cv2.polylines(canvas, [fixed.astype(np.int32)], False, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _dashes(start: NDArray[np.floating], end: NDArray[np.floating]) -> list[NDArray[np.floating]]:
    length = float(np.hypot(*(end - start)))
    if length == 0.0:
        return []
    # An edge that runs far out of the picture gets no more dashes than a picture can show.
    begins = np.arange(0.0, min(length, 20_000.0), _DASH_PX + _GAP_PX)
    ends = np.minimum(begins + _DASH_PX, length)
    along = (end - start) / length
    return [np.stack([start + a * along, start + b * along]) for a, b in zip(begins, ends, strict=True)]


def paint_quad(
    canvas: Canvas, quad: NDArray[np.floating], colour: Colour, *, thickness: int = 2, dashed: bool = False
) -> None:
    """Outline of one quad (4, 2), over a darker one so that it stands out on any background.

    A quad with a non-finite corner isn't drawn.
    """
    if not np.isfinite(quad).all():
        return
    corners = np.asarray(quad, np.float64)
    closed = np.concatenate([corners, corners[:1]])
    pieces = [closed]
    if dashed:
        pieces = [dash for a, b in pairwise(closed) for dash in _dashes(a, b)]
    for stroke, width in ((UNDERSTROKE, thickness + 2), (colour, thickness)):
        for piece in pieces:
            paint_line(canvas, piece, stroke, width)


def crop_quad(crop: CropWindow) -> NDArray[np.float64]:
    """The crop window's corners (4, 2), clockwise from the upper left."""
    x0, y0, x1, y1 = crop.left, crop.top, crop.left + crop.size, crop.top + crop.size
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def cell_of_pixels(
    canvas_wh: tuple[int, int], crop: CropWindow, scale: float, grid: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Which grid cell each canvas pixel's centre lies in.

    Args:
        canvas_wh: Size of the canvas in pixels.
        crop: Crop window in pixels of the normalised frame.
        scale: Canvas pixels per frame pixel.
        grid: (Hf, Wf).

    Returns:
        Row of each canvas row (h,), column of each canvas column (w,), and (h, w) bool: inside the crop.
    """
    rows, columns = grid
    y = ((np.arange(canvas_wh[1]) + 0.5) / scale - crop.top) / crop.size * rows
    x = ((np.arange(canvas_wh[0]) + 0.5) / scale - crop.left) / crop.size * columns
    inside = ((y >= 0) & (y < rows))[:, None] & ((x >= 0) & (x < columns))[None, :]
    row = np.clip(np.floor(y), 0, rows - 1).astype(np.intp)
    column = np.clip(np.floor(x), 0, columns - 1).astype(np.intp)
    return row, column, inside


def paint_cells(
    canvas: Canvas, selected: NDArray[np.bool_], crop: CropWindow, scale: float, *, opacity: float = 0.34
) -> None:
    """Darken what lies outside the crop window, tint the selected cells (Hf, Wf) and outline their union."""
    height, width = canvas.shape[:2]
    grid = (int(selected.shape[0]), int(selected.shape[1]))
    row, column, inside = cell_of_pixels((width, height), crop, scale, grid)
    canvas[~inside] = canvas[~inside] // 2
    tinted = selected[np.ix_(row, column)] & inside
    blend = canvas[tinted] * (1 - opacity) + np.array(CELL_COLOUR) * opacity
    canvas[tinted] = blend.astype(np.uint8)
    eroded = cv2.erode(tinted.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
    canvas[tinted & ~eroded] = CELL_COLOUR


def paint_frame(view: ClipView, index: int, width_px: int) -> Canvas:
    """One frame with crop window, selected cells, ground truth, quads and the athlete's pose.

    Args:
        view: The clip.
        index: Frame index in 0 … L-1.
        width_px: Width of the picture; the height keeps the frame's proportions.

    Returns:
        (h, width_px, 3) uint8 RGB.
    """
    frame_width, frame_height = view.frame_wh
    scale = width_px / frame_width
    canvas = resize(view.frames[index], (width_px, max(1, round(frame_height * scale))))
    paint_cells(canvas, view.selected(index), view.crop, scale)
    window = crop_quad(view.crop) * scale
    paint_line(canvas, np.concatenate([window, window[:1]]), CROP_COLOUR, 1)
    if view.true_quads is not None:
        for quad in view.true_quads[:, index]:
            paint_quad(canvas, quad * scale, TRUTH_COLOUR)
    for athlete in range(view.athletes):
        paint_quad(
            canvas,
            view.quads[athlete, index] * scale,
            athlete_colour(athlete),
            dashed=view.is_lost(athlete, index),
        )
    if view.poses is not None:
        paint_pose(canvas, view.poses, index, scale)
    return canvas


def caption_words(view: ClipView, index: int) -> list[tuple[str, Colour]]:
    """What stands under a frame, with colours: its number, each tracker's score or "lost", what else is amiss."""
    words: list[tuple[str, Colour]] = [(f"frame {index}", INK)]
    for athlete in range(view.athletes):
        score = view.tracker_score(athlete, index)
        text = "" if score is None else f"{score:.2f}"
        if view.is_lost(athlete, index):
            words.append((f"{text} lost".strip(), ALARM_COLOUR))
        elif text:
            words.append((text, athlete_colour(athlete)))
    if not view.selected(index).any():
        words.append(("no cell", ALARM_COLOUR))
    if view.poses is not None and view.poses.missing[index]:
        words.append(("no pose", FAINT_INK))
    elif view.poses is not None and view.poses.off_tube[index]:
        words.append(("pose off the tube", ALARM_COLOUR))
    return words


def write_words(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], words: list[tuple[str, Colour]], size_px: int
) -> None:
    """Coloured words one after the other, `at` the left end of their middle line."""
    face = font(size_px)
    x, y = at
    for text, colour in words:
        draw.text((x, y), text, font=face, fill=colour, anchor="lm")
        x += face.getlength(text) + 0.75 * size_px


def save_png(image: Image.Image, path: Path) -> Path:
    """Write the picture whole or not at all: to a temporary file beside it, then renamed."""
    buffer = io.BytesIO()
    # optimize=True takes seconds a sheet and saves a few percent; so, less so, does the default level.
    image.save(buffer, "PNG", compress_level=2)
    return write_whole(path, buffer.getvalue())


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file so that readers see the old one or the whole new one; folders are made where missing."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path
