"""A run that learns steps beside scores, on features of one's own: what comes out, and what it leaves as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_catalog.catalog import Workspace
from flows.config import ConfigError, load_config
from flows.datasets.clips import dataset_clips
from flows.datasets.dataset_records import ingest_and_compare
from flows.datasets.ingest import ingest as ingest_dataset
from flows.execution.execute import RunOptions, execute
from flows.experiments.compare import Question, compare
from flows.inference.predict_features import predict_features
from flows.inference.predict_videos import Request
from flows.runs.finished import FinishedRun, find_run
from flows.runs.summary import RunSummary
from flows.stages import IN_ORDER, make_plan
from flows.tables.comparison_table import print_comparison
from tasks.engine.plan import Planner
from tests.support.feature_files import write_labels
from tests.support.tiny_workspace import DATASET, ThreadRunner, copy_workspace
from tests.support.tiny_workspace import run as run_tiny

SETTINGS = ("train.epochs=30", "train.batch=4", "train.lr=0.01", "train.loggers=[csv]", "engine.device=cpu")
CLIPS, ROWS, SIZE = 24, 9, 6
NAMES = ("take-off", "flight", "entry")


def ingest(folder: Path, second: int = 3, third: int = 6) -> Workspace:
    """Features whose first numbers say which third of the clip a row is in; every fourth clip has no steps."""
    rng, rows, steps = np.random.default_rng(0), {}, ["clip,step,start,end"]
    (folder / "features").mkdir(exist_ok=True)
    for number in range(CLIPS):
        features = rng.normal(size=(ROWS, SIZE)).astype(np.float32)
        features[np.arange(ROWS), np.arange(ROWS) // 3] += 8
        np.save(folder / "features" / f"c{number}.npy", features)
        rows[f"c{number}"] = f"{'test' if number % 3 == 0 else 'train'},{50 + number}"
        if number % 4:
            spans = zip(NAMES, (0, second, third), (second, third, ROWS - 1), strict=True)
            steps += [f"c{number},{name},{start},{end}" for name, start, end in spans]
    write_labels(folder / "features", rows)
    (folder / "features" / "steps.csv").write_text("\n".join(steps))
    workspace = Workspace.open(folder / "w")
    ingest_and_compare(workspace, "mine", "features", folder / "features")
    return workspace


def run(workspace: Workspace, *overrides: str) -> tuple[FinishedRun, RunSummary]:
    config = load_config("features", [*SETTINGS, *overrides])
    summary = execute(config, "mine", Workspace(workspace.root), IN_ORDER, RunOptions(), ThreadRunner())  # type: ignore[arg-type]
    assert summary.failures == []
    return find_run(Workspace(workspace.root), "last"), summary


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: without steps, and with them."""
    root = tmp_path_factory.mktemp("learnt")
    workspace = ingest(root)
    run(workspace)
    run(workspace, "train.steps=1")
    return root


