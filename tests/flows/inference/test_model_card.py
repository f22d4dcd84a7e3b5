"""The exported folder: its program scores a video without Tubeflow as `tubeflow predict` does; its card is one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from flows.cli.main import app
from flows.datasets.clips import dataset_clips
from flows.inference.predict_videos import Request, predict_videos
from flows.inference.standalone_predict import coverage
from flows.runs.finished import find_run
from models.geometry import coverage as exact_coverage
from models.metrics.scores import spearman
from tests.flows.inference.test_predict import preprocess
from tests.support.tiny_workspace import DATASET, copy_workspace

# Everything but the standard library and what requirements.txt names (with what that imports) is refused.
ALONE = """
import runpy, sys
refused = {"flows", "tasks", "models", "data_catalog", "tubeflow", "prefect", "av", "h5py", "pandas", "pydantic"}
refused |= {"onnxruntime", "onnx"} if sys.argv[1] == "torch" else {"torch", "torchvision", "onnx"}
sys.modules.update(dict.fromkeys(refused))  # None: no such module
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# https://github.com/huggingface/hub-docs/blob/main/modelcard.md names these keys.
HUB_KEYS = {
    "language", "license", "license_name", "license_link", "library_name", "tags", "datasets", "metrics", "base_model",
    "pipeline_tag", "thumbnail", "new_version", "model-index",
}  # fmt: skip


def alone(folder: Path, package: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", ALONE, package, str(folder / "predict.py"), *map(str, words)]
    return subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False, timeout=240)


@pytest.fixture(scope="module")
def workspace(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.open(copy_workspace(finished_workspace, tmp_path_factory.mktemp("card") / "ws"))


def export(workspace: Workspace, folder: Path, form: str) -> Path:
    words = ["export", "last", "--format", form, "--out", str(folder), "-w", str(workspace.root), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["folder"] == str(folder)
    return folder


@pytest.fixture(scope="module")
def folder(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(workspace, tmp_path_factory.mktemp("exported") / "dive", "torch-export")


@pytest.fixture(scope="module")
def scored(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A clip, the score that `tubeflow predict` gives it, and its tube as `tubeflow tracks export` writes it."""
    run = find_run(workspace, "last")
    clip = next(clip for clip in dataset_clips(workspace, DATASET) if clip.split == "test")
    out = tmp_path_factory.mktemp("scored")
    request = Request((Path(clip.video),), (clip.boxes,), difficulty=clip.difficulty)
    (score,) = predict_videos(workspace, run, request, [], out, preprocess).videos
    words = ["tracks", "export", str(out / "tracks"), "-d", DATASET, "--shape", "polygon", "-w", str(workspace.root)]
    assert CliRunner().invoke(app, words).exit_code == 0
    return {"clip": clip, "score": score, "tube": out / "tracks" / f"{clip.clip_id}.txt"}


def test_alone_it_scores_as_predict_does(folder: Path, scored: dict[str, Any]) -> None:
    clip, score = scored["clip"], scored["score"]
    done = alone(folder, "torch", clip.video, "--tube", scored["tube"], "--difficulty", str(clip.difficulty))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["score"] == pytest.approx(score.score, abs=1e-4)
    assert told["segments"] == pytest.approx(score.segments, abs=1e-4)
    assert told["cells"] > 0
    assert (told["unlike"], told["unlike_above"]) == (None, None)  # 3 training clips are too few
    assert "that takes 19 training clips, and it has 3" in (folder / "README.md").read_text()


def test_onnxruntime_says_the_same(workspace: Workspace, scored: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'tubeflow[onnx]'")
    exported, clip = export(workspace, tmp_path / "onnx", "onnx"), scored["clip"]
    done = alone(exported, "onnx", clip.video, "--tube", scored["tube"], "--difficulty", str(clip.difficulty))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["score"] == pytest.approx(scored["score"].score, abs=1e-4)
    assert "onnxruntime" in (exported / "requirements.txt").read_text()


def test_who_is_judged_has_to_be_said_and_matters(folder: Path, scored: dict[str, Any], tmp_path: Path) -> None:
    clip = scored["clip"]
    base = [clip.video, "--difficulty", str(clip.difficulty)]
    nobody = alone(folder, "torch", *base)
    assert nobody.returncode == 2
    assert "one of the arguments --tube --box --whole-frame --mask is required" in nobody.stderr
    short = tmp_path / "short.txt"
    short.write_text("10,10,20,20\n")
    wrong = alone(folder, "torch", *base, "--tube", short)
    assert wrong.returncode == 2
    assert "has 1 lines; write" in wrong.stderr
    answers = [alone(folder, "torch", *base, *who).stdout for who in (["--whole-frame"], ["--box", "0,0,9,9"])]
    cells = [json.loads(answer)["cells"] for answer in answers]
    shape = json.loads((folder / "model.json").read_text())["inputs"]["mask"]["shape"]
    assert cells == [int(np.prod(shape)), 0]


def test_its_coverage_is_ours() -> None:
    rng = np.random.default_rng(5)
    quads = np.concatenate([rng.uniform(-20, 130, (40, 4, 2)), rng.integers(0, 14, (10, 4, 2)) * 8.0])
    np.testing.assert_allclose(coverage(quads, (14, 14), 112), exact_coverage(quads, (14, 14), (112, 112)), atol=2e-6)


def test_the_card_is_what_the_hub_reads(folder: Path, workspace: Workspace) -> None:
    text = (folder / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    card = yaml.safe_load(front)
    assert set(card) <= HUB_KEYS
    assert card["license"] == "other"
    assert {"license_name", "license_link"} <= set(card)
    (entry,) = card["model-index"]
    (result,) = entry["results"]
    assert {"task", "dataset", "metrics"} == set(result)
    assert {"type", "name"} <= set(result["dataset"])
    told = {one["type"]: one["value"] for one in result["metrics"]}
    rows = find_run(workspace, "last").predictions().query("weights == 'last' and split == 'test'")
    assert told["mse"] == pytest.approx(((rows["true"] - rows["predicted"]) ** 2).mean())  # by hand
    assert spearman(rows["predicted"].to_numpy(), rows["true"].to_numpy()).undefined  # of one clip
    assert "spearman" not in told
    assert "one clip has no order" in body
    wanted = ("24 frames", "228 x 128 px", "112 px", "drawn by a program", "AGPL-3.0-or-later", "know the licence")
    assert [words for words in wanted if words not in body] == []
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.yaml", "metrics.json", "model.json", "model.pt2", "predict.py", "requirements.txt"
    }  # fmt: skip
