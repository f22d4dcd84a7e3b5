"""A dataset whose names were chosen by somebody who means harm: markup, formulas, terminal codes, turned writing."""

from __future__ import annotations

import csv
from pathlib import Path

from data_catalog.catalog import Workspace
from data_catalog.tables.edits import Edit
from flows.datasets.ingest import ingest
from tests.support.tiny_workspace import run

DATASET = "hostile"
MARKUP = "<img src=x onerror=document.title='owned'>"
TURNED = "dive\u202e4pm.exe"
FORMULA = '=HYPERLINK("http:evil","x")'
IDS = (MARKUP, TURNED, FORMULA, "plain")
ACTIONS = ("<script>document.title='owned'<\\script>", "\u202edive", "@SUM(1+1)", "<b onmouseover=alert(1)>dive")
ESCAPES = "\x1b]0;owned\x07\x1b[31mred <img src=x onerror=document.title='owned'> \u202eturned"


def hostile_workspace(root: Path, videos: Path) -> Path:
    """The finished workspace of the four procedural clips of `videos`, under such names.

    Ingest refuses terminal codes, so they are where an earlier version let them in: in the reason of a correction.
    """
    with (videos / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = root.parent / "labels.csv"
    with labels.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row, clip, action in zip(rows, IDS, ACTIONS, strict=True):
            writer.writerow(row | {"clip_id": clip, "action": action})
    workspace = Workspace.open(root)
    ingest(workspace, DATASET, "folder", videos, labels)
    summary = run(root, "track.tracker=mil", dataset=DATASET)
    assert summary.failures == []
    when = "2026-01-01T00:00:00+00:00"
    workspace.datasets.edits(DATASET).append([Edit("plain", "bad_reason", None, ESCAPES, "a stranger", when)])
    return root
