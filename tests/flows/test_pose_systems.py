"""Pose+DCT and ST-GCN from a folder of poses to predictions: what they read is what the files hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.fft import dct

from data_catalog.catalog import Workspace
from data_catalog.datasets.feature_files.arrays import BadFeatures
from data_catalog.datasets.poses.pose_files import pose_steps
from data_catalog.datasets.poses.pose_folder import PosesAdapter
from flows.config import ConfigError, load_config
from flows.datasets.dataset_records import ingest_and_compare
from flows.execution.execute import execute
from flows.execution.run_options import RunOptions
from flows.inference.predict_features import predict_features
from flows.inference.predict_videos import Request
from flows.runs.finished import find_run
from flows.stages import IN_ORDER
from tests.support.tiny_workspace import ThreadRunner

svm = pytest.importorskip("sklearn.svm")

CLIPS, FRAMES, JOINTS = 16, 12, 17
SMALL = ("train.loggers=[csv]", "engine.device=cpu", "train.score_range=[0, 100]")


def scores() -> np.ndarray:
    return np.random.default_rng(1).uniform(20, 80, CLIPS)


def body(clip: int) -> np.ndarray:
    """Joints (T, J, 3) that swing the wider the better the clip is."""
    rng = np.random.default_rng(100 + clip)
    still = rng.uniform(50, 150, (1, JOINTS, 2))
    swing = np.sin(np.arange(FRAMES) / 3)[:, None, None] * np.linspace(0, 1, JOINTS)[None, :, None]
    places = still + swing * scores()[clip] + rng.normal(0, 0.3, still.shape)
    return np.concatenate([places, np.ones((FRAMES, JOINTS, 1))], axis=2)


@pytest.fixture(scope="module")
def posed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with poses in two formats; clip 0 has frames without one."""
    folder = tmp_path_factory.mktemp("posed")
    poses = folder / "poses"
    poses.mkdir()
    for clip in range(CLIPS):
        if clip % 2:
            np.save(poses / f"c{clip}.npy", body(clip).astype(np.float32))
            continue
        rows = [
            {"image_id": f"{frame}.jpg", "keypoints": joints.ravel().tolist(), "score": 1.0}
            for frame, joints in enumerate(body(clip))
            if clip or frame not in (4, 5)
        ]
        (poses / f"c{clip}.json").write_text(json.dumps(rows))
    lines = [f"c{clip},{'train' if clip < 12 else 'test'},{score}" for clip, score in enumerate(scores())]
    (poses / "labels.csv").write_text("\n".join(["clip_id,split,score", *lines]))
    record = ingest_and_compare(Workspace.open(folder / "w"), "dives", "poses", poses)
    assert (record.clips, record.rejected) == (CLIPS, ())
    assert f"features of {3 * JOINTS} numbers, {FRAMES} steps a clip" in record.remarks
    return folder


def run(folder: Path, preset: str, *overrides: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = load_config(preset, [*SMALL, *overrides])
        workspace = Workspace.open(folder / "w")
        summary = execute(config, "dives", workspace, IN_ORDER, RunOptions(), ThreadRunner())  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(threads)
    assert (summary.failures, summary.failed) == ([], 0)


def test_frames_without_a_pose_lie_between_their_neighbours(posed: Path, tmp_path: Path) -> None:
    steps = pose_steps(posed / "poses" / "c0.json", posed / "poses").reshape(FRAMES, JOINTS, 3)
    whole = body(0)
    np.testing.assert_allclose(steps[4, :, :2], (2 * whole[3] + whole[6])[:, :2] / 3, atol=1e-3)
    assert steps[[4, 5], :, 2].max() == 0
    np.testing.assert_allclose(np.delete(steps, [4, 5], 0), np.delete(whole, [4, 5], 0), atol=1e-3)
    np.save(tmp_path / "a.npy", np.full((3, 2, 2), np.nan))
    with pytest.raises(BadFeatures, match=r"a.npy has no frame with a pose"):
        pose_steps(tmp_path / "a.npy", tmp_path)


def test_pose_dct_is_scipys_cosines_and_scikit_learns_svr(posed: Path) -> None:
    run(posed, "pose_dct", "model.temporal_options={frequencies: 8}")
    workspace = Workspace(posed / "w")
    table = find_run(workspace, "last").predictions()
    files = [next((posed / "poses").glob(f"c{clip}.[nj]*")) for clip in range(CLIPS)]
    steps = np.stack([pose_steps(file, posed / "poses") for file in files]).astype(float)
    scale = np.sqrt(steps[:12].reshape(-1, 3 * JOINTS).var(axis=0).mean())  # one number for all, and nothing moved
    places = (steps / scale).reshape(CLIPS, FRAMES, JOINTS, 3)[..., :2]
    waves = np.abs(dct(places - places[:, :, :1], norm="ortho", axis=1)[:, :8])
    x = np.moveaxis(waves, 1, -1).reshape(CLIPS, -1)
    wanted = svm.SVR(kernel="linear", C=1.0, epsilon=0.1).fit(x[:12], scores()[:12]).predict(x[12:])
    found = table[table["weights"] == "last"].set_index("clip_id").loc[[f"c{clip}" for clip in range(12, CLIPS)]]
    np.testing.assert_allclose(found["predicted"], wanted, atol=0.05)
    assert np.corrcoef(wanted, scores()[12:])[0, 1] > 0.9
    answer = predict_features(workspace, find_run(workspace, "last"), Request((posed / "poses" / "c12.json",)))
    assert answer.videos[0].score == pytest.approx(wanted[0], abs=0.05)


@pytest.mark.slow
def test_st_gcn_from_poses_to_a_prediction(posed: Path) -> None:
    options = "model.temporal_options={widths: '8 8 16', dropout: 0.0}"
    run(posed, "st_gcn", options, "train.epochs=60", "train.batch=4", "evaluate.splits=[train, test]")
    workspace = Workspace(posed / "w")
    found = find_run(workspace, "last")
    table = found.predictions().query("weights == 'last'")
    learnt = table[table["split"] == "train"]
    assert np.corrcoef(learnt["predicted"], learnt["true"])[0, 1] > 0.9
    answer = predict_features(workspace, found, Request((posed / "poses" / "c12.json",)))
    (row,) = table[table["clip_id"] == "c12"].to_dict("records")
    assert answer.videos[0].score == pytest.approx(row["predicted"], abs=1e-3)


def test_modules_of_poses_are_refused_with_videos() -> None:
    with pytest.raises(ConfigError, match=r"model\.temporal dct is of poses.*features\.mode own"):
        load_config("demo", ["model.temporal=dct"])


def test_what_cannot_be_used_is_one_sentence_a_clip(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 3, 2)))
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "labels.csv").write_text("clip_id,split,score\na,train,1\nb,test,2\nc,test,2")
    listing = PosesAdapter().read(tmp_path)
    assert [clip.clip_id for clip in listing.records] == ["a"]
    told = list(map(str, listing.rejected))
    assert "clip 'b', labels.csv line 3: b.json is damaged or no JSON; save it again" in told
    assert any("clip 'c'" in sentence for sentence in told)
