"""The file of published figures: whole, and consistent with the formulas that the papers name."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from data_catalog.datasets import ADAPTERS
from data_catalog.datasets.aqa7 import ACTIONS
from flows.experiments.published import Published, PublishedRow, missing_figures, published, published_rows
from models.attention.cost import attention_cost
from models.metrics.scores import fisher_z_mean
from tasks.training.score_table import OVERALL

SIX = set(ACTIONS)


def rows_of(metric: str, dataset: str = "aqa7") -> dict[str, PublishedRow]:
    """Method → row, of all tables of one metric."""
    tables = [table for table in published().tables if (table.metric, table.dataset) == (metric, dataset)]
    return {row.method: row for table in tables for row in table.rows}


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


def test_every_table_of_the_paper_has_its_two_networks_or_says_what_is_missing() -> None:
    tables = {(table.dataset, table.metric): table for table in published().tables if table.rows}
    for place in (("aqa7", "spearman"), ("mtl_aqa", "spearman"), ("mtl_aqa", "mse"), ("fr_fs", "accuracy")):
        assert "TSA-Net" in {row.method for row in tables[place].rows}
        baselines = {"NL-Net", "Plain-Net"} & {row.method for row in tables[place].rows}
        assert baselines or any("NL-Net" in words for words in tables[place].missing)
    assert set(WHOLE) >= {"TSA-Net", "USDL", "JRG", "TPT", "CoRe", "C3D-SVR", "C3D-LSTM", "ST-GCN"}
    assert "ablations" in missing_figures("aqa7")


def test_figures_are_in_the_units_of_our_metrics() -> None:
    for table in published().tables:
        assert table.dataset in ADAPTERS
        for row in table.rows:
            known = SIX if table.dataset == "aqa7" else set()
            assert set(row.values) <= known | {OVERALL}
            if table.metric in ("spearman", "accuracy"):
                assert all(0 < value < 1 for value in row.values.values())


def test_the_papers_cost_of_nl_net_is_our_published_count() -> None:
    """Ten segments of 4 x 14 x 14 positions, 528 channels: to the two digits that are printed."""
    printed = rows_of("attention_macs")["NL-Net"].values[OVERALL]
    assert float(f"{attention_cost(10 * 4 * 14 * 14, 528).published:.1e}") == printed


def test_rows_for_a_comparison() -> None:
    rows = published_rows("mtl_aqa", ("mse",))
    assert {(row["method"], row["action"]) for row in rows} == {("NL-Net", "all"), ("TSA-Net", "all")}
    assert all("2021" in row["source"] for row in rows)
    assert published_rows("folder", ("mse",)) == []


def test_a_broken_file_is_refused() -> None:
    row = {"method": "A", "source": "a", "values": {"all": 1.0}}
    table = {"name": "t", "dataset": "aqa7", "metric": "mse", "rows": [row]}
    Published.model_validate({"sources": {"a": "A"}, "tables": [table]})
    for wrong, message in (
        ({"sources": {}, "tables": [table]}, "source 'a' of A is not listed"),
        ({"sources": {"a": "A"}, "tables": [table | {"rows": [row, row]}]}, "has A twice"),
        ({"sources": {}, "tables": [table | {"rows": []}]}, "neither figures nor a word"),
    ):
        with pytest.raises(ValidationError, match=message):
            Published.model_validate(wrong)