def test_frames_are_named_right_beside_the_same_scores(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(folder / "w")
    names = sorted(path.name for path in workspace.runs.iterdir() if (path / "metrics.json").exists())
    without, learnt = (find_run(workspace, name) for name in names)
    plain, table = without.predictions(), learnt.predictions()
    assert "step_frames" not in plain
    np.testing.assert_array_equal(plain["predicted"], table["predicted"])  # features are fixed, so it changes no score
    test = table[(table["split"] == "test") & (table["weights"] == "last")]
    assert test["step_frames"].tolist() == [8 if int(clip[1:]) % 4 else 0 for clip in test["clip_id"]]
    correct = int(test["step_correct"].sum())
    assert correct / 48 > 0.95
    record = compare(workspace, names, Question(repetitions=50))
    [row] = record["steps"]
    assert (row["contender"], row["clips"], row["frames"]) == (learnt.run_id, 6, 48)
    assert row["accuracy"] == pytest.approx(correct / 48)
    assert row["low"] <= row["accuracy"] <= row["high"]
    by_kind = {one["step"]: (one["frames"], one["accuracy"]) for one in row["kinds"]}
    assert {name: frames for name, (frames, _) in by_kind.items()} == {"take-off": 18, "flight": 18, "entry": 12}
    assert sum(frames * accuracy for frames, accuracy in by_kind.values()) == pytest.approx(correct)
    print_comparison(record)
    printed = capsys.readouterr().out
    assert f"{correct / 48:.1%} [" in printed
    shown = {name: line for name in NAMES for line in printed.splitlines() if name in line}
    assert all(f"{by_kind[name][1]:.1%}" in shown[name] for name in NAMES)
    metrics = json.loads((learnt.folder / "metrics.json").read_text())
    assert metrics["last"]["test"]["all"]["step_accuracy"] == pytest.approx(correct / 48)
    words = " ".join((learnt.folder / "report.html").read_text().split())
    assert f"Of 48 frames of held-out clips that lie in a step, the segments name the right kind of {correct}:" in words
    assert words.count("% of 18</td>") == 2
    assert words.count("% of 12</td>") == 1


def test_prediction_needs_no_steps(folder: Path) -> None:
    workspace = Workspace(folder / "w")
    learnt = find_run(workspace, "last")
    found = predict_features(workspace, learnt, Request((folder / "features" / "c3.npy",)))
    row = learnt.predictions().query("clip_id == 'c3' and weights == 'last'").iloc[0]
    assert found.videos[0].score == pytest.approx(row["predicted"], rel=1e-6)


def test_other_steps_are_another_training_where_they_are_learnt(folder: Path, tmp_path: Path) -> None:
    copied = copy_workspace(folder, tmp_path / "copy")
    workspace = ingest(copied, second=4)
    config = load_config("features", [*SETTINGS, "train.steps=1"])
    plan = make_plan(Planner(workspace, "mine", dataset_clips(workspace, "mine")), config, ["train"])
    assert plan["train"].summary() == ["steps changed"]
    _, summary = run(workspace)
    assert sum(count.computed for count in summary.stages.values()) == 0
    learnt, summary = run(workspace, "train.steps=1")
    assert {name for name, count in summary.stages.items() if count.computed} == {"train", "evaluate"}
    test = learnt.predictions().query("split == 'test' and weights == 'last'")
    # What tells steps apart changes at row 3, and now row 3 is of the first step: it can't be named by its features.
    assert int(test["step_correct"].sum()) <= 42


def test_clips_without_steps_are_a_sentence(folder: Path, tmp_path: Path) -> None:
    copied = copy_workspace(folder, tmp_path / "copy")
    (copied / "features" / "steps.csv").unlink()
    workspace = Workspace.open(copied / "w")
    ingest_and_compare(workspace, "mine", "features", copied / "features")
    config = load_config("features", [*SETTINGS, "train.steps=1"])
    summary = execute(config, "mine", workspace, IN_ORDER, RunOptions(), ThreadRunner())  # type: ignore[arg-type]
    [failure] = summary.failures
    assert failure.stage == "train"
    assert "train.steps learns to tell kinds of steps apart, and the clips have 0" in failure.reason


def test_steps_on_several_devices_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.steps learns on one device; set train\.devices to 1"):
        load_config("demo", ["train.steps=1", "train.devices=2"])
    assert load_config("demo", ["train.devices=2"]).train.devices == 2   # alone it is none of its business


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["none", "cut", "pooled"])
def test_of_videos_steps_go_the_way_of_the_frames(
    tiny_videos: Path, finished_workspace: Path, tmp_path: Path, mode: str
) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "ws")
    steps = ("up,0,31", "in,31,80")
    rows = [f"diving_{number:04d},{step}" for number in (0, 1, 3) for step in steps]
    (tmp_path / "steps.csv").write_text("\n".join(["clip,step,start,end", *rows]))
    ingest_dataset(Workspace.open(root), DATASET, "procedural", tiny_videos, None, tmp_path / "steps.csv")
    words = ("train.steps=1", f"features.mode={mode}", *(["model.attention=none"] if mode == "pooled" else []))
    summary = run_tiny(root, *words)
    assert summary.failures == []
    assert {name for name, count in summary.stages.items() if count.computed} == {"train", "evaluate"} | (
        {"features"} if mode != "none" else set()
    )
    learnt = find_run(Workspace(root), "last")
    clip = "diving_0003"
    index = Workspace(root).store.read("normalize", learnt.keys["normalize"][clip], ["source_index"])
    inside = [source < 80 for source in index.arrays["source_index"].tolist()]  # segments hold all of the 24 frames
    table = learnt.predictions().query("clip_id == @clip")
    assert table["step_frames"].tolist() == [sum(inside)] * 2
    assert (table["step_correct"] <= table["step_frames"]).all()
    assert run_tiny(root, *words).stages["train"].computed == 0
