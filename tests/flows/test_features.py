"""The stage `features` in real runs: the same training as on pixels, and keys of nothing but what makes features."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig
from flows.datasets.clips import dataset_clips
from flows.execution.execute import execute
from flows.execution.run_options import RunOptions
from flows.inference.export_backbone import export_backbone
from flows.inference.export_model import export_run
from flows.inference.predict_videos import Request, predict_videos
from flows.maintenance.explain import explain
from flows.maintenance.features_space import features_space
from flows.maintenance.gc import find_garbage, remove
from flows.maintenance.status import read_status
from flows.runs.finished import find_run, trained_state
from flows.runs.record import read_runs
from flows.runs.summary import RunSummary
from flows.stages import IN_ORDER, PREPROCESS
from tests.support.tiny_workspace import ThreadRunner, copy_workspace, digests, plan, run

AUGMENTED = ("train.flip=0.5", "train.shift=[0, 2]", "train.eval_shift=1", "train.epochs=3", "train.seed=2")
CUT, POOLED = ("features.mode=cut",), ("features.mode=pooled", "model.attention=none")
CONTRASTIVE = ("model.head=contrastive", "model.head_options={exemplars: 2, depth: 3, hidden: 16}")
PIXELS = {CUT: ("train.freeze=stage1",), POOLED: ("train.freeze=backbone", "model.attention=none")}


@pytest.fixture(scope="module")
def trained(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished workspace, in which a network was trained on cut features, too; not to be changed."""
    root = copy_workspace(finished_workspace, tmp_path_factory.mktemp("features") / "w")
    summary = run(root, *CUT, *AUGMENTED)
    assert (summary.failures, summary.notes) == ([], [])
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return copy_workspace(trained, tmp_path / "w")


def last_training(root: Path) -> tuple[list[str], dict[str, np.ndarray], np.ndarray]:
    """History, weights and predictions of the newest run."""
    workspace = Workspace(root)
    found = find_run(workspace, read_runs(workspace)[-1].run_id)
    history = workspace.store.read("train", found.artifact(workspace, "train"), ["history"]).arrays["history"]
    return list(history), trained_state(workspace, found, "last"), found.predictions()["predicted"].to_numpy()


@pytest.mark.parametrize("head", [(), pytest.param(CONTRASTIVE, marks=pytest.mark.slow)], ids=["", "contrastive"])
@pytest.mark.parametrize("features", [CUT, pytest.param(POOLED, marks=pytest.mark.slow)], ids=["cut", "pooled"])
def test_training_on_features_is_training_on_pixels_with_the_same_frozen_part(
    features: tuple[str, ...], head: tuple[str, ...], root: Path
) -> None:
    assert run(root, *features, *head, *AUGMENTED).failures == []
    on_features = last_training(root)
    assert run(root, *PIXELS[features], *head, *AUGMENTED).failures == []
    on_pixels = last_training(root)
    losses = [[json.loads(row)["train/loss"] for row in history] for history, _, _ in (on_features, on_pixels)]
    assert len(losses[0]) == 3
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    np.testing.assert_allclose(on_features[2], on_pixels[2], rtol=1e-5)
    assert on_features[1].keys() == on_pixels[1].keys()
    for name, values in on_features[1].items():
        np.testing.assert_allclose(values, on_pixels[1][name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        ("masks.tau=0.3",),
        ("track.tracker=mil", "detect.min_score=0.1"),
        ("model.attention=none",),
        ("model.stacks=2", "model.head=usdl"),
        ("train.lr=0.1", "train.seed=7", "train.epochs=9", "train.flip=0.7"),
        ("pack.compression=lzf",),
    ],
)
def test_features_depend_on_nothing_behind_them(changes: tuple[str, ...], trained: Path) -> None:
    assert plan(trained, *CUT, *AUGMENTED, *changes)["features"].reasons == {}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (("model.split=conv_2c",), "features.split changed"),
        (("model.backbone=r3d_18", "pack.input_size=112"), "features.backbone changed"),
        (("masks.starts=[0, 4]",), "features.starts changed"),
        (("masks.crop=120",), "features.crop changed"),
        (("train.shift=[0, 3]",), "versions changed"),
        (("normalize.jpeg_quality=90",), "follows normalize"),
        (POOLED, "features.mode changed: cut → pooled"),
    ],
)
def test_features_depend_on_what_makes_them(changes: tuple[str, ...], why: str, trained: Path) -> None:
    reasons = plan(trained, *CUT, *AUGMENTED, *changes)["features"].reasons
    assert reasons
    assert all(why in reason for reason in reasons.values()), reasons


def test_without_features_there_is_no_such_stage_and_every_key_is_as_before(trained: Path) -> None:
    plans = plan(trained)
    assert "features" not in plans
    assert all(not one.reasons for one in plans.values())
    assert features_space(plans, trained / "weights") is None


def test_the_plan_says_how_much_of_the_disk_they_take(trained: Path) -> None:
    files = list(trained.glob("artifacts/features/??/*.h5"))
    there = 0
    for path in files:
        with h5py.File(path) as file:
            there += file["features"].nbytes
    space = features_space(plan(trained, *CUT, *AUGMENTED), trained / "weights")
    assert space is not None
    assert (space.clips, space.total, space.missing) == (len(files), there, 0)
    more = features_space(plan(trained, *CUT, *AUGMENTED, "train.shift=[0, 3]"), trained / "weights")
    assert more is not None
    train = sum(one.split == "train" for one in Workspace(trained).datasets.clips("tiny"))
    assert more.total == there + 2 * train * space.each  # flipped, and not
    assert more.missing > 0


