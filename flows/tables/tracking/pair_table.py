"""How `tubeflow inspect --compare` is shown on a terminal."""

from __future__ import annotations

from statistics import fmean

from rich.table import Table

from flows.console import out
from flows.tracking.pairs import PairRecord

SHOWN = 10


def print_pairs(record: PairRecord) -> None:
    """The clips of least overlap, what was left out, and where the pictures are."""
    first, second = record["trackers"]
    table = Table("clip", "mean IoU", "least IoU", "in frame", title=f"{first} against {second}, "
                  f"{len(record['clips'])} clips")  # fmt: skip
    for row in record["clips"][:SHOWN]:
        table.add_row(row["clip"], f"{row['iou']:.3f}", f"{row['worst_iou']:.3f}", str(row["worst_frame"]))
    out.print(table)
    mean = fmean(row["iou"] for row in record["clips"])
    out.print(f"Mean overlap {mean:.3f}; the clips are sorted by it, the least first.")
    for note in record["notes"]:
        out.print(note, markup=False, soft_wrap=True)
    out.print(f"sheet  {record['sheet']}\nvideo  {record['video']}", markup=False, soft_wrap=True)
