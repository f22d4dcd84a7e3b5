"""VideoMAE and ViT in real runs: from a saved folder to scores and an exported model, and again without that folder."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from data_catalog.catalog import CatalogError, Workspace
from flows.config import ConfigError, load_config
from flows.datasets.clips import dataset_clips
from flows.inference.export_backbone import export_backbone
from flows.inference.export_model import export_run
from flows.inference.predict_videos import Request, predict_videos
from flows.maintenance.features_space import features_space
from flows.runs.attention_form import attention_form
from flows.runs.finished import FinishedRun, find_run, trained_state
from flows.runs.summary import RunSummary
from models.backbones import build_backbone
from tests.flows.test_features import preprocess
from tests.support.saved_encoders import MEAN, encoder, save_encoder
from tests.support.tiny_workspace import copy_workspace, plan, run, tiny_config

# Three training clips, one at a time: three steps.
ENCODER = ("model.split=layer.1", "pack.input_size=32", "masks.grid=[4, 4]", "train.epochs=1")
STRIDE = {"videomae": "masks.stride=2", "vit": "masks.stride=1"}


def overrides(kind: str, weights: Path, *more: str) -> tuple[str, ...]:
    return (f"model.backbone={kind}", f"model.weights={weights}", STRIDE[kind], *ENCODER, *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("saved")
    for kind in STRIDE:
        save_encoder(encoder(kind, with_task=True), root / kind)
    return root


@pytest.fixture(scope="module")
def root(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_workspace(finished_workspace, tmp_path_factory.mktemp("encoders") / "w")


def trained(root: Path, kind: str, saved: Path, *more: str) -> tuple[RunSummary, dict[str, np.ndarray]]:
    summary = run(root, *overrides(kind, saved, *more))
    assert (summary.failures, summary.stages["train"].computed) == ([], 1)
    workspace = Workspace(root)
    return summary, trained_state(workspace, find_run(workspace, "last"), "last")


@pytest.fixture(scope="module")
def orphan(root: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FinishedRun]:
    """A workspace of its own with a run of VideoMAE, and without the folder that it began from."""
    own = copy_workspace(root, tmp_path_factory.mktemp("orphan") / "w")
    saved = Path(shutil.copytree(folder / "videomae", own.with_name("videomae")))
    trained(own, "videomae", saved)
    shutil.rmtree(saved)
    return own, find_run(Workspace(own), "last")


def test_every_weight_of_the_encoder_learns_from_where_it_was(orphan: tuple[Path, FinishedRun]) -> None:
    began = encoder("videomae", with_task=True).videomae.state_dict()
    state = trained_state(Workspace(orphan[0]), orphan[1], "last")
    distances = {n: np.abs(value.numpy() - state[f"backbone.network.{n}"]).max() for n, value in began.items()}
    assert all(0 < distance < 0.05 for distance in distances.values()), distances
    form = json.loads(bytes(state["backbone.form"].tolist()))
    assert tuple(form["mean"]) == MEAN


def test_a_video_is_scored_without_the_folder_that_training_began_from(
    orphan: tuple[Path, FinishedRun], tmp_path: Path
) -> None:
    workspace, found = Workspace(orphan[0]), orphan[1]
    row = found.predictions().query("weights == 'last' and split == 'test'").iloc[0]
    clip = next(one for one in dataset_clips(workspace, "tiny") if one.clip_id == row["clip_id"])
    request = Request((Path(clip.video),), (clip.boxes,), difficulty=clip.difficulty)
    scored = predict_videos(workspace, found, request, [], tmp_path / "new", preprocess)
    assert scored.videos[0].score == pytest.approx(row["predicted"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["torch-export", "onnx"])
def test_its_model_is_exported(form: str, orphan: tuple[Path, FinishedRun], tmp_path: Path) -> None:
    workspace, found = Workspace(orphan[0]), orphan[1]
    exported = export_run(workspace, found, form, "last", None, tmp_path / "model")
    assert exported.difference <= 1e-4
    assert "videomae" in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.slow
def test_its_backbone_is_exported_and_trained_further(orphan: tuple[Path, FinishedRun], tmp_path: Path) -> None:
    """One file, which says itself how large its network is."""
    workspace, found = Workspace(orphan[0]), orphan[1]
    state = trained_state(workspace, found, "last")
    file = export_backbone(workspace, found, "last", tmp_path / "mine.safetensors")
    _, further = trained(orphan[0], "videomae", file, "train.lr=1e-12")
    assert further.keys() == state.keys()
    for name, value in state.items():
        if name.startswith("backbone."):
            np.testing.assert_allclose(further[name], value, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("kind", "steps"), [("videomae", 8), ("vit", 16)])
def test_frames_and_masks_fit_the_tokens_without_being_told(kind: str, steps: int, folder: Path) -> None:
    """As the built network has them; what somebody says goes before, and the base size is known by heart."""
    names = [f"model.backbone={kind}", f"model.weights={folder / kind}"]
    found, net = load_config("demo", names), build_backbone(kind, weights=folder / kind / "model.safetensors")
    assert (found.masks.grid, found.pack.input_size) == (net.grid, net.input_size) == ((4, 4), 32)
    assert found.masks.segment_length // found.masks.stride == net.steps == steps
    assert load_config("demo", [*names, "masks.grid=[7, 7]"]).masks.grid == (7, 7)
    base = load_config("demo", names[:1])
    assert (base.masks.grid, base.masks.stride, base.pack.input_size) == ((14, 14), 16 // steps, 224)
    nowhere = load_config("demo", [names[0], f"model.weights={folder / 'none'}"])
    assert nowhere.masks == load_config("demo").masks


def test_a_file_says_the_weights_and_needs_no_numbers(folder: Path, tmp_path: Path) -> None:
    file, saved = tmp_path / "mine.yaml", folder / "videomae"
    file.write_text(f"preset: demo\nmodel: {{backbone: videomae, weights: {saved}}}\n")
    found = load_config(str(file))
    assert (found.masks.grid, found.masks.stride, found.pack.input_size) == ((4, 4), 2, 32)
    assert load_config(str(file), ["model.weights=null"]).masks.grid == (14, 14)
    file.write_text(f"preset: demo\nmodel: {{backbone: videomae, weights: {saved}}}\nmasks: {{grid: [7, 7]}}\n")
    assert load_config(str(file)).masks.grid == (7, 7)  # as somebody wrote it; the training says what is wrong with it


def test_the_cost_of_attention_is_that_of_the_saved_size(root: Path, folder: Path) -> None:
    """The saved size, with half of its channels inside of the block."""
    form = attention_form(tiny_config(*overrides("videomae", folder / "videomae")).model, root / "weights")
    assert (form.channels, form.reduced) == (16, 8)


def test_features_of_the_cut_and_of_the_frozen_whole(root: Path, folder: Path) -> None:
    """What the disk takes is said of the saved size, and is what is written."""
    cut = overrides("videomae", folder / "videomae", "features.mode=cut", "train.flip=0")
    space = features_space(plan(root, *cut), root / "weights")
    assert space is not None
    assert space.each == 2 * 8 * 4 * 4 * 16 * 2  # segments, steps, rows, columns, channels, bytes
    summary, state = trained(root, "videomae", folder / "videomae", "features.mode=cut", "train.flip=0")
    began = encoder("videomae", with_task=True).videomae.state_dict()
    same = {name for name, value in began.items() if np.array_equal(value, state[f"backbone.network.{name}"])}
    assert same == {name for name in began if not name.startswith("encoder.layer.2.")}
    assert "stage 1 of the backbone, from videomae" in Path(summary.report or "").read_text()

    pooled = ("features.mode=pooled", "model.attention=none", "train.flip=0")
    space = features_space(plan(root, *overrides("vit", folder / "vit", *pooled)), root / "weights")
    assert space is not None
    assert space.each == 2 * 16 * 2
    trained(root, "vit", folder / "vit", *pooled)


@pytest.mark.slow
def test_vit_is_trained_and_exported(root: Path, folder: Path, tmp_path: Path) -> None:
    trained(root, "vit", folder / "vit")
    workspace = Workspace(root)
    exported = export_run(workspace, find_run(workspace, "last"), "onnx", "last", None, tmp_path / "model")
    assert exported.difference <= 1e-4


def test_what_lies_beside_the_weights_is_in_the_key(root: Path, folder: Path, tmp_path: Path) -> None:
    def keys(saved: Path) -> set[str]:
        return {job.key for job in plan(root, *overrides("videomae", saved))["train"].jobs.values()}

    saved = Path(shutil.copytree(folder / "videomae", tmp_path / "a"))
    there, moved = keys(saved), keys(folder / "videomae")
    assert there == moved, "where it lies is no matter"
    told = saved / "preprocessor_config.json"
    told.write_text(told.read_text().replace(str(MEAN[0]), "0.45"))
    assert keys(saved) != there


def test_a_grid_that_is_not_the_encoders_is_told_with_the_right_one(root: Path, folder: Path) -> None:
    summary = run(root, *overrides("videomae", folder / "videomae", "masks.grid=[3,3]"))
    (failure,) = summary.failures
    assert "the network takes (4, 4); set masks.grid to (4, 4)" in str(failure)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("org/net", r"'org/net' are no folder and were not pulled to .*weights/org--net; run `tubeflow weights pull "),
        ("nowhere/at/all", "there is no weights file .*nowhere/at/all"),
        ("empty", r"the folder .*empty holds no model\.safetensors or pytorch_model\.bin"),
        ("other", "model.backbone is videomae, and .*other/config.json is of model_type 'swin'"),
    ],
)
def test_weights_that_are_not_there_are_told_before_anything_runs(root: Path, name: str, words: str) -> None:
    (root / "weights" / "empty").mkdir(exist_ok=True)
    (root / "weights" / "other").mkdir(exist_ok=True)
    (root / "weights" / "other" / "config.json").write_text('{"model_type": "swin"}')
    (root / "weights" / "other" / "model.safetensors").write_bytes(save({"x": torch.zeros(1)}))
    with pytest.raises(CatalogError, match=words):
        plan(root, *overrides("videomae", Path(name)))


def test_without_the_package_the_config_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # what find_spec and import see where it isn't installed
    with pytest.raises(ConfigError, match=r"needs the package transformers; install it with: pip install 'tubeflow\["):
        tiny_config("model.backbone=videomae")


def test_vit_has_no_cut_to_store() -> None:
    with pytest.raises(ConfigError, match="vit carries more across its cut than the map there"):
        tiny_config("model.backbone=vit", "features.mode=cut")
