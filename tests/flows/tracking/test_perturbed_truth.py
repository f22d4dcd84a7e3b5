"""True tubes as a file, drifting ones, and a run on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from data_catalog.catalog import CatalogError, DatasetInfo, Workspace
from data_catalog.datasets.records import Listing
from data_catalog.synthetic.sport import read_ground_truth
from data_catalog.tracks.files import read_tracks
from flows.cli.main import app
from flows.tracking.perturbed_truth import drift, true_tubes
from models.geometry import polygon_iou
from tests.support.tiny_workspace import DATASET, new_workspace


@pytest.fixture
def workspace(tiny_videos: Path, tmp_path: Path) -> Workspace:
    return new_workspace(tmp_path / "ws", tiny_videos)


def test_the_file_holds_the_truth(workspace: Workspace, tiny_videos: Path, tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    done = CliRunner().invoke(
        app, ["tracks", "truth", str(file), "--dataset", DATASET, "-w", str(workspace.root), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"clips": 4, "jitter": 0.0, "file": str(file)}
    tubes = read_tracks(file, "published").tubes
    for clip, track in tubes.items():
        truth = read_ground_truth(tiny_videos / "ground_truth" / f"{clip}.npz")
        seen = truth.visible[0]
        np.testing.assert_allclose(track[seen], truth.quads[0][seen], atol=0.006)
        assert np.isnan(track[~seen]).all()
        assert (~seen).any()


def test_jitter_depends_on_seed_and_clip_alone(workspace: Workspace) -> None:
    one, again, other = (true_tubes(workspace, DATASET, jitter=0.5, seed=seed) for seed in (0, 0, 1))
    for clip in one:
        np.testing.assert_array_equal(one[clip], again[clip])
        seen = np.isfinite(one[clip]).all(axis=(1, 2))
        assert np.abs(one[clip][seen] - other[clip][seen]).max() > 1


def test_drift_has_the_size_that_is_asked_and_wanders() -> None:
    """Of a 20 × 5 box, side 10: the centre's error has deviation level · 10, neighbouring frames err alike."""
    box = np.array([[0, 0], [20, 0], [20, 5], [0, 5]], np.float32)
    still = np.tile(box, (20_000, 1, 1))
    for level in (0.1, 0.5):
        off = drift(still, level, np.random.default_rng(0)).mean(axis=1) - box.mean(axis=0)
        assert off.std(axis=0) == pytest.approx(level * 10, rel=0.1)
        near, far = (np.corrcoef(off[:-lag, 0], off[lag:, 0])[0, 1] for lag in (1, 60))
        assert near == pytest.approx(np.exp(-0.1), abs=0.02)
        assert abs(far) < 0.1
    sides = np.linalg.norm(np.diff(drift(still, 0.5, np.random.default_rng(0))[:, :2], axis=1)[:, 0], axis=1)
    assert np.log(sides / 20).std() == pytest.approx(0.25, rel=0.1)


def test_more_drift_is_less_overlap(workspace: Workspace) -> None:
    truth = true_tubes(workspace, DATASET)
    overlaps = []
    for level in (0.1, 0.5, 1.0):
        worse = true_tubes(workspace, DATASET, jitter=level)
        overlaps.append(np.mean([np.nanmean(polygon_iou(*_seen(truth[clip], worse[clip]))) for clip in truth]))
    assert overlaps[0] > overlaps[1] > overlaps[2]
    assert overlaps[0] > 0.6
    assert overlaps[2] < 0.35


def _seen(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    seen = np.isfinite(a).all(axis=(1, 2))
    return a[seen], b[seen]


def test_who_has_no_truth_is_told(workspace: Workspace) -> None:
    with pytest.raises(CatalogError, match="has 1 athletes, none numbered 3"):
        true_tubes(workspace, DATASET, athlete=3)
    clips = tuple(workspace.datasets.clips(DATASET))
    workspace.datasets.add(DatasetInfo("real", "table", str(workspace.root)), Listing(clips))
    with pytest.raises(CatalogError, match="'real' has no ground truth"):
        true_tubes(workspace, "real")
