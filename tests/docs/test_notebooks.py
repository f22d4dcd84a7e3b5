"""The notebooks of docs/notebooks: each runs from its first cell to its last, in a kernel of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support import REPO

FOLDER = REPO / "docs" / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
SECONDS = 900  # a cell, on a machine that others use as well


def outputs_of(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Source of each code cell → what it shows; raises where a cell does."""
    monkeypatch.setenv("PYTHONPATH", str(REPO))  # a kernel begins in the folder of its notebook
    notebook = nbformat.read(FOLDER / name, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=place).execute()
    return {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def output(cells: dict[str, list[Any]], begins: str) -> list[Any]:
    (found,) = (outputs for source, outputs in cells.items() if source.startswith(begins))
    return found


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
def test_first_run_shows_progress_tables_and_the_tube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = outputs_of("first_run.ipynb", tmp_path, monkeypatch)
    lines = [one for outputs in cells.values() for one in outputs if one.output_type == "stream"]
    assert lines == [], "no flood of lines"
    shown, returned = output(cells, "run = ws.run")
    assert shown.output_type == "display_data"
    for stage in ("normalize", "track", "train"):
        assert f"<td>{stage}</td><td><progress" in shown.data["text/html"]
    assert "<table" in returned.data["text/html"]
    assert "on dataset dives" in returned.data["text/html"]
    for cell in ("tubes = ws.tubes", "masks = ws.masks"):
        (picture,) = output(cells, cell)
        assert picture.data["image/png"].startswith("iVBORw0KGgo")
    assert "(1, 24, 4, 2)" in output(cells, "tubes.quads.shape")[0].data["text/plain"]
    again = output(cells, "again = ws.run")[-1].data["text/plain"].split()
    assert again[-4:] == ["6", "evaluate", "0", "1"], "everything was there already"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["workspace"], "nothing is written beside the workspace"


@pytest.mark.slow
def test_compare_puts_two_runs_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = outputs_of("compare.ipynb", tmp_path, monkeypatch)
    planned = output(cells, "PLAIN =")[0].data["text/html"]
    assert planned.count("<td>0</td>") >= 5, "what the two share is not to be done again"
    shown, compared = output(cells, "compared = ws.compare")
    assert "<td>compare</td><td><progress" in shown.data["text/html"]
    assert "spearman" in compared.data["text/html"]
    assert "nan" not in compared.data["text/html"], "the baseline's difference from itself is no number"
    (scored,) = (one for one in output(cells, "clip = ws.clips") if one.output_type == "execute_result")
    assert "diving_0003" in scored.data["text/html"]
    (said,) = output(cells, "try:")
    assert said.text.startswith("This workspace has no clip 'diving_0033'; did you mean")
    assert list(tmp_path.glob("workspace/predictions/*/diving_0003.mp4"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_kept_without_outputs(name: str) -> None:
    notebook = json.loads((FOLDER / name).read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * len(code)
    assert '"/' not in "".join(line for cell in code for line in cell["source"]), "a path of somebody's machine"


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS == ["compare.ipynb", "first_run.ipynb"]
