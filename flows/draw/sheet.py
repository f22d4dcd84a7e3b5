"""Contact sheets: one clip on a page, or one row a clip for a whole run."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from flows.draw import paint
from flows.draw.clip_view import ClipView, evenly_chosen
from flows.draw.poses import OFF_COLOUR, POSE_COLOUR

MARGIN, GAP, _CAPTION = 20, 12, 26
TITLE, _LEGEND = 62, 36


def contact_sheet(
    view: ClipView, path: Path, *, frames: int = 12, columns: int = 4, panel_width: int = 380
) -> Path:
    """Draw about a dozen frames of one clip, evenly chosen, as a PNG.

    Each frame shows its quads (one colour an athlete, dashed where lost), the crop window (outside is darker), the
    grid cells with coverage >= tau, and below it the frame number and tracker scores.

    Args:
        view: The clip with its tubes.
        path: Where the PNG is written; its folder is made where missing.
        frames: How many frames; all of them where the clip is shorter.
        columns: Frames side by side.
        panel_width: Width of one frame on the sheet in pixels.

    Returns:
        `path`.
    """
    chosen = evenly_chosen(len(view.frames), frames)
    columns = min(columns, len(chosen))
    panels = [frame_panel(view, index, panel_width) for index in chosen]
    cell_height = panels[0].height
    rows = math.ceil(len(panels) / columns)
    width = 2 * MARGIN + columns * panel_width + (columns - 1) * GAP
    height = MARGIN + TITLE + rows * (cell_height + GAP) + _LEGEND
    sheet = Image.new("RGB", (width, height), paint.BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    sheet_heading(draw, (MARGIN, MARGIN), view.clip_id, _facts(view, len(chosen)), width - 2 * MARGIN)
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        at = (MARGIN + column * (panel_width + GAP), MARGIN + TITLE + row * (cell_height + GAP))
        sheet.paste(panel, at)
    _legend(draw, (MARGIN, height - _LEGEND / 2 - 4), [view], width - 2 * MARGIN)
    return paint.save_png(sheet, path)


def dataset_sheet(
    views: Sequence[ClipView], path: Path, *, title: str, frames: int = 8, panel_width: int = 220
) -> Path:
    """Draw one row a clip: the tubes of a whole run at a glance, as a PNG.

    Args:
        views: The clips, in the order of the rows; at least one.
        path: Where the PNG is written.
        title: First line of the picture, for example the run and the dataset.
        frames: Frames in a row.
        panel_width: Width of one frame in pixels.

    Returns:
        `path`.

    Raises:
        ValueError: No clip is given.
    """
    if not views:
        raise ValueError("a contact sheet needs at least one clip; none is given")
    strips = [_strip(view, frames, panel_width) for view in views]
    width = max(strip.width for strip in strips) + 2 * MARGIN
    height = MARGIN + TITLE + sum(strip.height + GAP for strip in strips) + _LEGEND
    sheet = Image.new("RGB", (width, height), paint.BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    noun = "clip" if len(views) == 1 else "clips"
    sheet_heading(draw, (MARGIN, MARGIN), title, f"{len(views)} {noun}, {frames} frames each", width - 2 * MARGIN)
    y = MARGIN + TITLE
    for strip in strips:
        sheet.paste(strip, (MARGIN, y))
        y += strip.height + GAP
    _legend(draw, (MARGIN, height - _LEGEND / 2 - 4), views, width - 2 * MARGIN)
    return paint.save_png(sheet, path)


def segment_strip(
    view: ClipView, path: Path, starts: Sequence[int], *, segment_length: int = 16, panel_width: int = 200
) -> Path:
    """Draw the middle frame of every segment side by side: the strip below a per-segment score curve.

    Raises:
        ValueError: A segment reaches beyond the clip's last frame.
    """
    beyond = [start for start in starts if start < 0 or start + segment_length > len(view.frames)]
    if beyond or not starts:
        raise ValueError(
            f"clip '{view.clip_id}' has {len(view.frames)} frames; it has no segment of {segment_length} frames "
            f"starting at {beyond or 'any frame'}"
        )
    panels = [frame_panel(view, int(start) + segment_length // 2, panel_width) for start in starts]
    width = len(panels) * panel_width + (len(panels) - 1) * 4
    strip = Image.new("RGB", (width, panels[0].height), paint.BACKGROUND)
    for place, panel in enumerate(panels):
        strip.paste(panel, (place * (panel_width + 4), 0))
    return paint.save_png(strip, path)


def frame_panel(view: ClipView, index: int, width: int) -> Image.Image:
    """One painted frame with its caption below."""
    frame = paint.paint_frame(view, index, width)
    panel = Image.new("RGB", (width, frame.shape[0] + _CAPTION), paint.BACKGROUND)
    panel.paste(Image.fromarray(frame), (0, 0))
    size = 15 if width >= 300 else 12
    words = paint.caption_words(view, index)
    paint.write_words(ImageDraw.Draw(panel), (2, frame.shape[0] + _CAPTION / 2), words, size)
    return panel


def _strip(view: ClipView, frames: int, panel_width: int) -> Image.Image:
    panels = [frame_panel(view, index, panel_width) for index in evenly_chosen(len(view.frames), frames)]
    gap, heading = 6, 26
    width = frames * panel_width + (frames - 1) * gap
    strip = Image.new("RGB", (width, heading + panels[0].height), paint.BACKGROUND)
    draw = ImageDraw.Draw(strip)
    name = paint.fit_text(view.clip_id, paint.font(16, bold=True), width * 0.6)
    draw.text((0, heading / 2), name, font=paint.font(16, bold=True), fill=paint.INK, anchor="lm")
    beside = paint.font(16, bold=True).getlength(name) + 16
    facts = paint.fit_text(_facts(view), paint.font(14), width - beside)
    draw.text((beside, heading / 2), facts, font=paint.font(14), fill=paint.FAINT_INK, anchor="lm")
    for place, panel in enumerate(panels):
        strip.paste(panel, (place * (panel_width + gap), heading))
    return strip


def _facts(view: ClipView, shown: int | None = None) -> str:
    """The title's second line: what is known about the clip and its tube."""
    length = len(view.frames)
    facts = [view.dataset, "no score" if view.score is None else f"score {view.score:g}"]
    facts.append(f"{length} frames" if shown is None else f"{shown} of {length} frames")
    covered = np.asarray(view.coverage >= view.tau).reshape(length, -1).any(axis=1)
    rows, columns = view.coverage.shape[1:]
    facts.append(f"{int(covered.sum())} frames select a cell of the {rows}×{columns} grid (τ {view.tau:g})")
    if view.lost is not None and view.lost.any():
        facts.append(f"lost in {int(view.lost.any(axis=0).sum())} frames")
    if view.poses is not None:
        facts.append(f"poses in {view.poses.sentence}")
    return "  ·  ".join(facts)