def test_status_and_explain_know_the_stage_and_gc_prunes_it(root: Path) -> None:
    workspace = Workspace(root)
    assert read_status(workspace)["datasets"]["tiny"]["stages"]["features"] == {"wanted": 4, "done": 4}
    clip = workspace.datasets.clips("tiny")[0].clip_id
    stages = [[one.stage for one in chain] for chain in explain(workspace, clip)]
    assert ["features", "normalize"] in stages
    assert any(chain[0] == "masks" for chain in stages)
    run(root)  # of pixels, the newest now
    workspace = Workspace(root)
    garbage = find_garbage(workspace, keep=1, grace_hours=0)
    assert sum(one.stage == "features" for one in garbage) == 4
    remove(workspace, garbage)
    assert not list(root.glob("artifacts/features/??/*.h5"))


def test_damaged_features_are_made_again_and_nothing_else_is(root: Path) -> None:
    path = sorted(root.glob("artifacts/features/??/*.h5"))[0]
    before = digests(root)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    summary = run(root, *CUT, *AUGMENTED)
    assert summary.failures == []
    assert summary.stages["features"].computed == 1
    assert summary.stages["train"].computed == 0
    assert digests(root) == before


def test_a_backbone_that_was_trained_elsewhere_makes_the_features(root: Path, tmp_path: Path) -> None:
    workspace = Workspace(root)
    first = find_run(workspace, read_runs(workspace)[0].run_id)  # on pixels, its backbone trained
    file = export_backbone(workspace, first, "last", tmp_path / "plain.safetensors")
    summary = run(root, *CUT, f"model.weights={file}")
    assert summary.failures == []
    state, mine = trained_state(workspace, first, "last"), last_training(root)[1]
    stage1 = [name for name in state if name.startswith(("backbone.Conv3d", "backbone.Mixed_4b"))]
    assert stage1
    assert all(np.array_equal(state[name], mine[name]) for name in stage1)
    report = Path(summary.report or "").read_text()
    assert "stage 1 of the backbone, from plain.safetensors" in report


@pytest.mark.parametrize("features", [CUT, POOLED], ids=["cut", "pooled"])
def test_a_network_trained_on_features_scores_a_video_and_is_exported(
    features: tuple[str, ...], root: Path, tmp_path: Path
) -> None:
    assert run(root, *features, *AUGMENTED).failures == []
    workspace = Workspace(root)
    trained = find_run(workspace, "last")
    row = trained.predictions().query("weights == 'last' and split == 'test'").iloc[0]
    clip = next(one for one in dataset_clips(workspace, "tiny") if one.clip_id == row["clip_id"])
    request = Request((Path(clip.video),), (clip.boxes,), difficulty=clip.difficulty)
    found = predict_videos(workspace, trained, request, [], tmp_path, preprocess)
    assert found.videos[0].score == pytest.approx(row["predicted"], rel=1e-5)
    exported = export_run(workspace, trained, "torch-export", "last", None, tmp_path / "model.pt2")
    assert exported.difference <= 1e-4


def preprocess(config: PipelineConfig, dataset: str, root: Path) -> RunSummary:
    """What `tubeflow predict` lets a flow do, on threads of this process."""
    assert config.features.mode == "none"
    return execute(config, dataset, Workspace.open(root), PREPROCESS.stages(), RunOptions(), ThreadRunner())  # type: ignore[arg-type]


def test_random_frozen_weights_are_the_same_for_every_seed_and_said(trained: Path) -> None:
    workspace = Workspace(trained)
    newest = read_runs(workspace)[-1]
    assert "stage 1 of the backbone, with random weights" in Path(newest.report or "").read_text()
    assert plan(trained, *CUT, *AUGMENTED, "train.seed=5")["features"].reasons == {}


def test_one_stage_alone_needs_only_the_frames(root: Path) -> None:
    summary = run(root, *CUT, "train.shift=[0, 1]", "train.eval_shift=1", "masks.tau=0.9", selected=["features"])
    assert summary.failures == []
    assert summary.stages["features"].computed == 3  # the test clip has no versions but the one it is scored in
    assert "features" in IN_ORDER


def test_features_are_float16_with_a_version_for_each_augmentation(trained: Path) -> None:
    shapes = set()
    for path in trained.glob("artifacts/features/??/*.h5"):
        with h5py.File(path) as file:
            assert file["features"].dtype == np.float16
            assert file["features"].fletcher32
            shapes.add(file["features"].shape)
            found = set(zip(file["flip"][:].tolist(), file["shift"][:].tolist(), strict=True))
            assert (False, 1) in found
            if len(found) > 1:
                assert found == {(flip, shift) for flip in (False, True) for shift in range(3)}
    assert shapes == {(6, 2, 4, 14, 14, 112), (1, 2, 4, 14, 14, 112)}
    assert torch.finfo(torch.float16).bits == 16
