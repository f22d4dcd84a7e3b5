"""`tubeflow detect …`: how often detectors and policies choose the athlete."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import JsonOption, plain_errors
from flows.config import ConfigError
from flows.console import stage_bars
from models.detectors import Detector, build_detector
from tasks.engine import progress

app = typer.Typer(no_args_is_help=True, help="Measure detectors of the first frame's athlete.")

OWN = ["athlete-n"]
NO_BOXES: list[str] = []


@app.callback()
def _detect() -> None:
    """A group of commands, even while there is one."""


@app.command("evaluate")
@plain_errors
def detect_evaluate(
    root: Annotated[Path, typer.Argument(help="Folder of clips: with labels.csv, or tracks as for `tracks evaluate`.")],
    detectors: Annotated[
        list[str], typer.Option("--detector", "-d", help="NAME, NAME:WEIGHTS or NAME:WEIGHTS@MIN_SCORE. Repeatable.")
    ] = OWN,
    boxes: Annotated[
        list[str], typer.Option("--box", help="CLIP=X,Y,W,H for a video without truth, in its pixels. Repeatable.")
    ] = NO_BOXES,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many clips.")] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="How faint a box may be, where none is said.")] = 0.05,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
    as_json: JsonOption = False,
) -> None:
    """For each detector and policy, on how many clips the chosen box is the athlete's.

    Example: `tubeflow detect evaluate clips/ -d athlete-n -d nanodet:nanodet_m.onnx`
    """
    # Loads what decodes, PyAV and OpenCV, which --help doesn't need.
    from flows.tables.tracking.detection_tables import print_detection
    from flows.tracking.detector_choices import measure_detectors
    from tasks.assessment.detector_accuracy import find_athlete_clips

    try:
        built = dict(_build(text, min_score, device) for text in dict.fromkeys(detectors))
        clips = find_athlete_clips(root, dict(map(_box, boxes)))[:limit]
        if not clips:
            raise ConfigError(f"No clip in {root} has a first-frame box.")
        begun = itertools.count()
        with stage_bars():
            found = measure_detectors(
                clips, built, lambda name: progress.report("evaluate", next(begun), len(clips), f"clip '{name}'")
            )
    except ValueError as exc:
        raise ConfigError(" ".join(str(exc).split()).rstrip(".") + ".") from exc
    if as_json:
        typer.echo(json.dumps(found.as_json()))
        return
    print_detection(found)


def _build(text: str, min_score: float, device: str) -> tuple[str, Detector]:
    """NAME, NAME:WEIGHTS or NAME:WEIGHTS@MIN_SCORE → label and detector."""
    named, _, faint = text.partition("@")
    name, _, weights = named.partition(":")
    try:
        least = float(faint) if faint else min_score
    except ValueError:
        raise ConfigError(f"'{faint}' in '{text}' is no score; write NAME:WEIGHTS@MIN_SCORE.") from None
    return text.replace(weights, Path(weights).stem) if weights else text, build_detector(
        name, weights=weights or None, device=device, min_score=least
    )


def _box(text: str) -> tuple[str, tuple[float, float, float, float]]:
    name, _, numbers = text.partition("=")
    try:
        x, y, w, h = (float(number) for number in numbers.split(","))
    except ValueError:
        raise ConfigError(f"--box is CLIP=X,Y,W,H, not '{text}'.") from None
    return name, (x, y, w, h)
