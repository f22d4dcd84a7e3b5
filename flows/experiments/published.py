"""Figures that papers print, read from `published.yaml`; see its head for what the fields mean."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml
from pydantic import model_validator

from flows.experiments.comparison_record import PublishedFigure
from tasks.engine.config import StageConfig

FIGURES = Path(__file__).parent / "published.yaml"


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


class Published(StageConfig):
    """All tables, and the full words of their sources."""

    sources: dict[str, str]
    tables: tuple[PublishedTable, ...]

    @model_validator(mode="after")
    def _sources_are_known(self) -> Published:
        for table in self.tables:
            for row in table.rows:
                if row.source not in self.sources:
                    raise ValueError(f"table '{table.name}': source '{row.source}' of {row.method} is not listed")
        return self


@cache
def published() -> Published:
    """What the file holds, checked."""
    return Published.model_validate(yaml.safe_load(FIGURES.read_text(encoding="utf-8")))


def published_rows(dataset: str, metrics: tuple[str, ...]) -> list[PublishedFigure]:
    """One row a figure of datasets that adapter `dataset` reads: method, metric, action, value, table, source."""
    known = published()
    return [
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
    """Table → what the paper prints there and the file lacks."""
    return {table.name: table.missing for table in published().tables if table.dataset == dataset and table.missing}
