"""How `tubeflow gc` is shown on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from flows.console import out
from flows.maintenance.gc import Garbage


def print_garbage(garbage: Sequence[Garbage], deleted: bool, command: str) -> None:
    """Per stage how many artifacts and bytes go, which older runs refer to them, and the command that removes them."""
    for stage, count in Counter(one.stage for one in garbage).items():
        mine = [one for one in garbage if one.stage == stage]
        runs = sorted({run for one in mine for run in one.runs})
        used = f"used by {', '.join(runs)}" if runs else "used by no run"
        out.print(f"{stage:>10}  {count} artifacts  {sum(one.size for one in mine):,} bytes  {used}", soft_wrap=True)
    total = sum(one.size for one in garbage)
    if not garbage:
        out.print("Nothing to remove: every artifact is used by a run that is kept.")
    elif deleted:
        out.print(f"Removed {len(garbage)} artifacts, {total:,} bytes.")
    else:
        what = f"{len(garbage)} artifacts, {total:,} bytes"
        out.print(f"Would remove {what}; do it with: {command} --delete", soft_wrap=True)
