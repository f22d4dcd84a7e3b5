"""New videos scored with a run's weights: the same score as in the run, through the same cache; what goes wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
from typer.testing import CliRunner

from data_catalog.catalog import CatalogError, Workspace
from flows.cli import models as model_cli
from flows.cli.main import app
from flows.config import ConfigError, PipelineConfig
from flows.datasets.clips import dataset_clips
from flows.execution.execute import RunOptions, execute
from flows.inference.predict_videos import Request, parse_boxes, predict_videos
from flows.runs.finished import find_run
from flows.runs.summary import RunSummary
from flows.stages import PREPROCESS
from tasks.trained import action_range
from tests.support.tiny_workspace import DATASET, ThreadRunner, copy_workspace


@pytest.fixture
def workspace(finished_workspace: Path, tmp_path: Path) -> Workspace:
    return Workspace.open(copy_workspace(finished_workspace, tmp_path / "ws"))


def preprocess(config: PipelineConfig, dataset: str, root: Path) -> RunSummary:
    workspace = Workspace.open(root)
    return execute(config, dataset, workspace, PREPROCESS.stages(), RunOptions(), ThreadRunner())  # type: ignore[arg-type]


def held_out(workspace: Workspace) -> Any:
    return next(clip for clip in dataset_clips(workspace, DATASET) if clip.split == "test")


def test_a_test_clip_gets_the_score_of_the_run_from_the_cache(workspace: Workspace, tmp_path: Path) -> None:
    run, clip = find_run(workspace, "last"), held_out(workspace)
    expected = run.predictions().query("weights == 'best' and clip_id == @clip.clip_id").iloc[0]
    request = Request((Path(clip.video),), (clip.boxes,), difficulty=clip.difficulty, weights="best")

    summaries: list[RunSummary] = []

    def watched(*given: Any) -> RunSummary:
        summaries.append(preprocess(*given))
        return summaries[-1]

    found = predict_videos(workspace, run, request, [], tmp_path, watched)
    [score] = found.videos

    assert score.score == pytest.approx(expected["predicted"], abs=1e-5)
    assert score.segments == pytest.approx([expected["segment_0"], expected["segment_1"]], abs=1e-5)
    made = {name: count.computed for name, count in summaries[0].stages.items()}
    assert made == {"normalize": 0, "detect": 0, "track": 0, "masks": 0, "pack": 1}
    assert (score.unlike, found.notes) == (None, [found.novelty.unknown])  # type: ignore[union-attr]
    assert found.notes[0].endswith("that takes 19 training clips, and it has 3.")
    with av.open(score.overlay) as video:
        assert sum(1 for _ in video.decode(video=0)) == run.config.normalize.length


def test_another_box_gives_another_tube_and_score(workspace: Workspace, tmp_path: Path) -> None:
    run, clip = find_run(workspace, "last"), held_out(workspace)
    x, y, w, h = clip.boxes[0]
    boxes = (((x, y, w, h),), ((x / 2, y / 2, w * 2, h * 2),))
    request = Request((Path(clip.video),) * 2, boxes, difficulty=clip.difficulty)
    scores = predict_videos(workspace, run, request, [], tmp_path, preprocess).videos
    assert [score.clip_id for score in scores] == [clip.clip_id, f"{clip.clip_id}-2"]
    assert scores[0].segments != scores[1].segments


def test_a_video_that_cannot_be_read_does_not_stop_the_other(workspace: Workspace, tmp_path: Path) -> None:
    run, clip = find_run(workspace, "last"), held_out(workspace)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(Path(clip.video).read_bytes()[:300])
    request = Request((broken, Path(clip.video)), (clip.boxes, clip.boxes), difficulty=2.0)
    found = predict_videos(workspace, run, request, [], tmp_path, preprocess)
    assert [score.clip_id for score in found.videos] == [clip.clip_id]
    assert [row.clip_id for row in found.failures] == ["broken"]

    alone = Request((broken,), (clip.boxes,), difficulty=2.0)
    found = predict_videos(workspace, run, alone, [], tmp_path, preprocess)
    assert (found.videos, [row.clip_id for row in found.failures]) == ((), ["broken"])


def test_what_must_be_said_is_asked_for(workspace: Workspace, tmp_path: Path) -> None:
    run, clip = find_run(workspace, "last"), held_out(workspace)
    good = Request((Path(clip.video),), (clip.boxes,), difficulty=2.0)

    def fails(request: Request, *overrides: str) -> str:
        with pytest.raises((CatalogError, ConfigError)) as told:
            predict_videos(workspace, run, request, overrides, tmp_path, preprocess)
        return str(told.value)

    assert "--box x,y,w,h" in fails(replace(good, boxes=()))
    assert "trained with the run's own" in fails(good, "masks.tau=0.4")
    assert "doesn't know 'gym'" in fails(replace(good, action="gym"))
    assert "no video nowhere.mp4" in fails(replace(good, videos=(Path("nowhere.mp4"),)))
    assert "'last' and 'best'" in fails(replace(good, weights="first"))
    assert "give it with --difficulty" in fails(replace(good, difficulty=None))
    workspace.store.path("train", run.keys["train"][""]).unlink()
    assert "no longer there" in fails(good)
    with pytest.raises(CatalogError, match="no run 'never'"):
        find_run(workspace, "never")


def test_boxes_as_typed() -> None:
    assert parse_boxes(["1,2,3,4/5,6,7,8.5"], 1) == (((1, 2, 3, 4), (5, 6, 7, 8.5)),)
    assert parse_boxes([], 3) == ()
    for texts, message in ((["1,2,3"], "not a box"), (["1,2,0,4"], "no area"), (["1,2,3,4"] * 2, "3 videos and 2")):
        with pytest.raises(ConfigError, match=message):
            parse_boxes(texts, 3 if len(texts) > 1 else 1)


def test_the_range_of_an_action_is_that_of_its_clips_alone(workspace: Workspace) -> None:
    from data_catalog.pack.file import PackReader

    run = find_run(workspace, "last")
    labels = PackReader(workspace.store.path("pack", run.keys["pack"][""])).labels
    two = replace(labels, action=["vault", *labels.action[1:]], score=labels.score.copy())
    two.score[0] = 1000.0
    rest = labels.score[1:] / labels.difficulty[1:]  # the network predicts the execution
    assert action_range(two, run.config.train, labels.action[1]) == (rest.min(), rest.max())
    with pytest.raises(ValueError, match="no clip of action 'ski'"):
        action_range(two, run.config.train, "ski")


def test_the_command_prints_one_json_object(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = held_out(workspace)
    monkeypatch.setattr(model_cli, "_preprocess", preprocess)
    box = ",".join(str(number) for number in clip.boxes[0])
    words = [
        "predict",
        clip.video,
        "--box",
        box,
        "--difficulty",
        str(clip.difficulty),
        "-w",
        str(workspace.root),
        "--out",
        str(tmp_path),
    ]
    shown = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert [video["clip_id"] for video in shown["videos"]] == [clip.clip_id]
    request = Request((Path(clip.video),), (clip.boxes,), difficulty=clip.difficulty)
    found = predict_videos(workspace, find_run(workspace, "last"), request, [], tmp_path, preprocess)
    assert shown == json.loads(json.dumps(found.as_json()))
    where = words.index("--out")
    result = CliRunner().invoke(app, [*words[:where], *words[where + 2 :]])
    assert result.exit_code == 0
    overlay = workspace.root / "predictions" / shown["run_id"] / f"{clip.clip_id}.mp4"
    assert str(overlay) in result.output.replace("\n", "")
    assert overlay.is_file()
    assert f"{shown['videos'][0]['score']:.2f}" in result.output
    starts = find_run(workspace, "last").config.masks.starts
    assert all(f"frames {start}–{start + 15}" in result.output for start in starts)
