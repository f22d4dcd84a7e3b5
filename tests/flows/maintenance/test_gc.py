"""`tubeflow gc` removes what older runs left behind, and nothing that somebody may still need."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from data_catalog.catalog import CatalogError, Workspace
from flows.cli.main import app
from flows.maintenance.gc import find_garbage, newest_runs, remove
from flows.runs.record import RunRecord
from tests.support.tiny_workspace import copy_workspace, identities, plan, run


@pytest.fixture
def two_taus(finished_workspace: Path, tmp_path: Path) -> Path:
    """A workspace whose first run used another tau than its newest."""
    root = copy_workspace(finished_workspace, tmp_path / "ws")
    run(root, "masks.tau=0.3", "train.epochs=1")
    return root


def test_what_only_an_older_run_needs_goes(two_taus: Path) -> None:
    workspace = Workspace(two_taus)
    first = sorted(path.name for path in workspace.runs.iterdir())[0]
    garbage = find_garbage(workspace, keep=1)
    assert {one.stage for one in garbage} == {"masks", "pack", "train", "evaluate"}
    assert {one.runs for one in garbage} == {(first,)}
    assert len([one for one in garbage if one.stage == "masks"]) == 4
    trained = next(one for one in garbage if one.stage == "train")
    assert trained.size > trained.path.stat().st_size  # its checkpoints go with it
    remove(workspace, garbage)
    after = plan(two_taus, "masks.tau=0.3")
    assert [len(after[name].hits) for name in ("normalize", "detect", "track", "masks")] == [4, 4, 4, 4]
    assert len(plan(two_taus)["masks"].hits) == 0
    assert not trained.path.with_suffix(".work").exists()


def test_more_runs_can_be_kept(two_taus: Path) -> None:
    assert find_garbage(Workspace(two_taus), keep=2) == []


def test_without_delete_nothing_goes(two_taus: Path) -> None:
    before = identities(two_taus)
    result = CliRunner().invoke(app, ["gc", "-w", str(two_taus)])
    assert result.exit_code == 0, result.output
    assert "Would remove" in result.stdout
    assert identities(two_taus) == before
    assert CliRunner().invoke(app, ["gc", "--delete", "-w", str(two_taus)]).exit_code == 0
    assert len(identities(two_taus)) == len(before) - 7


def test_what_no_run_refers_to_yet_is_left_alone_for_a_while(two_taus: Path) -> None:
    """A run under way has not written down what it uses."""
    workspace = Workspace(two_taus)
    newest = sorted(workspace.runs.iterdir())[-1]
    for name in ("run.json", "references.parquet"):  # as if it were still running
        (newest / name).unlink()
    assert find_garbage(workspace, keep=1) == []
    old = time.time() - 48 * 3600
    for path in two_taus.glob("artifacts/masks/*/*.h5"):
        os.utime(path, (old, old))
    assert {one.stage for one in find_garbage(workspace, keep=1)} == {"masks"}
    assert {one.runs for one in find_garbage(workspace, keep=1)} == {()}


def test_a_lost_list_of_artifacts_removes_nothing(two_taus: Path) -> None:
    newest = sorted(Workspace(two_taus).runs.iterdir())[-1]
    (newest / "references.parquet").write_bytes(b"broken")
    with pytest.raises(CatalogError, match=newest.name):
        find_garbage(Workspace(two_taus), keep=1)


def record(run_id: str, **fields: Any) -> RunRecord:
    return RunRecord(run_id=run_id, dataset="tiny", **fields)


def test_partial_runs_push_no_whole_run_out() -> None:
    whole: dict[str, Any] = {"clips": [], "selected": ["pack", "train", "evaluate"]}
    single, masks = whole | {"clips": ["a"]}, whole | {"selected": ["masks"]}
    runs = [record(str(number), **kind) for number, kind in enumerate([whole, single, whole, single, single])]
    assert newest_runs(runs, 1) == ["2", "3", "4"]
    assert newest_runs(runs, 2) == ["0", "1", "2", "3", "4"]
    assert newest_runs(runs[3:], 1) == ["3", "4"]
    assert newest_runs([record("5", selected=["masks"])], 1) == ["5"]  # of before there were runs of clips
    tried = [record(str(number), **kind) for number, kind in enumerate([whole, masks, whole, masks, masks])]
    assert newest_runs(tried, 1) == ["2", "3", "4"]
    assert newest_runs([run for run in tried if run.selected == ("masks",)], 1) == ["4"]  # nothing went further


def test_trying_other_masks_keeps_the_trained_network(finished_workspace: Path, tmp_path: Path) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "ws")
    run(root, "masks.tau=0.3", selected=("masks",))
    assert find_garbage(Workspace(root), keep=1, grace_hours=0) == []


def test_the_command_prints_the_record(two_taus: Path) -> None:
    result = CliRunner().invoke(app, ["gc", "-w", str(two_taus), "--json"])
    told = json.loads(result.stdout)
    assert told == [one.as_json() for one in find_garbage(Workspace(two_taus), keep=1)]
    assert sum(row["bytes"] for row in told) > 0
    shown = CliRunner().invoke(app, ["gc", "-w", str(two_taus)]).stdout
    assert f"{len(told)} artifacts, {sum(row['bytes'] for row in told):,} bytes" in shown.replace("\n", " ")
