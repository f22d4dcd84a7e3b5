"""What is compared: a run, or a group of an experiment's runs that differ in chance or action alone.

An experiment's folder `runs/<experiment_id>/experiment.json` names its cells, each with the fields that it changes and
the run that it became. Cells that differ in `train.seed` only are one contender with several seeds; cells that were
made for one action each (`train.actions: each`) are one model of all actions. A cell of a named variant goes by that
name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from pydantic import JsonValue

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.json_file import read_record
from data_catalog.store import ArtifactDamaged
from flows.runs.finished import FinishedRun, find_run

if TYPE_CHECKING:
    import pandas as pd

SEED, ACTIONS = "train.seed", "train.actions"
RECORD = "experiment.json"
PER_ACTION = "one model an action"
"""Label of a row that nothing else tells apart."""


class CellRecord(TypedDict):
    """One cell of an experiment: what it changes, and the run that it became or why there is none."""

    variant: NotRequired[str | None]
    changes: dict[str, JsonValue]
    per_action: bool
    run_id: str | None
    why: str | None
    computed: dict[str, int]


class SummaryRow(TypedDict):
    """One line of the summary: `mean` and `sd` over seeds, None where a seed has no value."""

    contender: str
    weights: str
    split: str
    action: str
    metric: str
    values: list[float | None]
    mean: float | None
    sd: float | None


class ExperimentRecord(TypedDict):
    """`experiment.json`, which `tubeflow experiment --json` prints."""

    experiment_id: str
    matrix: str
    dataset: str
    cells: list[CellRecord]
    rows: NotRequired[list[SummaryRow]]


@dataclass(frozen=True, eq=False)
class Contender:
    """One row of a comparison.

    Attributes:
        label: the run's id, or the fields that make the group differ from the others.
        seeds: per seed, its runs; more than one where each was trained for one action.
    """

    label: str
    seeds: tuple[tuple[FinishedRun, ...], ...]

    @property
    def first(self) -> FinishedRun:
        """A run whose config stands for all, but for seed and actions."""
        return self.seeds[0][0]

    def predictions(self, weights: str, split: str) -> list[pd.DataFrame]:
        """Per seed the predictions of a split, clips of all actions together. Raises CatalogError."""
        import pandas as pd

        tables = []
        for runs in self.seeds:
            table = pd.concat([run.predictions() for run in runs], ignore_index=True)
            tables.append(table[(table["weights"] == weights) & (table["split"] == split)])
        if any(table.empty for table in tables):
            raise CatalogError(f"'{self.label}' has no predictions of split '{split}'; choose another --split.")
        return tables


def experiment_records(workspace: Workspace) -> list[ExperimentRecord]:
    """All experiments of a workspace, oldest first. Raises CatalogError where a record can't be read."""
    records: list[ExperimentRecord] = []
    for path in sorted(workspace.runs.glob(f"*/{RECORD}")):
        try:
            records.append(cast(ExperimentRecord, read_record(path, or_unsealed=True)))
        except (FileNotFoundError, ArtifactDamaged) as exc:
            what = exc.what if isinstance(exc, ArtifactDamaged) else "is gone"
            raise CatalogError(
                f"{path} {what}, so it isn't known which runs belong together: put it back from a backup, or delete "
                f"{path.parent} and run the experiment again."
            ) from exc
    return records


def experiment_runs(workspace: Workspace) -> list[set[str]]:
    """The runs of each experiment, which belong together. Raises CatalogError."""
    return [{cell["run_id"] for cell in one["cells"] if cell["run_id"]} for one in experiment_records(workspace)]


def find_contenders(workspace: Workspace, name: str) -> list[Contender]:
    """The contenders of an experiment by its id, or the one that a run is.

    Raises:
        CatalogError: no such run or experiment, or not one of its cells was evaluated.
    """
    records = {record["experiment_id"]: record for record in experiment_records(workspace)}
    if name not in records:
        run = find_run(workspace, name)
        return [Contender(run.run_id, ((run,),))]
    groups = group_cells(records[name]["cells"])
    found = [
        Contender(label, tuple(tuple(find_run(workspace, run_id) for run_id in seed) for seed in seeds))
        for label, seeds in groups.items()
        if seeds
    ]
    if not found:
        raise CatalogError(f"No cell of experiment '{name}' is complete; run it again to see why.")
    return found


def join_seeds(contenders: Iterable[Contender]) -> list[Contender]:
    """Rows of one name whose configs differ in chance alone become one row, whatever experiments they come from.

    A seed that was trained twice counts once, as the later experiment has it.
    """
    rows: dict[tuple[str, str], dict[int, tuple[FinishedRun, ...]]] = {}
    for one in contenders:
        config = one.first.config.model_dump(mode="json", exclude={"engine": True, "train": {"seed", "actions"}})
        seeds = rows.setdefault((one.label, json.dumps(config, sort_keys=True)), {})
        seeds |= {runs[0].config.train.seed: runs for runs in one.seeds}
    return [Contender(label, tuple(seeds.values())) for (label, _), seeds in rows.items()]


def group_cells(cells: Sequence[CellRecord]) -> dict[str, list[list[str]]]:
    """Label of a group → per seed the run ids over its actions; a seed that lacks an action's run is left out."""
    groups: dict[str, dict[str, list[str | None]]] = {}
    for cell in cells:
        joined = (SEED, ACTIONS) if cell["per_action"] else (SEED,)
        rest = {name: value for name, value in cell["changes"].items() if name not in joined}
        fields = [f"{name}={plain(value)}" for name, value in rest.items()]
        label = ", ".join([variant, *fields] if (variant := cell.get("variant")) else fields)
        label = label or (PER_ACTION if cell["per_action"] else "all")
        seed = plain(cell["changes"].get(SEED))
        groups.setdefault(label, {}).setdefault(seed, []).append(cell["run_id"])
    return {
        label: [[run for run in runs if run] for runs in seeds.values() if all(runs)] for label, seeds in groups.items()
    }


def plain(value: JsonValue) -> str:
    """A config value as one writes it in YAML, on one line."""
    return value if isinstance(value, str) else json.dumps(value)


def record_path(workspace: Workspace, experiment_id: str) -> Path:
    """Where an experiment is written down."""
    return workspace.runs / experiment_id / RECORD
