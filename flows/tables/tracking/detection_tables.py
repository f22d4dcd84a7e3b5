"""How `tubeflow detect evaluate` is shown on a terminal."""

from __future__ import annotations

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from flows.console import out
from flows.tracking.detector_choices import DetectionSummary
from tasks.assessment.detector_accuracy import CHOICES, RIGHT, ROUGHLY


def print_detection(found: DetectionSummary) -> None:
    """The overlap of every choice, then how many are right, by detector and policy."""
    out.print(clip_table(found))
    out.print(count_table(found))
    out.print(
        "Cells: clips where the chosen box overlaps the truth by .5 or more, and in brackets by .3 or more. any: the "
        f"best of all boxes found. followed looked at later frames for {found.followed_sec:.2f} s a clip.",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def count_table(found: DetectionSummary) -> Table:
    """Detector × policy."""
    clips = len({one.clip for one in found.choices})
    table = _table(f"Right on {clips} clips")
    table.add_column("detector", no_wrap=True)
    for heading in (*CHOICES, "any", "people", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for detector, by_policy in found.right.items():
        cells = [f"{by_policy[p]['right']} ({by_policy[p]['roughly']})" for p in CHOICES]
        mine = [one for one in found.found if one.detector == detector]
        best = f"{sum(one.best >= RIGHT for one in mine)} ({sum(one.best >= ROUGHLY for one in mine)})"
        people, ms = np.mean([one.people for one in mine]), 1000 * np.mean([one.seconds for one in mine])
        table.add_row(detector, *cells, best, f"{people:.1f}", f"{ms:.0f}")
    return table


def _table(title: str) -> Table:
    return Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")


def clip_table(found: DetectionSummary, most: int = 30) -> Table:
    """Overlap of every choice, clip by clip, of the first `most` clips."""
    table = _table("Overlap of the chosen box")
    table.add_column("clip", no_wrap=True)
    table.add_column("detector", no_wrap=True)
    for policy in CHOICES:
        table.add_column(policy, justify="right")
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in found.choices:
        rows.setdefault((one.clip, one.detector), {})[one.policy] = f"{one.overlap:.2f}"
    shown = list(dict.fromkeys(clip for clip, _ in rows))[:most]
    for (clip, detector), cells in rows.items():
        if clip in shown:
            table.add_row(clip, detector, *(cells[policy] for policy in CHOICES))
    return table
