"""The one reader of run.json: records of earlier versions, damaged ones, and what it never changes."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from data_catalog.catalog import Workspace
from flows.config import ConfigError
from flows.runs.last import last_where
from flows.runs.record import RunRecord, read_runs


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "w")


def write(workspace: Workspace, text: str, run_id: str) -> None:
    folder = workspace.runs / run_id
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(text)


def test_a_record_of_before_there_were_runs_of_clips_is_read(workspace: Workspace) -> None:
    write(workspace, json.dumps({"run_id": "1", "dataset": "d", "selected": ["masks"], "once": "a field"}), "1")
    assert read_runs(workspace) == [RunRecord(run_id="1", dataset="d", selected=("masks",))]


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"dataset": "d"}'])
def test_an_unreadable_record_is_left_out(workspace: Workspace, damaged: str) -> None:
    write(workspace, damaged, "1")
    write(workspace, json.dumps({"run_id": "2", "dataset": "d"}), "2")
    assert [run.run_id for run in read_runs(workspace)] == ["2"]


def test_a_run_of_single_clips_is_not_the_last_whole_one(workspace: Workspace) -> None:
    write(workspace, json.dumps({"run_id": "1", "dataset": "d", "where": "score > 5"}), "1")
    write(workspace, json.dumps({"run_id": "2", "dataset": "d", "clips": ["a"], "where": None}), "2")
    assert last_where(workspace, "d") == "score > 5"


def test_a_record_is_frozen_and_checks_its_config_when_asked() -> None:
    run = RunRecord(run_id="1", dataset="d", config={"track": {"trackr": "mil"}})
    with pytest.raises(ValidationError, match="frozen"):
        run.dataset = "other"  # type: ignore[misc]
    with pytest.raises(ConfigError, match=r"track\.trackr"):
        run.pipeline_config()
