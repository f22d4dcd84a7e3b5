"""Prediction says which clips are unlike those that a run was trained on, or why it can't say it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from data_catalog.store import read_lineage
from flows.api.returned import PredictResult
from flows.cli.main import app
from flows.config import load_config
from flows.datasets.clips import dataset_clips
from flows.datasets.dataset_records import ingest_and_compare
from flows.execution.execute import RunOptions, execute
from flows.inference.predict_features import predict_features
from flows.inference.predict_videos import Request, VideoScores
from flows.maintenance.gc import find_garbage
from flows.runs.finished import find_run
from flows.stages import IN_ORDER
from tests.support.feature_files import write_labels
from tests.support.tiny_workspace import ThreadRunner, copy_workspace, identities

TRAINING, HELD_OUT, SIZE = 60, 200, 12
SETTINGS = ("train.epochs=1", "train.loggers=[csv]", "engine.device=cpu")


def kind(rng: np.random.Generator) -> np.ndarray:
    """Two steps of a clip whose features lie near a plane, off which other clips are."""
    plane = np.random.default_rng(0).normal(size=(2, SIZE))
    return np.asarray(rng.normal(size=(2, 2)) @ plane + 4 + 0.1 * rng.normal(size=(2, SIZE)), np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run on features of one kind; not to be changed."""
    folder = tmp_path_factory.mktemp("novelty")
    rng, rows = np.random.default_rng(1), {}
    (folder / "features").mkdir()
    for number in range(TRAINING):
        np.save(folder / "features" / f"c{number}.npy", kind(rng))
        rows[f"c{number}"] = f"train,{50 + number}"
    write_labels(folder / "features", rows)
    workspace = Workspace.open(folder / "w")
    ingest_and_compare(workspace, "mine", "features", folder / "features")
    train(workspace)
    return folder / "w"


def train(workspace: Workspace, *overrides: str) -> None:
    config = load_config("features", [*SETTINGS, *overrides])
    summary = execute(config, "mine", workspace, IN_ORDER, RunOptions(), ThreadRunner())  # type: ignore[arg-type]
    assert summary.failures == []


@pytest.fixture
def workspace(trained: Path, tmp_path: Path) -> Workspace:
    return Workspace.open(copy_workspace(trained, tmp_path / "w"))


def predicted(workspace: Workspace, *files: Path) -> VideoScores:
    return predict_features(workspace, find_run(workspace, "last"), Request(files))


def written(folder: Path, **clips: np.ndarray) -> list[Path]:
    for name, steps in clips.items():
        np.save(folder / f"{name}.npy", steps)
    return [folder / f"{name}.npy" for name in clips]


def test_another_kind_is_unlike_and_of_the_same_kind_hardly_more_than_one_in_twenty(
    workspace: Workspace, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    same = {f"same{number}": kind(rng) for number in range(HELD_OUT)}
    noise = rng.normal(size=(2, SIZE)).astype(np.float32)
    found = predicted(workspace, *written(tmp_path, **same, noise=noise))
    assert found.novelty is not None
    bound = found.novelty.bound
    assert bound is not None
    assert [one.unlike for one in found.videos] == [one.distance > bound for one in found.videos]  # type: ignore[operator]
    assert found.videos[-1].unlike
    unlike = sum(bool(one.unlike) for one in found.videos[:-1])
    assert unlike <= 0.05 * HELD_OUT + 3 * (0.05 * 0.95 * HELD_OUT) ** 0.5  # three standard deviations above
    assert len(found.notes) == unlike + 1
    times = found.videos[-1].distance / bound  # type: ignore[operator]
    assert f"'{found.run_id}' was trained on: it is {times:.1f} times as far from" in found.notes[-1]
    assert found.notes[-1].startswith("noise is unlike what run")
    table = PredictResult.of(found)
    assert (table.scores["unlike"].sum(), table.unlike_above, len(table.notes)) == (unlike + 1, bound, unlike + 1)
    shown = json.loads(json.dumps(found.as_json()))
    assert (shown["unlike_above"], shown["videos"][-1]["unlike"], len(shown["notes"])) == (bound, True, unlike + 1)


def test_what_clips_are_compared_with_is_made_once_known_by_its_lineage_and_kept_with_its_run(
    workspace: Workspace, tmp_path: Path
) -> None:
    [file] = written(tmp_path, one=kind(np.random.default_rng(2)))
    first = predicted(workspace, file)
    made = {path: stat for path, stat in identities(workspace.root).items() if "/novelty/" in path}
    [path] = made
    lineage = read_lineage(workspace.root / path)
    run = find_run(workspace, "last")
    assert lineage.parents == {"train": run.artifact(workspace, "train")}
    assert ("novelty", lineage.key) in Workspace(workspace.root).index.rows
    assert predicted(workspace, file) == first
    assert {path: stat for path, stat in identities(workspace.root).items() if "/novelty/" in path} == made
    assert find_garbage(workspace, keep=1, grace_hours=0) == []
    (workspace.root / path).write_bytes(b"damaged")
    assert predicted(Workspace(workspace.root), file).videos == first.videos
    train(workspace, "train.seed=1")
    garbage = find_garbage(workspace, keep=1)
    assert {(one.stage, one.runs) for one in garbage} == {
        (stage, (run.run_id,)) for stage in ("train", "evaluate", "novelty")
    }


def test_with_other_weights_it_is_another_distance(workspace: Workspace, tmp_path: Path) -> None:
    run = find_run(workspace, "last")
    files = tuple(written(tmp_path, one=kind(np.random.default_rng(2))))
    for weights in ("last", "best"):
        predict_features(workspace, run, Request(files, weights=weights))
    assert len([path for path in identities(workspace.root) if "/novelty/" in path]) == 2


def test_training_clips_that_are_gone_or_have_other_labels_are_a_sentence(workspace: Workspace, tmp_path: Path) -> None:
    files = written(tmp_path, one=kind(np.random.default_rng(2)))
    run = find_run(workspace, "last")
    clip = dataset_clips(workspace, "mine")[0]
    workspace.store.path("features", run.keys["features"][clip.clip_id]).unlink()
    found = predicted(workspace, *files)
    assert (found.videos[0].distance, found.videos[0].unlike) == (None, None)
    assert np.isfinite(found.videos[0].score)
    [note] = found.notes
    assert "can't be told" in note
    assert "dataset 'mine' aren't those that it was trained on; run again" in note
    result = CliRunner().invoke(app, ["predict", str(files[0]), "-w", str(workspace.root)])
    assert result.exit_code == 0
    assert note in result.stdout.replace("\n", " ")
    assert "was trained on " not in result.stdout.split("can't be told")[0].split("Score")[0]


def test_the_table_says_it_in_a_row_of_its_own(workspace: Workspace, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    files = written(tmp_path, one=kind(rng), noise=rng.normal(size=(2, SIZE)).astype(np.float32))
    result = CliRunner().invoke(app, ["predict", *map(str, files), "-w", str(workspace.root)])
    assert result.exit_code == 0, result.output
    [row] = [line for line in result.stdout.splitlines() if "what the run was trained on" in line]
    assert [cell.strip() for cell in row.strip("│ ").split("│")][1:] == ["like", "unlike"]
    assert "noise is unlike" in result.stdout
