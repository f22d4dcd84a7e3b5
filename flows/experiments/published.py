"""Figures that papers print, read from `published.yaml`; see its head for what the fields mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import yaml
from pydantic import model_validator

from flows.experiments.comparison_record import PublishedFigure
from tasks.engine.config import StageConfig
from tasks.training.score_table import OVERALL

FIGURES = Path(__file__).parent / "published.yaml"
PAPER = "tsa_net"
"""Source of the tables under `paper`."""


class PublishedRow(StageConfig):
    """One method's figures in one table, per action and over `all`."""

    method: str
    source: str
    values: dict[str, float]
    implied: float | None = None


class PublishedTable(StageConfig):
    """A table of one metric on one dataset."""

    name: str
    dataset: str
    metric: str
    rows: tuple[PublishedRow, ...]
    missing: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> PublishedTable:
        if not self.rows and not self.missing:
            raise ValueError(f"table '{self.name}' has neither figures nor a word on what is missing")
        methods = [row.method for row in self.rows]
        if twice := {method for method in methods if methods.count(method) > 1}:
            raise ValueError(f"table '{self.name}' has {sorted(twice)[0]} twice")
        return self


class PaperColumn(StageConfig):
    """A column of a printed table: what its numbers are, and what turns them into our unit."""

    title: str
    metric: str
    action: str = OVERALL
    method: str | None = None
    scale: float = 1.0


class PaperCell(StageConfig):
    """One printed number in our unit, and what it is of."""

    method: str
    metric: str
    action: str
    value: float


class PaperTable(StageConfig):
    """A table of the TSA-Net paper as it is printed: one row a method, or with `row_actions` one row an action."""

    table: int
    caption: str
    dataset: str
    columns: tuple[PaperColumn, ...]
    rows: dict[str, tuple[float | None, ...]]
    row_actions: dict[str, str] | None = None

    @property
    def name(self) -> str:
        """`Table 3`."""
        return f"Table {self.table}"

    @model_validator(mode="after")
    def _is_whole(self) -> PaperTable:
        for row, values in self.rows.items():
            if len(values) != len(self.columns):
                raise ValueError(f"{self.name}: row '{row}' has {len(values)} of {len(self.columns)} columns")
        if self.row_actions is None:
            return self
        if set(self.row_actions) != set(self.rows) or any(column.method is None for column in self.columns):
            raise ValueError(f"{self.name}: where rows are actions, each row needs one and each column a method")
        return self

    def place(self, row: str, column: PaperColumn) -> tuple[str, str]:
        """Method and action of a cell."""
        if self.row_actions is None:
            return row, column.action
        return column.method or "", self.row_actions[row]

    def cells(self) -> Iterator[PaperCell]:
        """All printed numbers."""
        for row, values in self.rows.items():
            for column, printed in zip(self.columns, values, strict=True):
                if printed is not None:
                    method, action = self.place(row, column)
                    # To the digits of print: 94.23 % is 0.9423 and not its neighbour among the floats.
                    value = float(f"{printed * column.scale:.10g}")
                    yield PaperCell(method=method, metric=column.metric, action=action, value=value)


class Published(StageConfig):
    """The paper's tables, those of others, and the full words of their sources."""

    sources: dict[str, str]
    paper: tuple[PaperTable, ...] = ()
    tables: tuple[PublishedTable, ...]

    @model_validator(mode="after")
    def _sources_are_known(self) -> Published:
        if self.paper and PAPER not in self.sources:
            raise ValueError(f"source '{PAPER}' of the paper's tables is not listed")
        for table in self.tables:
            for row in table.rows:
                if row.source not in self.sources:
                    raise ValueError(f"table '{table.name}': source '{row.source}' of {row.method} is not listed")
        return self


@cache
def published() -> Published:
    """What the file holds, checked."""
    return Published.model_validate(yaml.safe_load(FIGURES.read_text(encoding="utf-8")))


def paper_tables(dataset: str) -> list[PaperTable]:
    """The paper's tables on the dataset that adapter `dataset` reads."""
    return [table for table in published().paper if table.dataset == dataset]


def published_rows(dataset: str, metrics: tuple[str, ...]) -> list[PublishedFigure]:
    """One row a figure of datasets that adapter `dataset` reads: method, metric, action, value, table, source.

    A figure that the paper prints in two tables is there twice, once a table.
    """
    known = published()
    printed: list[PublishedFigure] = [
        {
            "method": cell.method,
            "metric": cell.metric,
            "action": cell.action,
            "value": cell.value,
            "table": table.name,
            "source": known.sources[PAPER],
        }
        for table in paper_tables(dataset)
        for cell in table.cells()
        if cell.metric in metrics
    ]
    return printed + [
        {
            "method": row.method,
            "metric": table.metric,
            "action": action,
            "value": value,
            "table": table.name,
            "source": known.sources[row.source],
        }
        for table in known.tables
        if table.dataset == dataset and table.metric in metrics
        for row in table.rows
        for action, value in row.values.items()
    ]


def missing_figures(dataset: str) -> Mapping[str, tuple[str, ...]]:
    """Table → what a paper prints there and the file lacks."""
    return {table.name: table.missing for table in published().tables if table.dataset == dataset and table.missing}
