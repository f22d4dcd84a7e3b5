"""`tubeflow detect …`: how often detectors and policies choose the athlete."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from flows.cli.options import JsonOption, plain_errors
from flows.config import ConfigError
from flows.console import err, out

if TYPE_CHECKING:
    from models.detectors import Detector
    from tasks.assessment.detector_accuracy import ChosenBox, PeopleFound

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
    from tasks.assessment.detector_accuracy import DetectEvaluation, evaluate_detectors, find_athlete_clips

    try:
        built = dict(_build(text, min_score, device) for text in dict.fromkeys(detectors))
        clips = find_athlete_clips(root, dict(map(_box, boxes)))[:limit]
        if not clips:
            raise ConfigError(f"No clip in {root} has a first-frame box.")
        told = (lambda name: err.print(f"{name} …", markup=False)) if err.is_terminal else None
        choices, found, looking = evaluate_detectors(clips, built, DetectEvaluation(), told)
    except ValueError as exc:
        raise ConfigError(" ".join(str(exc).split()).rstrip(".") + ".") from exc
    if as_json:
        rows = {"choices": list(map(dataclasses.asdict, choices)), "found": list(map(dataclasses.asdict, found))}
        typer.echo(json.dumps({**rows, "followed_sec": looking, "right": counts(choices)}))
        return
    out.print(clip_table(choices))
    out.print(count_table(choices, found))
    out.print(
        "Cells: clips where the chosen box overlaps the truth by .5 or more, and in brackets by .3 or more. any: the "
        f"best of all boxes found. followed looked at later frames for {looking:.2f} s a clip.",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def _build(text: str, min_score: float, device: str) -> tuple[str, Detector]:
    """NAME, NAME:WEIGHTS or NAME:WEIGHTS@MIN_SCORE → label and detector."""
    from models.detectors import build_detector

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


def counts(choices: Sequence[ChosenBox]) -> dict[str, dict[str, dict[str, int]]]:
    """Detector → policy → clips, clips that are right (.5), and roughly right (.3)."""
    from tasks.assessment.detector_accuracy import RIGHT, ROUGHLY

    table: dict[str, dict[str, dict[str, int]]] = {}
    for one in choices:
        cell = table.setdefault(one.detector, {}).setdefault(one.policy, {"clips": 0, "right": 0, "roughly": 0})
        cell["clips"] += 1
        cell["right"] += one.overlap >= RIGHT
        cell["roughly"] += one.overlap >= ROUGHLY
    return table


def count_table(choices: Sequence[ChosenBox], found: Sequence[PeopleFound]) -> Table:
    """Detector × policy."""
    from tasks.assessment.detector_accuracy import CHOICES, RIGHT, ROUGHLY

    clips = len({one.clip for one in choices})
    table = _table(f"Right on {clips} clips")
    table.add_column("detector", no_wrap=True)
    for heading in (*CHOICES, "any", "people", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for detector, by_policy in counts(choices).items():
        cells = [f"{by_policy[p]['right']} ({by_policy[p]['roughly']})" for p in CHOICES]
        mine = [one for one in found if one.detector == detector]
        best = f"{sum(one.best >= RIGHT for one in mine)} ({sum(one.best >= ROUGHLY for one in mine)})"
        people, ms = np.mean([one.people for one in mine]), 1000 * np.mean([one.seconds for one in mine])
        table.add_row(detector, *cells, best, f"{people:.1f}", f"{ms:.0f}")
    return table


def _table(title: str) -> Table:
    return Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")


def clip_table(choices: Sequence[ChosenBox], most: int = 30) -> Table:
    """Overlap of every choice, clip by clip, of the first `most` clips."""
    from tasks.assessment.detector_accuracy import CHOICES

    table = _table("Overlap of the chosen box")
    table.add_column("clip", no_wrap=True)
    table.add_column("detector", no_wrap=True)
    for policy in CHOICES:
        table.add_column(policy, justify="right")
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in choices:
        rows.setdefault((one.clip, one.detector), {})[one.policy] = f"{one.overlap:.2f}"
    shown = list(dict.fromkeys(clip for clip, _ in rows))[:most]
    for (clip, detector), cells in rows.items():
        if clip in shown:
            table.add_row(clip, detector, *(cells[policy] for policy in CHOICES))
    return table
