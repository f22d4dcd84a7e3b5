"""Step labels from `tubeflow ingest` to the catalog; nothing that a stage makes depends on them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.records import Step
from flows.cli.main import app
from flows.datasets.clips import dataset_clips
from flows.datasets.ingest import check_dataset, ingest, ingest_again
from flows.stages import make_plan
from tasks.engine.plan import Planner, resolve_sources
from tests.support.tiny_workspace import tiny_config

TABLE = "clip,step,start,end\ndiving_0000,take-off,0,30\ndiving_0000,flight,30,55\ndiving_9999,flight,0,5\n"


def keys(workspace: Workspace) -> dict[str, dict[str, str]]:
    """The key of every job of every stage, sources read."""
    planner = Planner(workspace, "dives", dataset_clips(workspace, "dives"))
    resolve_sources(planner)
    plans = make_plan(planner, tiny_config())
    return {name: {clip: job.key for clip, job in plan.jobs.items()} for name, plan in plans.items()}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "phases.csv"
    path.write_text(TABLE)
    return path


def test_ingest_with_a_table_of_steps(tiny_videos: Path, table: Path, tmp_path: Path) -> None:
    arguments = ["procedural", "--name", "dives", "--root", str(tiny_videos), "--steps", str(table)]
    told = CliRunner().invoke(app, ["ingest", *arguments, "--workspace", str(tmp_path / "ws")])
    assert told.exit_code == 0, told.output
    assert "clip 'diving_9999', phases.csv line 4: the dataset has no clip 'diving_9999'" in told.output
    assert "2 steps of 1 clips were read from phases.csv" in told.output
    workspace = Workspace(tmp_path / "ws")
    steps = {clip.clip_id: clip.steps for clip in dataset_clips(workspace, "dives")}
    wanted = (Step("take-off", 0, 30), Step("flight", 30, 55))
    assert steps == {"diving_0000": wanted, **dict.fromkeys(("diving_0001", "diving_0002", "diving_0003"), ())}
    again = ingest_again(workspace, "dives", tmp_path / "clips.parquet")
    assert {clip.clip_id: clip.steps for clip in again} == steps
    assert check_dataset(workspace, "dives")[1].records[0].steps == wanted


def test_steps_csv_beside_the_labels_is_read_and_another_table_of_that_name_is_passed_over(
    tiny_videos: Path, tmp_path: Path
) -> None:
    workspace, labels = Workspace.open(tmp_path / "ws"), tmp_path / "labels"
    labels.mkdir()
    (labels / "labels.csv").write_bytes((tiny_videos / "labels.csv").read_bytes())
    (labels / "steps.csv").write_text(TABLE)
    listing = ingest(workspace, "dives", "folder", tiny_videos, labels / "labels.csv")
    assert [len(clip.steps) for clip in listing.records] == [2, 0, 0, 0]
    (labels / "steps.csv").write_text("week,steps\n1,70000\n")
    listing = ingest(workspace, "dives", "folder", tiny_videos, labels / "labels.csv")
    assert [len(clip.steps) for clip in listing.records] == [0, 0, 0, 0]
    assert "steps.csv has no column 'clip_id'" in listing.warnings[-1]
    with pytest.raises(CatalogError, match=r"steps\.csv has no column 'clip_id'"):
        ingest(workspace, "dives", "folder", tiny_videos, labels / "labels.csv", labels / "steps.csv")


def test_no_key_depends_on_steps(tiny_videos: Path, table: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    ingest(workspace, "dives", "procedural", tiny_videos)
    before = keys(workspace)
    assert all(len(key) == 40 for of_stage in before.values() for key in of_stage.values())
    ingest(workspace, "dives", "procedural", tiny_videos, None, table)
    assert sum(bool(clip.steps) for clip in dataset_clips(workspace, "dives")) == 1
    assert keys(workspace) == before
