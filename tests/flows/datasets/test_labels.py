"""Edited labels in a workspace where everything is computed: what the next plan makes again, and what it leaves out."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_catalog.catalog import CatalogError, Workspace
from flows.cli.main import app
from flows.datasets.clips import dataset_clips
from flows.datasets.ingest import ingest
from flows.datasets.labels import set_labels
from flows.maintenance.status import read_status
from tests.support.tiny_workspace import DATASET, plan, run


def clip_ids(root: Path) -> list[str]:
    return [clip.clip_id for clip in dataset_clips(Workspace(root), DATASET)]


def reasons(root: Path) -> dict[str, list[str]]:
    return {name: one.summary() for name, one in plan(root).items() if one.reasons}


def test_a_score_is_made_again_from_pack_on(root: Path) -> None:
    clip = clip_ids(root)[0]
    assert reasons(root) == {}
    (edit,) = set_labels(Workspace(root), DATASET, clip, ["score=81.5"], "anna")
    assert (edit.field, edit.new, edit.who) == ("score", 81.5, "anna")
    assert reasons(root) == {
        "pack": ["labels changed: 1 clip"], "train": ["follows pack"], "evaluate": ["follows pack, train"],
    }  # fmt: skip


def test_a_box_is_made_again_from_detect_on_for_its_clip(root: Path) -> None:
    clip = clip_ids(root)[0]
    set_labels(Workspace(root), DATASET, clip, ["box=10,20,30,60", "box=100,20,30,60"])
    found = plan(root)
    assert not found["normalize"].reasons
    assert found["detect"].reasons == {clip: "boxes changed"}
    assert found["track"].reasons == {clip: "follows detect"}
    assert set(found["pack"].reasons) == {""}


def test_setting_it_back_finds_everything_there(root: Path) -> None:
    clip = clip_ids(root)[0]
    before = dataset_clips(Workspace(root), DATASET)[0].score
    set_labels(Workspace(root), DATASET, clip, ["score=81.5"])
    set_labels(Workspace(root), DATASET, clip, [f"score={before}"])
    assert reasons(root) == {}
    assert set_labels(Workspace(root), DATASET, clip, [f"score={before}"]) == []
    assert len(Workspace(root).datasets.edits(DATASET).read()) == 2


def test_a_bad_clip_is_left_out_and_shown(root: Path) -> None:
    clips = clip_ids(root)
    set_labels(Workspace(root), DATASET, clips[1], ["bad=true"])
    assert clip_ids(root) == [clips[0], *clips[2:]]
    assert reasons(root)["pack"] == ["1 clip left out"]
    status = read_status(Workspace(root))["datasets"][DATASET]
    assert (status["clips"], status["left_out"]) == (
        len(clips),
        [f"1 clip is marked bad and left out ({clips[1]}); to use one again: tubeflow labels set CLIP bad=false"],
    )
    summary = run(root, selected=("normalize", "detect"))
    assert summary.stages["detect"].clips == len(clips) - 1
    assert any("marked bad" in note for note in summary.notes)
    set_labels(Workspace(root), DATASET, clips[1], ["bad=false"])
    assert clip_ids(root) == clips


def test_reading_the_folder_again_keeps_the_edit(root: Path, tiny_videos: Path) -> None:
    clip = clip_ids(root)[0]
    set_labels(Workspace(root), DATASET, clip, ["score=81.5"])
    ingest(Workspace(root), DATASET, "procedural", tiny_videos)
    assert dataset_clips(Workspace(root), DATASET)[0].score == 81.5
    assert "pack" in reasons(root)


@pytest.mark.parametrize(
    ("assignments", "told"),
    [
        (["score=high"], "score must be a number"),
        (["score"], "is no field=value"),
        (["score=80", "split=nowhere"], "split must be one of"),
        (["score="], "needs a score or a label"),
        (["start_frame=10", "end_frame=5"], "end_frame 5 must be above start_frame 10"),
        (["colour=red"], "there is no label 'colour'"),
    ],
)
def test_what_does_not_fit_changes_nothing(root: Path, assignments: list[str], told: str) -> None:
    clip = clip_ids(root)[0]
    with pytest.raises(CatalogError, match=told):
        set_labels(Workspace(root), DATASET, clip, assignments)
    assert Workspace(root).datasets.edits(DATASET).read() == []


def test_only_a_part_of_the_dataset(root: Path) -> None:
    clips = dataset_clips(Workspace(root), DATASET)
    test = [clip.clip_id for clip in clips if clip.split == "test"]
    assert [clip.clip_id for clip in dataset_clips(Workspace(root), DATASET, "split = 'test'")] == test
    summary = run(root, selected=("normalize",), where="split = 'test'")
    assert (summary.stages["normalize"].clips, summary.stages["normalize"].hits) == (len(test), len(test))
    assert read_status(Workspace(root))["datasets"][DATASET]["stages"]["normalize"] == {
        "wanted": len(test), "done": len(test),
    }  # fmt: skip
    with pytest.raises(CatalogError, match="no clips for which score > 1000"):
        run(root, where="score > 1000")


def test_the_commands(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUBEFLOW_WORKSPACE", str(root))
    monkeypatch.setenv("TUBEFLOW_USER", "berta")
    clip = clip_ids(root)[0]
    call = CliRunner().invoke
    assert call(app, ["labels", "set", clip, "score=81.5"]).exit_code == 0
    history = json.loads(call(app, ["labels", "history", clip, "--json"]).output)
    assert [(row["dataset"], row["who"], row["new"]) for row in history] == [(DATASET, "berta", 81.5)]
    assert "berta" in call(app, ["labels", "history"]).output
    assert call(app, ["labels", "set", "nobody", "score=1"]).exit_code == 2
    assert "No label was edited." in call(app, ["labels", "history", clip_ids(root)[1]]).output
    assert call(app, ["labels", "history", "nobody"]).exit_code == 2
    overview = json.loads(call(app, ["catalog", "--json"]).output)
    assert (overview["datasets"][0]["edits"], overview["datasets"][0]["clips"]) == (1, 4)
    stages = {one["stage"]: one["artifacts"] for one in overview["stages"]}
    assert stages == dict.fromkeys(("normalize", "detect", "track", "masks"), 4) | dict.fromkeys(
        ("pack", "train", "evaluate"), 1
    )
    sql = "select stage, count(*) as n, sum(size) as bytes from artifacts group by stage"
    rows = json.loads(call(app, ["catalog", "-w", str(root), "query", sql, "--json"]).stdout)
    assert {row["stage"]: (row["n"], row["bytes"]) for row in rows} == {
        one["stage"]: (one["artifacts"], one["bytes"]) for one in overview["stages"]
    }
    refused = call(app, ["catalog", "query", "select * from read_csv('/etc/passwd')"])
    assert refused.exit_code == 2
    assert "disabled by configuration" in " ".join(refused.output.split())
    schema = json.loads(call(app, ["catalog", "schema", "clips", "--json"]).output)["clips"]
    assert {"column": "score", "type": "double", "note": "score points of the dataset"} in schema
    assert "did you mean 'clips'" in call(app, ["catalog", "schema", "clip"]).output
