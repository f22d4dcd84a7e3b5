"""A run that is done, as other commands use it: its config, its predictions, and the artifacts it stands on."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.plain_file import read_plain
from data_catalog.store import ArtifactDamaged
from data_catalog.suggest import nearest
from data_catalog.tables.runs import REFERENCES_FILE, read_references
from flows.config import PipelineConfig
from flows.runs.record import RunRecord, read_all_runs, read_runs, unreadable_record
from flows.runs.results import PREDICTIONS_FILE, calibrations, check_results
from tasks.trained import state_of

if TYPE_CHECKING:
    import pandas as pd

    from models.metrics.calibration import Calibration

NEWEST = "last"


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """One run of the pipeline.

    Attributes:
        folder: `runs/<run_id>`.
        keys: per stage, the key of each clip's artifact; under "" that of a dataset stage.
    """

    run_id: str
    dataset: str
    config: PipelineConfig
    folder: Path
    keys: dict[str, dict[str, str]]

    def artifact(self, workspace: Workspace, stage: str) -> str:
        """Key of the run's pack, train or evaluate artifact. Raises CatalogError where it isn't there."""
        key = self.keys.get(stage, {}).get("")
        if key is None:
            raise CatalogError(f"Run '{self.run_id}' has no stage '{stage}'; choose a run that trained a model.")
        if not workspace.store.exists(stage, key):
            raise CatalogError(
                f"The '{stage}' artifact of run '{self.run_id}' is no longer there (deleted, or removed by "
                f"tubeflow gc); run the same config on dataset '{self.dataset}' again."
            )
        return key

    def predictions(self) -> pd.DataFrame:
        """The run's predictions: weights, clip_id, split, action, true, predicted, … Raises CatalogError."""
        import pandas as pd  # here, as status, gc and an experiment's plan read runs and no predictions

        path = self.folder / PREDICTIONS_FILE
        try:
            return pd.read_parquet(io.BytesIO(read_plain(path)))
        except FileNotFoundError as exc:
            raise CatalogError(f"Run '{self.run_id}' evaluated nothing: there is no {path}.") from exc
        except (OSError, ValueError, ArtifactDamaged) as exc:
            raise CatalogError(f"{path} can't be read; run the same config on dataset '{self.dataset}' again.") from exc


def find_run(workspace: Workspace, name: str) -> FinishedRun:
    """A run by its id, or the newest that has an evaluation by `last`.

    Raises:
        CatalogError: no such run, or its record is damaged.
    """
    runs = read_all_runs(workspace) if name == NEWEST else read_runs(workspace)
    records = {run.run_id: run for run in runs}
    if name == NEWEST:
        done = [run_id for run_id, run in records.items() if run.metrics]
        if not done:
            raise CatalogError("No run of this workspace was evaluated yet; run one with: tubeflow run")
        name = done[-1]
    if name not in records:
        if unreadable := unreadable_record(workspace, name):
            raise CatalogError(unreadable)
        near = nearest(name, list(records))
        hint = f"; did you mean '{near}'?" if near else ""
        raise CatalogError(f"This workspace has no run '{name}'{hint}; list them with: tubeflow status")
    return finished_run(workspace, records[name])


def finished_run(workspace: Workspace, record: RunRecord) -> FinishedRun:
    """The run of a record, its results written again where they were damaged. Raises CatalogError, ArtifactDamaged."""
    folder = workspace.runs / record.run_id
    keys = _references(folder, record.files.get(REFERENCES_FILE))
    check_results(workspace, record, keys.get("evaluate", {}).get(""))
    return FinishedRun(record.run_id, record.dataset, record.pipeline_config(), folder, keys)


def _references(folder: Path, digest: str | None) -> dict[str, dict[str, str]]:
    path = folder / REFERENCES_FILE
    try:
        table = read_references(folder, digest).to_pydict()
    except (FileNotFoundError, ArtifactDamaged) as exc:
        raise CatalogError(f"{path} is missing or damaged; run the same config again for a new run.") from exc
    keys: dict[str, dict[str, str]] = defaultdict(dict)
    for stage, key, clip_id in zip(table["stage"], table["key"], table["clip_id"], strict=True):
        keys[stage][clip_id] = key
    return dict(keys)


def calibration_of(workspace: Workspace, run: FinishedRun, weights: str) -> Calibration | None:
    """What makes intervals of the scores of a run's weights; None where the run makes none. Raises CatalogError."""
    if run.config.evaluate.intervals == "none":
        return None
    return calibrations(workspace.store.read("evaluate", run.artifact(workspace, "evaluate"))).get(weights)


def trained_state(workspace: Workspace, run: FinishedRun, weights: str) -> dict[str, Any]:
    """A run's weights, `last` or `best`, by parameter name. Raises CatalogError."""
    if weights not in ("last", "best"):
        raise CatalogError(f"A run keeps the weights 'last' and 'best', not '{weights}'.")
    return state_of(workspace.store.read("train", run.artifact(workspace, "train")).arrays, weights)
