"""Runs of heads that keep more than layers, to predictions and to a file that leaves: the same score everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig
from flows.datasets.clips import dataset_clips
from flows.execution.execute import RunOptions, execute
from flows.inference.export_model import export_run
from flows.inference.predict_videos import Request, predict_videos
from flows.runs.finished import find_run
from flows.runs.summary import RunSummary
from flows.stages import IN_ORDER, PREPROCESS
from tests.support.tiny_workspace import DATASET, ThreadRunner, copy_workspace, tiny_config

pytestmark = pytest.mark.slow
HEADS = {
    "contrastive": (
        "model.head=contrastive", "model.head_options={exemplars: 2, depth: 3, hidden: 16}", "train.difficulty=false"
    ),
    "svr": (
        "model.head=svr", "model.head_options={kernel: rbf}", "model.attention=none", "features.mode=pooled",
        "train.difficulty=false",
    ),
}  # fmt: skip


def preprocess(config: PipelineConfig, dataset: str, root: Path) -> RunSummary:
    return execute(config, dataset, Workspace.open(root), PREPROCESS.stages(), RunOptions(), ThreadRunner())  # type: ignore[arg-type]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("form", ["torch-export", "onnx"])
def test_the_score_is_the_same_in_evaluation_prediction_and_the_exported_folder(
    finished_workspace: Path, tmp_path: Path, form: str, head: str
) -> None:
    workspace = Workspace.open(copy_workspace(finished_workspace, tmp_path / "ws"))
    config = tiny_config(*HEADS[head])
    summary = execute(config, DATASET, workspace, IN_ORDER, RunOptions(), ThreadRunner())  # type: ignore[arg-type]
    assert summary.failures == []
    run = find_run(Workspace(workspace.root), "last")
    clip = next(one for one in dataset_clips(workspace, DATASET) if one.split == "test")
    evaluated = run.predictions().query("weights == 'last' and clip_id == @clip.clip_id").iloc[0]["predicted"]

    request = Request((Path(clip.video),), (clip.boxes,), difficulty=clip.difficulty)
    (score,) = predict_videos(workspace, run, request, [], tmp_path, preprocess).videos
    assert score.score == pytest.approx(evaluated, abs=1e-4)

    exported = export_run(workspace, run, form, "last", None, tmp_path / "model")
    assert exported.difference <= 1e-4
    box = ",".join(map(str, clip.boxes[0]))
    words = [str(tmp_path / "model" / "predict.py"), clip.video, "--box", box, "--difficulty", str(clip.difficulty)]
    alone = subprocess.run([sys.executable, "-I", *words], capture_output=True, text=True, check=True, timeout=240)
    assert "score" in json.loads(alone.stdout)