def sheet_heading(draw: ImageDraw.ImageDraw, at: tuple[int, int], title: str, facts: str, width: float) -> None:
    """A sheet's title and the line of facts below it."""
    bold, plain = paint.font(24, bold=True), paint.font(15)
    draw.text(at, paint.fit_text(title, bold, width), font=bold, fill=paint.INK)
    draw.text((at[0], at[1] + 33), paint.fit_text(facts, plain, width), font=plain, fill=paint.FAINT_INK)


def _legend(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], views: Sequence[ClipView], width: float
) -> None:
    """Swatches of what the sheet shows, and of nothing else."""
    athletes = max(view.athletes for view in views)
    entries: list[tuple[str, paint.Colour, str]] = [
        (f"athlete {a + 1}" if athletes > 1 else "athlete", paint.athlete_colour(a), "line")
        for a in range(athletes)
    ]
    if any(view.lost is not None and view.lost.any() for view in views):
        entries.append(("lost by the tracker", paint.athlete_colour(0), "dashes"))
    if any(view.true_quads is not None for view in views):
        entries.append(("ground truth", paint.TRUTH_COLOUR, "line"))
    if any(view.poses is not None for view in views):
        entries.append(("pose", POSE_COLOUR, "line"))
    if any(view.poses is not None and view.poses.off_tube.any() for view in views):
        entries.append(("pose off the tube", OFF_COLOUR, "line"))
    entries += [("crop window", paint.CROP_COLOUR, "window"), ("selected cells", paint.CELL_COLOUR, "fill")]
    face = paint.font(14)
    x, y = at
    for text, colour, kind in entries:
        if x + 34 + face.getlength(text) > at[0] + width:
            break
        if kind in ("fill", "window"):
            fill = colour if kind == "fill" else None
            draw.rectangle((x, y - 6, x + 24, y + 6), fill=fill, outline=colour)
        for begin in (0, 9, 18) if kind == "dashes" else ():
            draw.line((x + begin, y, x + begin + 6, y), fill=colour, width=3)
        if kind == "line":
            draw.line((x, y, x + 24, y), fill=colour, width=3)
        draw.text((x + 32, y), text, font=face, fill=paint.FAINT_INK, anchor="lm")
        x += 32 + face.getlength(text) + 24
