"""One clip as one HTML file: frames, layers, plot, lineage. It opens by double click and needs no server."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from data_catalog.tables.tube_quality import TubeQuality, TubeSeries
from flows.draw.clip_view import ClipView
from flows.draw.paint import write_whole
from flows.draw.tube_layers import GridLayer, numbers, tube_json
from flows.report.data import LineageRow
from flows.report.page_templates import page_templates
from flows.runs.clip_steps import ClipStep

JPEG_QUALITY = 82  # of frames to look at: a third of the stored ones' bytes
FRAME_LISTS = ("cuts", "jumps", "area_changes", "score_drops", "lost_frames", "drift_frames", "outside_frames")


@dataclass(frozen=True, eq=False)
class ScoredSteps:
    """The steps of a clip and, where a run evaluated it, what its segments' scores make of them.

    Attributes:
        steps: in order of time.
        scores: (N,) float64, each segment's own score; None where no run evaluated the clip.
        run_id: the run that did; empty where none.
    """

    steps: Sequence[ClipStep]
    scores: NDArray[np.float64] | None
    run_id: str


@dataclass(frozen=True, eq=False)
class ClipPage:
    """What the page shows.

    Attributes:
        view: frames, quads, scores, truth.
        track: the track artifact's arrays.
        grid: coverage and tube mask, as the masks stage made them.
        fps: frames a second of the playback.
        facts: short labelled facts below the title.
        lineage: the artifacts behind it, the last one first.
        files: path of each artifact, by stage.
        quality: the judgement of the tube, where it was measured.
        series: what was measured, to be plotted.
        scored: the clip's steps; None where it has none.
        command: what makes this page again.
    """

    view: ClipView
    track: Mapping[str, NDArray[np.generic]]
    grid: GridLayer
    fps: float
    facts: Mapping[str, str] = field(default_factory=dict)
    lineage: Sequence[LineageRow] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    quality: TubeQuality | None = None
    series: TubeSeries | None = None
    scored: ScoredSteps | None = None
    command: str = ""


def write_clip_page(path: Path, page: ClipPage) -> Path:
    """Write the page as one self-contained file; its content policy forbids every request.

    Raises:
        OSError: the file can't be written.
    """
    environment = page_templates()
    script = resources.files("flows.report").joinpath("templates", "clip_file.js").read_text()
    text = environment.get_template("clip_file.html.j2").render(
        page=page,
        script=Markup(script),  # our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(_in_script(page_json(page))),
        first=_jpeg(page.view.frames[0]),
        height=page.view.frame_wh[1],
        width=page.view.frame_wh[0],
    )
    return write_whole(path, text.encode())


def _in_script(value: Mapping[str, object]) -> str:
    """JSON that can stand inside a script element: no character of it ends one."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def page_json(page: ClipPage) -> dict[str, object]:
    """What the page's script draws from."""
    view, series, scored = page.view, page.series, page.scored
    width, height = view.frame_wh
    truth = view.true_quads
    return {
        "width": width,
        "height": height,
        "fps": page.fps,
        "frames": [_jpeg(frame) for frame in view.frames],
        "tube": tube_json(page.track),
        "grid": page.grid.as_json(),
        "truth": None if truth is None else numbers(np.asarray(truth, np.float64), 2),
        "likeness": None if series is None else numbers(series.likeness, 3),
        "steps": [] if scored is None else [step.as_json() for step in scored.steps],
        "segment_scores": None if scored is None or scored.scores is None else numbers(scored.scores, 4),
        "poses": None if view.poses is None else view.poses.as_json(),
        "marks": {} if page.quality is None else {name: getattr(page.quality, name) for name in FRAME_LISTS},
    }


def _jpeg(frame: NDArray[np.uint8]) -> str:
    _, stream = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(stream.tobytes()).decode()}"
