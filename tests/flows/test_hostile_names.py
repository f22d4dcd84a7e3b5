"""Names that a stranger chose, on the terminal and in CSV files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from data_catalog.foreign_text import spreadsheet_cell
from data_catalog.tables.edits import Edit
from flows.cli.main import app
from flows.console import VisibleConsole
from flows.datasets.ingest import ingest
from flows.experiments.contenders import SummaryRow
from flows.experiments.matrix import write_csv

ESCAPES = "\x1b]0;owned\x07\x1b[31mred\u202eturned\x9b2J"
SHOWN = r"\x1b]0;owned\x07\x1b[31mred\u202eturned\x9b2J"


@pytest.mark.parametrize("terminal", [False, True])
def test_whatever_is_printed_obeys_nobody(terminal: bool) -> None:
    written = io.StringIO()
    console = VisibleConsole(file=written, force_terminal=terminal, width=200, color_system=None)
    table = Table(ESCAPES, title=ESCAPES)
    table.add_row(ESCAPES)
    for renderable in (ESCAPES, table):
        console.print(renderable, markup=False, soft_wrap=True)
    console.print(Text(ESCAPES))
    console.print("two\nlines", markup=False)
    text = written.getvalue()
    assert not {"\x07", "\u202e", "\x9b"} & set(text)
    assert "\x1b]" not in text
    assert "\x1b[31m" not in text
    assert text.count(SHOWN) == 4  # the string, and title, head and cell of the table
    assert text.endswith("two\nlines\n")


def test_a_command_shows_what_an_earlier_version_let_in(tiny_videos: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w")
    ingest(workspace, "tiny", "procedural", tiny_videos)
    edit = Edit("diving_0000", "bad_reason", None, ESCAPES, ESCAPES, "2026-01-01T00:00:00+00:00")
    workspace.datasets.edits("tiny").append([edit])
    for words in (
        ["labels", "history"],
        ["catalog", "query", "select bad_reason from clips"],
        ["status"],
        ["labels", "history", "--json"],
    ):
        result = CliRunner().invoke(app, [*words, "-w", str(workspace.root)])
        assert result.exit_code == 0, (words, result.output)
        assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(result.output), words


def test_ingest_of_such_labels_says_so_visibly(tiny_videos: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(f"clip_id,video,split,score\n{ESCAPES},videos/diving_0000.mp4,train,5\n")
    words = ["ingest", "folder", "--name", "x", "--videos", str(tiny_videos), "--labels", str(labels)]
    result = CliRunner().invoke(app, [*words, "-w", str(tmp_path / "w")])
    assert result.exit_code != 0
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(result.output)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_formulas_are_quoted(text: str) -> None:
    assert str(spreadsheet_cell(text)).startswith("'")
    assert spreadsheet_cell(-1.5) == -1.5
    assert spreadsheet_cell("a=1") == "a=1"
    assert spreadsheet_cell(None) is None


def test_the_table_of_an_experiment_has_no_formulas(tmp_path: Path) -> None:
    row: SummaryRow = {
        "contender": "=cmd|' /C calc'!A0",
        "weights": "last",
        "split": "test",
        "action": "@SUM(1+1)",
        "metric": "spearman",
        "values": [0.5, 0.7],
        "mean": 0.6,
        "sd": 0.14,
    }
    write_csv(tmp_path / "t.csv", [row])
    with (tmp_path / "t.csv").open(newline="") as file:
        (read,) = csv.DictReader(file)
    assert (read["contender"], read["action"]) == ("'=cmd|' /C calc'!A0", "'@SUM(1+1)")
