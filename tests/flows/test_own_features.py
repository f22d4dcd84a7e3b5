"""Features that were made elsewhere, from ingest to report: no stage before them is anywhere, the others go on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.features.mapped_features import FeatureReader
from data_catalog.store import ArtifactDamaged
from flows.config import ConfigError, PipelineConfig, config_text, load_config
from flows.datasets.clips import dataset_clips
from flows.datasets.dataset_records import ingest_and_compare
from flows.execution.execute import execute
from flows.execution.run_options import RunOptions
from flows.inference.export_features import _steps
from flows.inference.export_model import export_run
from flows.inference.exported_file import load_model
from flows.inference.predict_features import predict_features
from flows.inference.predict_videos import Request
from flows.maintenance.explain import explain
from flows.maintenance.status import read_status
from flows.runs.finished import find_run
from flows.runs.summary import RunSummary
from flows.stages import IN_ORDER, check_kind, make_plan
from flows.view.clip_answer import clip_json
from flows.view.state import ViewState
from tasks.engine.plan import Planner
from tests.support.feature_files import make_features
from tests.support.tiny_workspace import ThreadRunner, copy_workspace, tiny_config

SMALL = ("train.epochs=3", "train.loggers=[csv]", "engine.device=cpu", "train.batch=4")
BEFORE = {"normalize", "detect", "track", "masks", "pack"}


def config(*overrides: str) -> PipelineConfig:
    return load_config("features", [*SMALL, *overrides])


def run(workspace: Path, *overrides: str) -> RunSummary:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        options = RunOptions()
        return execute(config(*overrides), "mine", Workspace.open(workspace), IN_ORDER, options, ThreadRunner())
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with features and one run; not to be changed."""
    folder = tmp_path_factory.mktemp("own")
    features = make_features(folder / "features")
    record = ingest_and_compare(Workspace.open(folder / "w"), "mine", "features", features)
    assert (record.clips, record.rejected, record.shared_content) == (10, (), ())
    summary = run(folder / "w")
    assert (summary.failures, summary.failed) == ([], 0)
    return folder / "w"


def test_no_stage_before_features_is_in_plan_status_report_or_viewer(trained: Path) -> None:
    workspace = Workspace(trained)
    planned = make_plan(Planner(workspace, "mine", dataset_clips(workspace, "mine")), config())
    assert list(planned) == ["features", "train", "evaluate"]
    assert all(not plan.reasons for plan in planned.values())
    status = read_status(workspace)["datasets"]["mine"]
    assert list(status["stages"]) == ["features", "train", "evaluate"]
    assert status["stages"]["features"] == {"wanted": 10, "done": 10}
    snapshot = ViewState(trained).current()
    assert list(snapshot.datasets["mine"].plans) == ["features"]
    answer = clip_json(snapshot, "mine", "c0")
    assert (answer["frames"], answer["tube"]) == (None, None)
    page = (find_run(workspace, "last").folder / "report.html").read_text()
    assert "features" in page
    assert not any(f">{stage}<" in page for stage in BEFORE)
    assert "tracker" not in config_text(config())


def test_the_artifact_is_the_file_and_its_chain_is_told(trained: Path) -> None:
    workspace = Workspace(trained)
    clips = dataset_clips(workspace, "mine")
    job = make_plan(Planner(workspace, "mine", clips), config())["features"].jobs["c4"]
    assert [one.stage for one in explain(workspace, "c4")[0]] == ["features"]
    assert job.inputs["clip_id"] == "c4"
    path = workspace.store.path("features", job.key)
    found = FeatureReader([path]).read(0, False, 0)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), np.load(Path(clips[4].video)))
    content = path.read_bytes()
    place = content.index(found.numpy().tobytes())
    path.write_bytes(content[:place] + bytes(4) + content[place + 4 :])
    try:
        with pytest.raises(ArtifactDamaged):
            FeatureReader([path]).read(0, False, 0)
    finally:
        path.write_bytes(content)


