"""The systems of the paper's Tables 1 and 4: presets, matrices, names in `compare`, and what the docs say of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flows.config import ConfigError, PipelineConfig, load_config
from flows.experiments.matrix import Cell, expand, from_preset, load_matrix
from flows.experiments.paper_layout import network_name
from flows.experiments.published import paper_tables
from tests.support import REPO

# What each row is by its own paper: attention, head, temporal module.
ROWS: dict[str, dict[str, tuple[str, str, str]]] = {
    "aqa7": {
        "USDL": ("none", "usdl", "mean"),
        "NL-Net": ("nonlocal", "usdl", "mean"),
        "TSA-Net": ("tsa", "usdl", "mean"),
    },
    "mtl_aqa": {
        "MUSDL": ("none", "musdl", "mean"),
        "NL-Net": ("nonlocal", "regression", "mean"),
        "TSA-Net": ("tsa", "regression", "mean"),
    },
}
MATRIX = {"aqa7": "aqa7_table1", "mtl_aqa": "mtl_aqa_table4"}
TABLE = {"aqa7": 1, "mtl_aqa": 4}


def cells(dataset: str, overrides: tuple[str, ...] = ()) -> dict[str, Cell]:
    return {str(cell.variant): cell for cell in expand(load_matrix(MATRIX[dataset]), overrides, ["diving"])}


def built(config: PipelineConfig) -> tuple[str, str, str]:
    return config.model.attention, config.model.head, config.model.temporal


@pytest.mark.parametrize("dataset", MATRIX)
def test_each_row_of_the_matrix_is_that_system(dataset: str) -> None:
    found = cells(dataset)
    assert {name: built(cell.config) for name, cell in found.items()} == ROWS[dataset]
    assert {name: network_name(cell.config.model) for name, cell in found.items()} == {name: name for name in found}


@pytest.mark.parametrize("dataset", MATRIX)
def test_the_printed_table_has_a_row_of_that_name(dataset: str) -> None:
    [table] = [table for table in paper_tables(dataset) if table.table == TABLE[dataset]]
    assert set(ROWS[dataset]) <= set(table.rows)


def test_a_preset_says_what_it_has_otherwise_than_another() -> None:
    whole, usdl = load_config("aqa7"), load_config("aqa7_usdl")
    assert usdl.model.attention == "none"
    assert usdl.model_copy(update={"model": whole.model}) == whole
    assert usdl.model.model_copy(update={"attention": "tsa"}) == whole.model


def test_a_file_begins_from_a_preset_field_by_field(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("preset: mtl_aqa_musdl\ntrain:\n  seed: 7\n")
    found = load_config(str(mine), ["train.epochs=3"])
    assert (found.train.seed, found.train.epochs, found.model.head) == (7, 3, "musdl")
    assert found.train.difficulty
    mine.write_text(f"preset: {mine}\n")
    with pytest.raises(ConfigError, match="is none of aqa7, "):
        load_config(str(mine))


def test_a_matrix_with_another_preset(tmp_path: Path) -> None:
    [cell] = expand(from_preset(load_matrix("aqa7_six"), "aqa7_nl_net"), [], ["diving"])
    assert (cell.config.model.attention, cell.config.train.actions) == ("nonlocal", ("diving",))
    with pytest.raises(ConfigError, match="its variants say themselves"):
        from_preset(load_matrix("aqa7_table1"), "demo")
    with pytest.raises(ConfigError, match="no preset or file 'aqa8'"):
        expand(from_preset(load_matrix("aqa7_six"), "aqa8"), [], ["diving"])


def test_what_is_fixed_holds_for_rows_with_presets_too() -> None:
    found = cells("aqa7", ("train.epochs=2",))
    assert {cell.config.train.epochs for cell in found.values()} == {2}


def told_of(system: str) -> list[str]:
    """The cells of a system's row in the docs."""
    page = (REPO / "docs" / "systems.md").read_text()
    [row] = [line for line in page.splitlines() if line.startswith(f"| {system} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.mark.parametrize("dataset", MATRIX)
def test_the_docs_name_preset_and_printed_figure_of_each_row(dataset: str) -> None:
    [table] = [table for table in paper_tables(dataset) if table.table == TABLE[dataset]]
    presets: dict[str, Any] = {name: fields["preset"] for name, fields in load_matrix(MATRIX[dataset]).variants.items()}
    for system, preset in presets.items():
        row = told_of(system)
        assert f"{table.rows[system][-1]:.4f}" == row[1 if dataset == "aqa7" else 2]
        assert preset in re.findall(r"`(\w+)`", row[3])
