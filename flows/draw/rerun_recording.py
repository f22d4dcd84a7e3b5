"""One clip as a recording of Rerun (.rrd): frames, quads, coverage, tube mask and scores on a timeline of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.atomic import replacing
from data_catalog.catalog import CatalogError
from flows.draw.clip_view import ClipView

TIMELINE, SECONDS = "frame", "time"
JPEG_QUALITY = 90
GREEN, ORANGE, WHITE = (80, 220, 100), (255, 150, 30), (255, 255, 255)


def write_recording(
    view: ClipView, mask: NDArray[np.bool_], starts: Sequence[int], path: Path, segment_length: int, fps: float
) -> Path:
    """Write the recording; Rerun's viewer opens it: `rerun FILE.rrd`.

    Below `clip/` are `frame`, `quads`, a quad an athlete, and `truth` where it is known, in pixels of the normalised
    frame; below `grid/` `coverage`, (Hf, Wf) shares of each cell, `selected`, where they reach tau, and below `mask`
    for each segment, since they overlap, (Hf, Wf) of each of its T steps; below `score/` the tracker's score and
    whether it lost each athlete.

    Args:
        view: the clip.
        mask: (N, T, Hf, Wf) tube mask.
        starts: first frame of each of the N segments.
        path: the file.
        segment_length: frames of a segment.
        fps: frames a second of the second timeline.

    Raises:
        CatalogError: the package rerun-sdk isn't installed.
    """
    try:
        import rerun as rr  # an extra; only this writes with it
    except ImportError as exc:
        raise CatalogError('An .rrd file needs the package rerun-sdk: pip install "tubeflow[rerun]".') from exc
    with replacing(path) as temporary:
        recording = rr.RecordingStream("tubeflow", recording_id=f"{view.dataset}/{view.clip_id}")
        recording.save(str(temporary))
        for index in range(len(view.frames)):
            recording.set_time(TIMELINE, sequence=index)
            recording.set_time(SECONDS, duration=index / fps)
            _log_frame(rr, recording, view, index)
        for segment, (start, steps) in enumerate(zip(starts, mask, strict=True)):
            for step, cells in enumerate(steps):
                index = start + step * segment_length // len(steps)
                recording.set_time(TIMELINE, sequence=index)
                recording.set_time(SECONDS, duration=index / fps)
                recording.log(f"grid/mask/{segment}", rr.SegmentationImage(cells.astype(np.uint8)))
        recording.flush()
        recording.disconnect()
    return path


def _log_frame(rr: Any, recording: Any, view: ClipView, index: int) -> None:
    """Everything of one frame."""
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(view.frames[index], cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    recording.log("clip/frame", rr.EncodedImage(contents=encoded.tobytes(), media_type="image/jpeg"))
    for athlete, quads in enumerate(view.quads):
        color = ORANGE if view.is_lost(athlete, index) else GREEN
        _log_quad(rr, recording, f"clip/quads/{athlete}", quads[index], color)
        recording.log(f"score/lost/{athlete}", rr.Scalars(float(view.is_lost(athlete, index))))
        score = view.tracker_score(athlete, index)
        if score is not None:
            recording.log(f"score/tracker/{athlete}", rr.Scalars(score))
    for athlete, quads in enumerate(() if view.true_quads is None else view.true_quads):
        _log_quad(rr, recording, f"clip/truth/{athlete}", quads[index], WHITE)
    coverage = np.asarray(view.coverage[index], np.float32)
    recording.log("grid/coverage", rr.DepthImage(coverage, meter=1.0, depth_range=(0.0, 1.0)))
    recording.log("grid/selected", rr.SegmentationImage(view.selected(index).astype(np.uint8)))


def _log_quad(rr: Any, recording: Any, name: str, quad: NDArray[np.floating], color: tuple[int, int, int]) -> None:
    """A closed line through the corners (4, 2); nothing where one isn't finite."""
    if np.isfinite(quad).all():
        closed = np.concatenate([quad, quad[:1]])
        recording.log(name, rr.LineStrips2D([closed], colors=[color]))
    else:
        recording.log(name, rr.Clear(recursive=False))