def test_predictions_have_a_score_for_each_step_that_is_there(trained: Path) -> None:
    table = find_run(Workspace(trained), "last").predictions()
    assert set(table["clip_id"]) == {"c0", "c3", "c6", "c9"}
    steps = {f"c{number}": 2 + number % 3 for number in range(10)}
    for _, row in table.iterrows():
        there = [name for name in table.columns if name.startswith("segment_") and np.isfinite(row[name])]
        assert len(there) == steps[row["clip_id"]]


def test_a_changed_file_is_checked_again_and_only_its_clip_fails(tmp_path: Path) -> None:
    features = make_features(tmp_path / "features")
    ingest_and_compare(Workspace.open(tmp_path / "w"), "mine", "features", features)
    np.save(features / "c1.npy", np.full((2, 6), np.nan, np.float32))
    summary = run(tmp_path / "w")
    (failure,) = summary.failures
    assert (failure.clip_id, failure.stage) == ("c1", "features")
    assert "c1.npy holds 12 numbers that are not finite" in failure.reason
    assert failure.remedy == "Compute its features again, or remove the row."
    assert summary.metrics


@pytest.mark.parametrize(
    "model",
    [
        ("model.temporal=attention", "model.head=usdl"),
        ("model.temporal=lstm", "model.head=regression", "train.difficulty=true"),
        ("model.temporal=levels", "model.head=likert", "model.temporal_options={hidden: 8, heads: 2}"),
        ("model.head=contrastive", "model.head_options={exemplars: 2, depth: 2, hidden: 8}"),
    ],
)
def test_every_temporal_module_trains_on_clips_of_different_length(trained: Path, model: tuple[str, ...]) -> None:
    summary = run(trained, *model)
    assert (summary.failures, summary.notes) == ([], [])
    assert np.isfinite(find_run(Workspace(trained), summary.run_id).predictions()["predicted"]).all()


@pytest.mark.parametrize("preset", ["contrastive", "gaussian"])
def test_presets_of_heads_run_as_they_are(trained: Path, tmp_path: Path, preset: str) -> None:
    workspace = Workspace.open(copy_workspace(trained, tmp_path / "w"))
    settings = load_config(preset, ["train.epochs=2", "engine.device=cpu"])
    summary = execute(settings, "mine", workspace, IN_ORDER, RunOptions(), ThreadRunner())
    assert summary.failures == []
    found = find_run(Workspace(workspace.root), summary.run_id).predictions()
    assert np.isfinite(found["predicted"]).all()
    assert ("low_95" in found) == (preset == "gaussian")


def test_the_key_has_nothing_of_backbones_and_pixels(trained: Path) -> None:
    workspace = Workspace(trained)
    clips = dataset_clips(workspace, "mine")

    def key(*overrides: str) -> str:
        return make_plan(Planner(workspace, "mine", clips), config(*overrides))["train"].jobs[""].key

    same = ("model.backbone=i3d_small", "model.attention=none", "train.flip=0", "masks.tau=0.2")
    assert key() == key(*same)
    assert len({key(), key("model.temporal=lstm"), key("train.seed=1"), key("model.head=usdl")}) == 4


def test_videos_and_features_are_not_mixed_up(trained: Path) -> None:
    workspace = Workspace(trained)
    with pytest.raises(ConfigError, match="holds features, no videos; run it with the preset features"):
        check_kind(workspace, "mine", tiny_config())
    with pytest.raises(ConfigError, match="has none"):
        config("train.shift=[0, 2]")


