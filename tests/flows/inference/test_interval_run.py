"""Intervals of a run on videos, to its predictions and to files that leave: the same ends everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from flows.datasets.clips import dataset_clips
from flows.execution.execute import RunOptions, execute
from flows.inference.export_model import export_run
from flows.inference.predict_videos import Request, predict_videos
from flows.runs.finished import find_run
from flows.stages import IN_ORDER
from tests.flows.inference.test_predict import preprocess
from tests.support.tiny_workspace import DATASET, ThreadRunner, copy_workspace, tiny_config

pytestmark = pytest.mark.slow
SETTINGS = ("model.head=gaussian", "train.validation=0.4", "evaluate.intervals=temperature")


@pytest.mark.parametrize("form", ["torch-export", "onnx"])
@pytest.mark.parametrize("difficulty", ["true", "false"])
def test_ends_are_the_same_in_evaluation_prediction_and_the_exported_folder(
    finished_workspace: Path, tmp_path: Path, form: str, difficulty: str
) -> None:
    workspace = Workspace.open(copy_workspace(finished_workspace, tmp_path / "ws"))
    config = tiny_config(*SETTINGS, f"train.difficulty={difficulty}")
    summary = execute(config, DATASET, workspace, IN_ORDER, RunOptions(), ThreadRunner())  # type: ignore[arg-type]
    assert summary.failures == []
    run = find_run(Workspace(workspace.root), "last")
    clip = next(one for one in dataset_clips(workspace, DATASET) if one.split == "test")
    row = run.predictions().query("weights == 'last' and clip_id == @clip.clip_id").iloc[0]
    wanted = [value for level in (50, 80, 95) for value in (row[f"low_{level}"], row[f"high_{level}"])]

    request = Request((Path(clip.video),), (clip.boxes,), difficulty=clip.difficulty)
    (score,) = predict_videos(workspace, run, request, [], tmp_path, preprocess).videos
    assert [end for one in score.intervals for end in (one.low, one.high)] == pytest.approx(wanted, abs=1e-3)

    exported = export_run(workspace, run, form, "last", None, tmp_path / "model")
    assert exported.difference <= 1e-4
    words = [str(tmp_path / "model" / "predict.py"), clip.video, "--whole-frame", "--difficulty", str(clip.difficulty)]
    alone = subprocess.run([sys.executable, "-I", *words], capture_output=True, text=True, check=True, timeout=240)
    told = json.loads(alone.stdout)
    assert [one["level"] for one in told["intervals"]] == [50, 80, 95]
    for one, own in zip(told["intervals"], score.intervals, strict=True):  # another tube, so another middle
        assert (one["low"] + one["high"]) / 2 == pytest.approx(told["score"])
        assert (one["high"] - one["low"]) / (own.high - own.low) == pytest.approx(1, rel=0.5)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| 80 % |" in card
    assert {row["level"] for row in json.loads((tmp_path / "model" / "metrics.json").read_text())["intervals"]} == {
        50, 80, 95,
    }  # fmt: skip
