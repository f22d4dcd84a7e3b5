"""`tubeflow experiment`: a matrix of configs as runs of the same pipeline, which share every artifact they can."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import yaml
from pydantic import Field, JsonValue, ValidationError

from data_catalog.atomic import replacing
from data_catalog.catalog import CatalogError, Workspace
from data_catalog.foreign_text import spreadsheet_cell
from data_catalog.json_file import write_record
from flows.config import ConfigError, PipelineConfig, apply_overrides, load_config, not_yaml
from flows.console import err
from flows.datasets.clips import dataset_clips
from flows.experiments.contenders import (
    ACTIONS,
    CellRecord,
    Contender,
    ExperimentRecord,
    SummaryRow,
    find_contenders,
    plain,
    record_path,
)
from flows.plain_yaml import read_yaml
from flows.runs.record import new_run_id
from models.metrics.comparison import mean_over_seeds
from tasks.engine import progress
from tasks.engine.config import StageConfig
from tasks.training.score_table import OVERALL, score_table

if TYPE_CHECKING:
    from flows.runs.summary import RunSummary

MATRICES = Path(__file__).parent / "matrices"
EACH = "each"
BASE = "preset"
"""What a variant calls the preset that it begins from."""
MAX_CELLS = 1000
WEIGHTS = ("last", "best")

Column = Literal["contender", "weights", "split", "action", "metric", "mean", "sd"]
RunCell = Callable[[PipelineConfig], "RunSummary"]


class Matrix(StageConfig):
    """A matrix file: a preset (or YAML file), fixed overrides, and the fields that vary with their values.

    `train.actions: each` stands for one model for each action of the dataset. `variants` are named sets of fields that
    change together, each combined with everything in `matrix`; one that names a `preset` begins from that instead.
    """

    preset: str
    override: tuple[str, ...] = ()
    variants: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    matrix: dict[str, list[JsonValue] | str] = Field(min_length=1)


@dataclass(frozen=True)
class Cell:
    """One run of the matrix: the fields of the matrix that it changes, its variant, and the config that results."""

    changes: Mapping[str, JsonValue]
    config: PipelineConfig
    per_action: bool
    variant: str | None = None

    @property
    def shown(self) -> str:
        """What sets the cell apart, in a line."""
        fields = (f"{field}={plain(value)}" for field, value in self.changes.items())
        return ", ".join([self.variant, *fields] if self.variant else fields)


@dataclass(frozen=True)
class Row:
    """One line of the summary: a contender's metric.

    Attributes:
        values: one number a seed; None where the metric has no value.
    """

    contender: str
    weights: str
    split: str
    action: str
    metric: str
    values: tuple[float | None, ...]

    @property
    def mean(self) -> float | None:
        """Over seeds; None if one seed has no value."""
        mean = float(mean_over_seeds(np.array([np.nan if value is None else value for value in self.values])))
        return mean if np.isfinite(mean) else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds (n - 1); None for a single seed."""
        if self.mean is None or len(self.values) < 2:
            return None
        return float(np.std([value for value in self.values if value is not None], ddof=1))


def matrix_names() -> list[str]:
    """Matrices that come with the program."""
    return sorted(path.stem for path in MATRICES.glob("*.yaml"))


