"""The one reader of run.json: seals, records of earlier versions, damaged ones, and the order of runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.query import query
from flows.cli.main import app
from flows.config import ConfigError, PipelineConfig
from flows.maintenance.gc import find_garbage, newest_runs
from flows.maintenance.status import read_status
from flows.runs.finished import find_run
from flows.runs.last import last_where
from flows.runs.record import RunRecord, read_all_runs, read_runs, write_record
from flows.runs.summary import RunSummary
from tests.support.file_damage import empty, folder, link, pipe, truncate


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "w")


def write_old(workspace: Workspace, text: str, run_id: str) -> None:
    """As the version before wrote it, without a seal."""
    folder = workspace.runs / run_id
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(text)


def keep(workspace: Workspace, run_id: str, **fields: Any) -> Path:
    """As this version writes it; returns the file."""
    write_record(workspace, RunSummary(run_id, "d", **fields), PipelineConfig(), {}, ["masks"])
    return workspace.runs / run_id / "run.json"


def test_a_record_of_before_there_were_runs_of_clips_is_read(workspace: Workspace) -> None:
    write_old(workspace, json.dumps({"run_id": "1", "dataset": "d", "selected": ["masks"], "once": "a field"}), "1")
    assert read_runs(workspace) == [RunRecord(run_id="1", dataset="d", selected=("masks",))]
    assert workspace.notices == []


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"dataset": "d"}'])
def test_an_unreadable_record_is_named_and_the_others_are_read(workspace: Workspace, damaged: str) -> None:
    write_old(workspace, damaged, "1")
    write_old(workspace, json.dumps({"run_id": "2", "dataset": "d"}), "2")
    assert [run.run_id for run in read_runs(workspace)] == ["2"]
    (notice,) = workspace.notices
    assert notice.startswith(str(workspace.runs / "1/run.json"))
    assert f"delete {workspace.runs / '1'} and run the same again" in notice


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def other_run(path: Path) -> None:
    path.write_bytes((path.parents[1] / "1" / "run.json").read_bytes())


DAMAGE: dict[str, Callable[[Path], None]] = {
    "first bit": lambda path: flip(path, 0),
    "a value": lambda path: flip(path, path.read_bytes().index(b"0.125") + 3),
    "its number": lambda path: flip(path, path.read_bytes().index(b'"number": ') + 10),
    "half": truncate,
    "nothing in it": empty,
    "gone": Path.unlink,
    "folder": folder,
    "link": link,
    "pipe": pipe,
    "another run's": other_run,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_named_by_every_reader_and_gc_refuses(workspace: Workspace, damage: str) -> None:
    keep(workspace, "1")
    path = keep(workspace, "2", metrics={"last": {"test": {"all": {"mse": 0.125}}}})
    assert [run.run_id for run in read_all_runs(workspace)] == ["1", "2"]
    DAMAGE[damage](path)
    for reader in (read_runs, read_status, lambda opened: query(opened, "select * from runs")):
        opened = Workspace(workspace.root)
        reader(opened)  # type: ignore[operator]
        assert [notice for notice in opened.notices if str(path) in notice]
    for command in (["gc"], ["compare", "last"], ["compare", "2"]):
        result = CliRunner().invoke(app, [*command, "-w", str(workspace.root)])
        assert result.exit_code == 2
        assert str(path) in result.output
        assert len([line for line in result.output.splitlines() if not line.endswith(" …")]) == 1  # those are progress
    with pytest.raises(CatalogError, match="delete"):
        find_run(workspace, "last")


def test_every_bit_of_a_record_is_noticed_or_says_nothing(workspace: Workspace) -> None:
    path = keep(workspace, "1", metrics={"last": {"test": {"all": {"mse": 0.125}}}}, notes=["a note"])
    (whole,), content = read_runs(workspace), path.read_bytes()
    for at in range(0, len(content) * 8, 7):
        changed = bytearray(content)
        changed[at // 8] ^= 1 << at % 8
        path.write_bytes(changed)
        opened = Workspace(workspace.root)
        assert read_runs(opened) == [whole] or str(path) in opened.notices[0]


def test_runs_are_in_the_order_in_which_they_ended_whatever_the_clock_says(workspace: Workspace) -> None:
    write_old(workspace, json.dumps({"run_id": "20260301-000000-aaaa", "dataset": "d"}), "20260301-000000-aaaa")
    for run_id in ("20260201-000000-bbbb", "20260401-000000-cccc", "20250101-000000-dddd"):  # set back twice
        keep(workspace, run_id)
    ids = [run.run_id for run in read_runs(workspace)]
    assert [run_id[-4:] for run_id in ids] == ["aaaa", "bbbb", "cccc", "dddd"]
    assert newest_runs(read_runs(workspace), keep=1) == [ids[-1]]
    assert newest_runs(read_runs(workspace), keep=2) == ids[-2:]
    assert read_status(workspace)["runs"][-1]["run_id"] == ids[-1]
    keep(workspace, ids[1])  # written again with its report: it stays where it was
    assert [run.run_id for run in read_runs(workspace)] == ids


def test_runs_that_end_at_once_get_numbers_of_their_own(workspace: Workspace) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: keep(workspace, f"run{number}"), range(8)))
    assert sorted(run.number for run in read_runs(workspace)) == list(range(1, 9))


def test_an_experiment_that_cannot_be_read_is_an_error(workspace: Workspace) -> None:
    path = workspace.runs / "exp-1" / "experiment.json"
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(CatalogError, match=r"experiment\.json is damaged.*delete .*exp-1 and run the experiment again"):
        find_garbage(workspace, keep=1)


def test_a_run_of_single_clips_is_not_the_last_whole_one(workspace: Workspace) -> None:
    write_old(workspace, json.dumps({"run_id": "1", "dataset": "d", "where": "score > 5"}), "1")
    write_old(workspace, json.dumps({"run_id": "2", "dataset": "d", "clips": ["a"], "where": None}), "2")
    assert last_where(workspace, "d") == "score > 5"


def test_a_record_is_frozen_and_checks_its_config_when_asked() -> None:
    run = RunRecord(run_id="1", dataset="d", config={"track": {"trackr": "mil"}})
    with pytest.raises(ValidationError, match="frozen"):
        run.dataset = "other"  # type: ignore[misc]
    with pytest.raises(ConfigError, match=r"track\.trackr"):
        run.pipeline_config()
