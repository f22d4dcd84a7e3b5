"""The file of published figures: whole, and consistent with the formulas that the papers name."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from data_catalog.datasets import ADAPTERS
from data_catalog.datasets.aqa7 import ACTIONS
from flows.experiments.published import (
    PaperTable,
    Published,
    PublishedRow,
    missing_figures,
    paper_tables,
    published,
    published_rows,
)
from models.attention.cost import attention_cost
from models.metrics.scores import fisher_z_mean
from tasks.training.score_table import OVERALL

SIX = set(ACTIONS)


def rows_of(metric: str, dataset: str = "aqa7") -> dict[str, PublishedRow]:
    """Method → row of one metric, of all tables together."""
    tables = [table for table in published().tables if (table.metric, table.dataset) == (metric, dataset)]
    implied = {row.method: row.implied for table in tables for row in table.rows}
    values: dict[str, dict[str, float]] = {}
    for row in published_rows(dataset, (metric,)):
        assert values.setdefault(row["method"], {}).setdefault(row["action"], row["value"]) == row["value"]
    return {
        method: PublishedRow(method=method, source="", values=one, implied=implied.get(method))
        for method, one in values.items()
    }


def per_action(row: PublishedRow) -> dict[str, float]:
    return {action: value for action, value in row.values.items() if action != OVERALL}


WHOLE = [method for method, row in rows_of("spearman").items() if set(row.values) == SIX | {OVERALL}]


@pytest.mark.parametrize("method", WHOLE)
def test_printed_means_are_fisher_means_of_the_printed_actions(method: str) -> None:
    row = rows_of("spearman")[method]
    expected = row.values[OVERALL] if row.implied is None else row.implied
    assert fisher_z_mean(per_action(row)).value == pytest.approx(expected, abs=1e-4)


def test_a_mean_that_does_not_follow_is_marked() -> None:
    """Only where the file says so may the printed mean differ from what the six values imply."""
    marked = {method for method, row in rows_of("spearman").items() if row.implied is not None}
    differ = {
        method
        for method in WHOLE
        if abs(fisher_z_mean(per_action(rows_of("spearman")[method])).value - rows_of("spearman")[method].values["all"])
        > 1e-4
    }
    assert marked == differ == {"CoRe"}


@pytest.mark.parametrize("method", rows_of("r_l2"))
def test_printed_relative_errors_are_plain_means(method: str) -> None:
    row = rows_of("r_l2")[method]
    assert set(per_action(row)) == SIX
    assert np.mean(list(per_action(row).values())) == pytest.approx(row.values[OVERALL], abs=0.006)




def as_listed(table: PaperTable) -> dict[tuple[str, str], float | None]:
    """Method and column, as `tables.csv` names them, → what our file says is printed there."""
    cells = {}
    for row, values in table.rows.items():
        for column, value in zip(table.columns, values, strict=True):
            if table.row_actions is None:
                cells[row, column.title] = value
            elif column.metric == "attention_macs":
                cells[column.title, f"{row} | cost"] = value
            else:
                cells["TSA-Net vs NL-Net", f"{row} | {column.title}"] = value
    return cells


def test_every_cell_of_the_papers_tables_is_here_and_right(shared: Path) -> None:
    """Tables 1 to 6 against `paper/tables.csv`, cell by cell, and nothing besides."""
    path = shared / "paper" / "tables.csv"
    if not path.is_file():
        pytest.skip("paper/tables.csv is not in the shared folder")
    with path.open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    wanted = {
        (int(row["table"]), row["method"], row["column"]): float(row["value"]) if row["value"] else None
        for row in listed
    }
    assert len(wanted) == len(listed) > 100
    found = {
        (table.table, *place): value for table in published().paper for place, value in as_listed(table).items()
    }
    assert found == wanted


def test_figures_of_the_paper_are_in_our_units(shared: Path) -> None:
    """Every figure that `compare` shows, against the unit that `tables.csv` names."""
    path = shared / "paper" / "tables.csv"
    if not path.is_file():
        pytest.skip("paper/tables.csv is not in the shared folder")
    units = {"G": 1e9, "%": 0.01}
    with path.open(encoding="utf-8", newline="") as file:
        wanted = sorted(
            float(row["value"]) * units.get(row["unit"], 1) for row in csv.DictReader(file) if row["value"]
        )
    found = sorted(cell.value for table in published().paper for cell in table.cells())
    assert found == pytest.approx(wanted, rel=1e-9)


def test_nothing_that_the_paper_lacks_is_called_missing() -> None:
    assert [table.table for table in published().paper] == [1, 2, 3, 4, 5, 6]
    assert [table.table for table in paper_tables("mtl_aqa")] == [4, 5]
    assert all(missing_figures(dataset) == {} for dataset in ("aqa7", "mtl_aqa", "fr_fs"))
    assert set(WHOLE) >= {"TSA-Net", "TSAx2-Net", "TSAx3-Net", "NL-Net", "USDL", "JRG", "TPT", "CoRe", "C3D-SVR"}


def test_the_savings_of_table_3_follow_from_its_costs() -> None:
    costs, saved = rows_of("attention_macs"), rows_of("macs_saved")["TSA-Net"].values
    for action in ACTIONS:
        ratio = costs["TSA-Net"].values[action] / costs["NL-Net"].values[action]
        assert saved[action] == pytest.approx(ratio - 1, abs=3e-4)


def test_table_3_allows_the_count_with_biases_and_norm_only() -> None:
    """What its costs, printed to 1 M, and its percentages, to 0.01, let the dense block cost: 2.1996 to 2.2011 G."""
    costs, saved = rows_of("attention_macs")["TSA-Net"].values, rows_of("macs_saved")["TSA-Net"].values
    low = max((costs[action] - 0.5e6) / (1 + saved[action] + 0.5e-4) for action in ACTIONS)
    high = min((costs[action] + 0.5e6) / (1 + saved[action] - 0.5e-4) for action in ACTIONS)
    dense = attention_cost(10 * 4 * 14 * 14, 528)
    assert low <= dense.printed == 7840 * 280_632 <= high
    assert dense.published == 2 * 7840 * 528 * 264 < low


def test_figures_are_in_the_units_of_our_metrics() -> None:
    for table in published().tables:
        assert table.dataset in ADAPTERS
        for row in table.rows:
            known = SIX if table.dataset == "aqa7" else set()
            assert set(row.values) <= known | {OVERALL}
            if table.metric in ("spearman", "accuracy"):
                assert all(0 < value < 1 for value in row.values.values())


def test_rows_for_a_comparison() -> None:
    rows = published_rows("mtl_aqa", ("mse",))
    methods = ("NL-Net", "TSA-Net", "TSAx2-Net", "TSAx3-Net")
    assert [(row["method"], row["action"], row["table"]) for row in rows] == [(m, "all", "Table 5") for m in methods]
    assert {row["table"] for row in published_rows("aqa7", ("spearman",)) if row["method"] == "TSA-Net"} == {
        "Table 1", "Table 2"
    }
    assert all("2021" in row["source"] for row in rows)
    assert published_rows("folder", ("mse",)) == []


def test_a_broken_file_is_refused() -> None:
    row = {"method": "A", "source": "a", "values": {"all": 1.0}}
    table = {"name": "t", "dataset": "aqa7", "metric": "mse", "rows": [row]}
    Published.model_validate({"sources": {"a": "A"}, "tables": [table]})
    column = {"title": "Corr.", "metric": "spearman"}
    printed = {"table": 1, "caption": "c", "dataset": "aqa7", "columns": [column], "rows": {"A": [0.5]}}
    for wrong, message in (
        ({"sources": {}, "tables": [table]}, "source 'a' of A is not listed"),
        ({"sources": {"a": "A"}, "tables": [table | {"rows": [row, row]}]}, "has A twice"),
        ({"sources": {}, "tables": [table | {"rows": []}]}, "neither figures nor a word"),
        ({"sources": {}, "tables": [], "paper": [printed]}, "source 'tsa_net'"),
        ({"sources": {}, "tables": [], "paper": [printed | {"rows": {"A": [1, 2]}}]}, "'A' has 2 of 1 columns"),
        ({"sources": {}, "tables": [], "paper": [printed | {"row_actions": {"A": "x"}}]}, "each column a method"),
    ):
        with pytest.raises(ValidationError, match=message):
            Published.model_validate(wrong)
