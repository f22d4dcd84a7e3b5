"""The files of a run's results, `predictions.parquet` and `metrics.json`: copies of what is sealed elsewhere.

The predictions are the evaluation's, an artifact; the metrics stand in the run's record. A copy that is damaged or lost
is written again from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from data_catalog.atomic import replacing
from data_catalog.catalog import CatalogError, Workspace
from data_catalog.json_file import write_json
from data_catalog.plain_file import clear
from data_catalog.store import Artifact, ArtifactDamaged
from data_catalog.tables.runs import REFERENCES_FILE, check_file, forget_files, seal_file
from flows.runs.record import RunRecord
from models.metrics.calibration import LEVELS, Calibration
from tasks.evaluate import SIDES

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS_FILE, METRICS_FILE = "predictions.parquet", "metrics.json"


def predictions_frame(evaluation: Artifact) -> pd.DataFrame:
    """The evaluation's predictions as a table: one row per weights (last, best) and clip."""
    import pandas as pd  # here, as whoever only compares the files with their digests needs none of it

    prefix = "predictions/"
    names = sorted(name for name in evaluation.arrays if name.startswith(prefix))
    ends = [f"{side}_{level}" for level in LEVELS for side in SIDES]
    first = ["weights", "clip_id", "split", "action", "true", "predicted"]
    first += ["step_frames", "step_correct", "step_kinds", "spread", *ends]
    columns = {name.removeprefix(prefix): evaluation.arrays[name] for name in names}
    segments = sorted((name for name in columns if name not in first), key=lambda name: int(name.rpartition("_")[2]))
    frame = pd.DataFrame({name: columns[name] for name in [*first, *segments] if name in columns})
    return frame.astype({"true": float, "predicted": float})  # without a held-out clip they are of no type


def kinds_named(shown: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Kind of step → frames of the clips `shown` that lie in one, and how many are named right; empty if not learnt.

    Evaluations of before there was a column of kinds say nothing of them, either.
    """
    found: dict[str, tuple[int, int]] = {}
    for text in shown.get("step_kinds", ()):
        for name, (frames, correct) in json.loads(str(text)).items():
            before = found.get(name, (0, 0))
            found[name] = before[0] + frames, before[1] + correct
    return found


def calibrations(evaluation: Artifact) -> dict[str, Calibration]:
    """Weights → what makes intervals of their scores; empty where the evaluation made none."""
    said = evaluation.arrays.get("calibrations")
    return {} if said is None else {name: Calibration.from_json(one) for name, one in json.loads(str(said)).items()}


def write_predictions(folder: Path, evaluation: Artifact) -> None:
    """Write `predictions.parquet` of an evaluation into a run's folder."""
    with replacing(folder / PREDICTIONS_FILE) as temporary:
        predictions_frame(evaluation).to_parquet(temporary)


def check_results(workspace: Workspace, run: RunRecord, evaluation: str | None) -> None:
    """Write predictions and metrics of a run again where they are not what was written, and say so.

    Args:
        workspace: the workspace.
        run: the run's record.
        evaluation: key of its evaluation; None where that isn't known.

    Raises:
        CatalogError: they can't be written again, because the evaluation isn't there either.
    """
    folder = workspace.runs / run.run_id

    def predictions() -> None:
        if evaluation is None or not workspace.store.exists("evaluate", evaluation):
            path = folder / PREDICTIONS_FILE
            raise CatalogError(f"{path} is damaged or gone; run the same config on dataset '{run.dataset}' again.")
        write_predictions(folder, workspace.store.read("evaluate", evaluation))

    writers: Mapping[str, Callable[[], None]] = {
        PREDICTIONS_FILE: predictions,
        METRICS_FILE: lambda: write_json(folder / METRICS_FILE, run.metrics),
    }
    for name, write in writers.items():
        try:
            if name in run.files:
                check_file(folder, name, run.files[name])
        except (ArtifactDamaged, FileNotFoundError) as exc:
            what = exc.what if isinstance(exc, ArtifactDamaged) else "is gone"
            write()
            seal_file(workspace.runs, workspace.runs_lock, run.run_id, name)
            workspace.notice(f"{folder / name} {what}; it was written again.")


def check_pages(workspace: Workspace, run: RunRecord) -> None:
    """Say once which pages and pictures of a run are damaged or gone, and remove what is left of them.

    Nothing reads them but people, and another run of the same makes new ones.
    """
    folder, bad = workspace.runs / run.run_id, []
    for name in sorted(set(run.files) - {PREDICTIONS_FILE, METRICS_FILE, REFERENCES_FILE}):
        try:
            check_file(folder, name, run.files[name])
        except (ArtifactDamaged, FileNotFoundError):
            bad.append(name)
    if bad:
        for name in bad:
            clear(folder / name)
        forget_files(workspace.runs, workspace.runs_lock, run.run_id, bad)
        files = f"{folder / bad[0]} was" if len(bad) == 1 else f"{folder / bad[0]} and {len(bad) - 1} other files were"
        workspace.notice(f"{files} damaged or gone; the same run again makes a new one: {run.command}")