def load_matrix(name: str) -> Matrix:
    """A matrix by name, or a YAML file by path. Raises ConfigError."""
    path = MATRICES / f"{name}.yaml" if name in matrix_names() else Path(name)
    if not path.is_file():
        raise ConfigError(f"There is no matrix or file '{name}'; matrices: {', '.join(matrix_names())}.")
    try:
        return Matrix.model_validate(read_yaml(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(not_yaml(path, exc)) from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(
            f"{path}: {place}: {first['msg']}; a matrix has 'preset:', 'matrix:' and, if wanted, 'override:' and "
            "'variants:'."
        ) from exc


def from_preset(matrix: Matrix, preset: str | None) -> Matrix:
    """The same matrix with another preset; itself with None. Raises ConfigError where its variants name their own."""
    if preset is None:
        return matrix
    if any(BASE in fields for fields in matrix.variants.values()):
        raise ConfigError("--preset can't be had with this matrix: its variants say themselves which preset they are.")
    return matrix.model_copy(update={"preset": preset})


def expand(matrix: Matrix, overrides: Sequence[str], actions: Sequence[str]) -> list[Cell]:
    """Every combination, the first field varying slowest, variants fastest; each is checked before anything runs.

    What a variant or the matrix sets wins over `overrides`.

    Raises:
        ConfigError: a field that is no list or that a variant sets too, or a value that its section doesn't take.
    """
    fixed = [*matrix.override, *overrides]
    base = load_config(matrix.preset, fixed).model_dump(mode="json")
    bases = {
        variant: load_config(str(fields[BASE]), fixed).model_dump(mode="json") if BASE in fields else base
        for variant, fields in matrix.variants.items()
    }
    axes: dict[str, list[JsonValue]] = {}
    for name, values in matrix.matrix.items():
        if values == EACH and name == ACTIONS:
            axes[name] = [[action] for action in actions]
        elif isinstance(values, str) or not values:
            raise ConfigError(f"matrix: {name} needs a list of values, e.g. [0, 1, 2], got {values!r}.")
        else:
            axes[name] = values
    per_action = matrix.matrix.get(ACTIONS) == EACH
    variants: list[tuple[str | None, dict[str, JsonValue]]] = [
        (variant, {name: value for name, value in fields.items() if name != BASE})
        for variant, fields in matrix.variants.items()
    ] or [(None, {})]
    for variant, fields in variants:
        if twice := sorted(set(fields) & set(axes)):
            raise ConfigError(f"variants: {variant}: {twice[0]} varies in the matrix already; set it in one place.")
    if (runs := math.prod(map(len, axes.values())) * len(variants)) > MAX_CELLS:
        raise ConfigError(f"The matrix has {runs} combinations, and at most {MAX_CELLS} are run; split it.")
    cells = []
    for combination in itertools.product(*axes.values()):
        changes = dict(zip(axes, combination, strict=True))
        for variant, fields in variants:
            texts = [f"{name}={json.dumps(value)}" for name, value in {**fields, **changes}.items()]
            try:
                begun = base if variant is None else bases[variant]
                cells.append(Cell(changes, apply_overrides(begun, texts), per_action, variant))
            except ConfigError as exc:
                raise ConfigError(f"variants: {variant}: {exc}" if variant else str(exc)) from exc
    return cells


def dataset_actions(workspace: Workspace, dataset: str, where: str | None = None) -> list[str]:
    """The actions of a dataset's clips, sorted. Raises CatalogError where there are no clips."""
    clips = dataset_clips(workspace, dataset, where)
    if not clips:
        raise CatalogError(f"Dataset '{dataset}' has no clips; look at: tubeflow catalog")
    return sorted({clip.action for clip in clips})


def run_matrix(
    workspace: Workspace, name: str, dataset: str, cells: Sequence[Cell], run_cell: RunCell
) -> ExperimentRecord:
    """Run every cell, write `runs/<experiment_id>/` after each, and return its record.

    A cell that can't run doesn't stop the others; the record says why. Run again, finished cells come from the cache.
    """
    experiment_id = f"exp-{new_run_id()}"
    record: ExperimentRecord = {"experiment_id": experiment_id, "matrix": name, "dataset": dataset, "cells": []}
    for number, cell in enumerate(cells, 1):
        err.print(f"run {number} of {len(cells)}: {cell.shown}", markup=False, soft_wrap=True)
        progress.report("experiment", number - 1, len(cells))
        record["cells"].append(_run_cell(cell, run_cell))
        _write(workspace, record)
    progress.report("experiment", len(cells), len(cells))
    record["rows"] = [_row_json(row) for row in summarise(_contenders(workspace, experiment_id))]
    _write(workspace, record)
    write_csv(workspace.runs / experiment_id / "table.csv", record["rows"])
    return record


def _run_cell(cell: Cell, run_cell: RunCell) -> CellRecord:
    record: CellRecord = {
        "variant": cell.variant,
        "changes": dict(cell.changes),
        "per_action": cell.per_action,
        "run_id": None,
        "why": None,
        "computed": {},
    }
    try:
        summary = run_cell(cell.config)
    except (CatalogError, ConfigError) as exc:
        record["why"] = str(exc)
        return record
    record["computed"] = {stage: count.computed for stage, count in summary.stages.items()}
    if summary.metrics:
        record["run_id"] = summary.run_id
    else:
        reasons = [row.reason for row in summary.failures] or summary.notes or ["nothing was evaluated"]
        record["why"] = reasons[-1]
    return record


def _contenders(workspace: Workspace, experiment_id: str) -> list[Contender]:
    try:
        return find_contenders(workspace, experiment_id)
    except CatalogError:
        return []  # every cell says itself why it has no run


def _write(workspace: Workspace, record: ExperimentRecord) -> None:
    path = record_path(workspace, record["experiment_id"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, record)


def summarise(contenders: Sequence[Contender]) -> list[Row]:
    """Metrics of every contender: last and best epoch, each action and all, one number a seed."""
    rows = []
    for contender in contenders:
        classifies = contender.first.config.model.head == "classification"
        split = next(name for name in ("test", "validation") if name in set(contender.first.predictions()["split"]))
        for weights in WEIGHTS:
            tables = [
                score_table(
                    table["true"].to_numpy(float),
                    table["predicted"].to_numpy(float),
                    table["action"].tolist(),
                    classifies,
                )
                for table in contender.predictions(weights, split)
            ]
            for action in sorted(tables[0], key=lambda name: (name == OVERALL, name)):
                for metric in tables[0][action]:
                    values = tuple(table[action][metric].value for table in tables)
                    rows.append(Row(contender.label, weights, split, action, metric, values))
    return rows


def _row_json(row: Row) -> SummaryRow:
    return {
        "contender": row.contender,
        "weights": row.weights,
        "split": row.split,
        "action": row.action,
        "metric": row.metric,
        "values": list(row.values),
        "mean": row.mean,
        "sd": row.spread,
    }


def write_csv(path: Path, rows: Sequence[SummaryRow]) -> None:
    """The summary as a spreadsheet reads it; empty where a metric has no value."""
    columns: tuple[Column, ...] = ("contender", "weights", "split", "action", "metric", "mean", "sd")
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "seeds"])
        writer.writerows([*(spreadsheet_cell(row[name]) for name in columns), len(row["values"])] for row in rows)
