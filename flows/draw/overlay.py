"""The clip as a video with its tube drawn in: H.264 in MP4, as every browser plays it."""

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from flows.draw import paint
from flows.draw.clip_view import ClipView

_BAR = 34


def overlay_video(view: ClipView, path: Path, *, fps: Fraction | float = 25, width: int = 910) -> Path:
    """Write all frames of the clip with quads, crop window and selected cells as an MP4.

    Args:
        view: The clip with its tubes.
        path: Where the MP4 is written; its folder is made where missing.
        fps: Frames a second.
        width: Width of the picture in pixels, made even as 4:2:0 colour needs; the height follows the frame's
            proportions plus a line of text.

    Returns:
        `path`.

    Raises:
        ValueError: `fps` isn't positive.
    """
    rate = Fraction(fps).limit_denominator(60_000)
    if rate <= 0:
        raise ValueError(f"clip '{view.clip_id}': an overlay needs a positive frame rate, found {fps}")
    width -= width % 2
    return write_video(path, (_picture(view, index, width) for index in range(len(view.frames))), rate)


def write_video(path: Path, pictures: Iterable[paint.Canvas], rate: Fraction) -> Path:
    """Write pictures (h, w, 3) uint8 RGB, all of one even size, as an MP4, whole or not at all."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # faststart puts the index first, so that a browser plays before it has the whole file.
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
            stream.pix_fmt = "yuv420p"
            for index, picture in enumerate(pictures):
                if index == 0:
                    stream.height, stream.width = picture.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _picture(view: ClipView, index: int, width: int) -> paint.Canvas:
    """One frame of the video (even height, width, 3) uint8: the painted frame above a line of text."""
    frame = paint.paint_frame(view, index, width)
    height = frame.shape[0] + _BAR
    height += height % 2
    page = Image.new("RGB", (width, height), paint.BACKGROUND)
    page.paste(Image.fromarray(frame), (0, 0))
    draw = ImageDraw.Draw(page)
    middle = frame.shape[0] + _BAR / 2
    paint.write_words(draw, (10, middle), paint.caption_words(view, index), 17)
    name = view.clip_id if view.score is None else f"{view.clip_id}  ·  score {view.score:g}"
    face = paint.font(15)
    draw.text(
        (width - 10, middle),
        paint.fit_text(name, face, width * 0.45),
        font=face,
        fill=paint.FAINT_INK,
        anchor="rm",
    )
    # A thin line grows with time: where in the clip are we?
    done = round(width * (index + 1) / len(view.frames))
    draw.rectangle((0, frame.shape[0], done, frame.shape[0] + 2), fill=paint.CELL_COLOUR)
    return np.asarray(page)