def test_the_weights_carry_the_scale_of_the_training_clips(trained: Path) -> None:
    workspace = Workspace(trained)
    found = find_run(workspace, "last")
    arrays = workspace.store.read("train", found.artifact(workspace, "train")).arrays
    clips = [clip for clip in dataset_clips(workspace, "mine") if clip.split == "train"]
    steps = np.concatenate([np.load(clip.video) for clip in clips]).astype(float)
    np.testing.assert_allclose(arrays["last/mean"], steps.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(arrays["last/scale"], np.sqrt(steps.var(axis=0).mean()), rtol=1e-5)
    assert json.loads(arrays["history"][0])["epoch"] == 0


@pytest.mark.parametrize("form", ["torch-export", pytest.param("onnx", marks=pytest.mark.slow)])
def test_the_exported_model_scores_clips_of_any_length_as_the_run_did(form: str, trained: Path, tmp_path: Path) -> None:
    workspace = Workspace(trained)
    found = find_run(workspace, "last")
    exported = export_run(workspace, found, form, "last", None, tmp_path / "model")
    assert (exported.difference <= 1e-4, exported.clips) == (True, 3)
    files = {clip.clip_id: Path(clip.video) for clip in dataset_clips(workspace, "mine")}
    wanted = predict_features(workspace, found, Request((files["c0"], files["c1"], files["c2"]), difficulty=2.5)).videos
    model = load_model(form, exported.path, ("features", "difficulty"))
    for one, steps in zip(wanted, (2, 3, 4), strict=True):
        score, segments, *_ = model((np.load(one.video)[None], np.array([2.5], np.float32)))
        assert score[0] == pytest.approx(one.score, rel=1e-5)
        assert segments[0] == pytest.approx(one.segments, rel=1e-5)
        assert len(one.segments) == steps
    told = json.loads(exported.description.read_text())
    assert told["inputs"]["features"]["shape"] == [1, "2 or more", 6]
    assert told["inputs"]["difficulty"]["used"] == found.config.train.difficulty
    assert "begins with features and not with a video" in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["torch-export", "onnx"])
@pytest.mark.parametrize(
    "model",
    [("model.temporal=attention", "model.head=usdl"), ("model.head=gaussian",), ("model.head=svr",),
     ("model.head=contrastive", "train.difficulty=false")],
    ids=" ".join,
)  # fmt: skip
def test_every_head_is_exported(form: str, model: tuple[str, ...], trained: Path, tmp_path: Path) -> None:
    root = copy_workspace(trained, tmp_path / "w")
    assert run(root, *model).failures == []
    workspace = Workspace(root)
    exported = export_run(workspace, find_run(workspace, "last"), form, "last", None, tmp_path / "model")
    assert exported.difference <= 1e-4


def test_what_is_written_for_one_number_of_steps_is_told(trained: Path, tmp_path: Path) -> None:
    workspace = Workspace(trained)
    found = find_run(workspace, "last")
    config = found.config.model_copy(update={"model": found.config.model.model_copy(update={"temporal": "lstm"})})
    with pytest.raises(CatalogError, match="have 2 to 4; those with mean or attention take any"):
        _steps(replace(found, config=config), [2, 3, 4])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["torch-export", "onnx"])
@pytest.mark.parametrize("model", [("model.temporal=lstm",), ("model.temporal=levels", "model.head=likert")])
def test_modules_in_order_of_time_are_exported_where_all_clips_are_of_one_length(
    form: str, model: tuple[str, ...], tmp_path: Path
) -> None:
    features = make_features(tmp_path / "features")
    for path in features.glob("*.npy"):
        np.save(path, np.load(path)[:2])
    ingest_and_compare(Workspace.open(tmp_path / "w"), "mine", "features", features)
    assert run(tmp_path / "w", *model).failures == []
    workspace = Workspace(tmp_path / "w")
    exported = export_run(workspace, find_run(workspace, "last"), form, "last", None, tmp_path / "model.file")
    assert exported.difference <= 1e-4
    told = json.loads((tmp_path / "model.file" / "model.json").read_text())
    assert told["inputs"]["features"]["shape"] == [1, 2, 6]


def test_predict_on_feature_files_is_what_evaluate_said_and_bad_files_are_named(trained: Path, tmp_path: Path) -> None:
    workspace = Workspace(trained)
    found = find_run(workspace, "last")
    clip = next(clip for clip in dataset_clips(workspace, "mine") if clip.clip_id == "c3")
    np.save(tmp_path / "short.npy", np.ones((2, 5)))
    request = Request((Path(clip.video), tmp_path / "short.npy"), difficulty=clip.difficulty)
    scores = predict_features(workspace, found, request)
    table = found.predictions()
    row = table[(table["clip_id"] == "c3") & (table["weights"] == "last")].iloc[0]
    (one,) = scores.videos
    assert one.score == pytest.approx(row["predicted"], rel=1e-6)
    assert one.segments == pytest.approx([row["segment_0"], row["segment_1"]], rel=1e-6)
    (failure,) = scores.failures
    assert "short.npy has features of 5 numbers" in failure.reason
