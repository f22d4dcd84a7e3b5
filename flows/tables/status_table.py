"""How `tubeflow status` is shown on a terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

from flows.console import out, print_whole
from flows.maintenance.status import SOURCE_WORDS, StageShare, WorkspaceStatus
from flows.stages import IN_ORDER

SHOWN_TUBES = 5


def print_status(status: WorkspaceStatus) -> None:
    """Datasets with the state of their stages, what is to be looked at, and the last runs."""
    out.print(f"workspace {status['workspace']}", markup=False, soft_wrap=True)
    stages = sorted({stage for one in status["datasets"].values() for stage in one["stages"]}, key=IN_ORDER.index)
    # Single spaces between columns: with names of up to 13 letters the nine headings just fit into 80 characters.
    table = Table("dataset", "clips", *stages, "quarantined", box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for name, one in status["datasets"].items():
        done = [_share(one["stages"].get(stage)) for stage in stages]
        table.add_row(name, str(one["clips"]), *done, str(len(one["quarantined"])))
    print_whole(table)
    for name, one in status["datasets"].items():
        for row in one["quarantined"]:
            out.print(f"  ✗ {name}/{row['clip_id']} {row['stage']}: {row['reason']} {row['remedy']}", markup=False)
        if one.get("sources"):
            found = "; ".join(f"{count} {SOURCE_WORDS[which]}" for which, count in one["sources"].items())
            out.print(f"  – {name}: clips from videos: {found}", markup=False, soft_wrap=True)
        for sentence in [*one["rejected"], *one["left_out"]]:
            out.print(f"  – {name}: {sentence}", markup=False)
        for tube in one["suspicious"][:SHOWN_TUBES]:
            why = " ".join(tube["reasons"])
            out.print(f"  ! {name}/{tube['clip_id']} {tube['suspicion']:.2f}: {why}", markup=False, soft_wrap=True)
        if len(one["suspicious"]) > SHOWN_TUBES:
            count = f"{len(one['suspicious'])} of {one['judged']}"
            out.print(f"  … {count} tubes of {name} are to be looked at", markup=False)
        if "note" in one:
            out.print(f"  {name}: {one['note']}", markup=False, soft_wrap=True)
    for run in status["runs"]:
        line = f"{run['run_id']}  {run['dataset']}  {run['seconds']} s  {run['report'] or ''}"
        out.print(line, markup=False, soft_wrap=True)


def _share(stage: StageShare | None) -> str:
    return "" if stage is None else f"{stage['done']}/{stage['wanted']}"
