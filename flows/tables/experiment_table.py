"""How `tubeflow experiment` is shown on a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from flows.console import out
from flows.experiments.contenders import ExperimentRecord, SummaryRow
from flows.experiments.matrix import WEIGHTS
from tasks.training.score_table import OVERALL, SELECTION


def print_experiment(record: ExperimentRecord, folder: Path) -> None:
    """The figure that chooses the best epoch, per contender: each action and all, last and best epoch.

    Args:
        record: of `run_matrix`.
        folder: which holds the record.
    """
    chosen = [row for row in record["rows"] if row["metric"] in SELECTION.values()]
    actions = list(dict.fromkeys(row["action"] for row in chosen))
    if len(actions) == 2:  # one action, which is all there is
        actions = [OVERALL]
    for weights in WEIGHTS if chosen else ():
        table = Table(f"{weights} epoch", *actions, title=f"{chosen[0]['metric']}, {chosen[0]['split']} split")
        for label in dict.fromkeys(row["contender"] for row in chosen):
            found = {r["action"]: r for r in chosen if r["contender"] == label and r["weights"] == weights}
            table.add_row(label, *(_figure(found.get(action)) for action in actions))
        out.print(table)
    if any(row["mean"] is None for row in chosen):
        out.print("–: a seed has no such figure; compare says why.")
    for cell in record["cells"]:
        if cell["why"]:
            out.print(f"  ✗ {cell.get('variant') or ''} {cell['changes']}: {cell['why']}", markup=False, soft_wrap=True)
    out.print(f"experiment  {folder}", markup=False, soft_wrap=True)
    out.print(f"compare     tubeflow compare {record['experiment_id']}", markup=False, soft_wrap=True)


def _figure(row: SummaryRow | None) -> str:
    if row is None or row["mean"] is None:
        return "–"
    spread = "" if row["sd"] is None else f" ± {row['sd']:.4f}"
    return f"{row['mean']:.4f}{spread}"
