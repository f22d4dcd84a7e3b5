"""`tubeflow tracks …`, through the command line."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from data_catalog.tracks.benchmarks import find_tracking_clips
from data_catalog.tracks.files import read_tracks
from flows.cli.main import app
from flows.config import load_config
from flows.datasets.clips import dataset_clips
from flows.datasets.ingest import ingest
from flows.stages import CLIP_STAGES, section
from flows.tracking.evaluation import evaluate, parse_candidate, summarise
from tasks.assessment.one_pass import EvaluationConfig
from tasks.engine.job import Context
from tasks.engine.plan import Planner, resolve_sources
from tasks.engine.run import run_jobs


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two clips of 6 frames: a bright square drifts over noise."""
    rng = np.random.default_rng(4)
    for number, speed in enumerate((2, 3)):
        name = f"clip{number}"
        (tmp_path / name).mkdir()
        back = rng.integers(0, 60, (90, 120, 3), np.uint8)
        person = rng.integers(120, 255, (30, 24, 3), np.uint8)
        rows = ["frame,x,y,w,h"]
        for k in range(6):
            frame = back.copy()
            frame[30:60, 20 + speed * k : 44 + speed * k] = person
            cv2.imwrite(str(tmp_path / name / f"{k}.png"), frame)
            rows.append(f"{k},{20 + speed * k},30,24,30")
        (tmp_path / f"{name}_gt.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def tubeflow(*words: str | Path) -> str:
    result = CliRunner().invoke(app, ["tracks", *map(str, words)], catch_exceptions=False, env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*words: str | Path) -> str:
    result = CliRunner().invoke(app, ["tracks", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 2
    return " ".join((result.output + result.stderr).split())


def test_evaluate_writes_results_that_evaluate_to_the_same(clips, tmp_path):
    options = ("--length", "6", "--size", "source")
    said = tubeflow(
        "evaluate", clips, "-t", "mil", *options, "--results", tmp_path / "out", "--plots", tmp_path / "plots"
    )
    assert "clip0" in said
    assert "mean" in said
    assert {str(file.relative_to(tmp_path / "plots")) for file in (tmp_path / "plots").rglob("*.png")} == {
        "success.png", "precision.png", "norm_precision.png", "mil/clip0.png", "mil/clip1.png",
    }  # fmt: skip
    compared = tubeflow("evaluate", clips, "--compare", "mil", tmp_path / "out" / "mil", *options, "--json")
    whole = json.loads(compared)
    assert len(whole["trackers"]) == 2
    for row in whole["difference"].values():
        assert abs(row["mean"]) < 1e-4   # the files hold four decimals


def test_evaluate_tables_and_spread(clips):
    said = tubeflow("evaluate", clips, "-t", "mil", "--clip", "clip1", "--length", "4", "--jitter", "2")
    assert "clip0" not in said
    assert "mil, first boxes moved" in said
    narrow = CliRunner().invoke(
        app, ["tracks", "evaluate", str(clips), "-t", "mil", "--length", "4"], env={"COLUMNS": "40"}
    )
    assert narrow.exit_code == 0
    assert "…" not in narrow.stdout   # no figure is cut
    assert "2 moved ones" in said
    table = json.loads(tubeflow("evaluate", clips, "-t", "mil", "--length", "4", "--jitter", "2", "--json"))
    spread, rows = table["trackers"]["mil"]["spread"], table["trackers"]["mil"]["clips"]
    for name in ("auc", "overlap", "rotated", "grid"):
        runs = np.mean([row["jitter"][name] for row in rows], axis=0)
        assert len(runs) == 2
        assert (spread[name]["mean"], spread[name]["deviation"]) == pytest.approx((runs.mean(), runs.std()))
        assert spread[name]["exact"] == pytest.approx(np.mean([row[name] for row in rows]))
        assert spread[name]["least"] <= spread[name]["mean"] <= spread[name]["most"]


def test_the_truth_can_stand_in_a_trackers_place(clips):
    """What a perfect tracker reaches: everything, so that whatever is less is the tracker's doing."""
    whole = json.loads(tubeflow("evaluate", clips, "-t", "truth", "--length", "6", "--json"))
    config = EvaluationConfig(length=6)
    found = evaluate([parse_candidate("truth")], find_tracking_clips(clips), config, "cpu")
    assert whole == json.loads(json.dumps(summarise(found, config).as_json()))
    mean = whole["trackers"]["truth"]["mean"]
    assert (mean["overlap"], mean["rotated"], mean["grid"]) == pytest.approx((1, 1, 1), abs=1e-5)
    assert mean["mask_grid"] is None


def test_pictures_have_the_truth_in_green_and_the_tracker_in_orange(clips, tmp_path):
    """A result that stands aside from the truth by half the square's width: both outlines are to be seen."""
    (tmp_path / "aside").mkdir()
    rows = [f"{20 + 2 * k + 12},30,24,30" for k in range(6)]
    (tmp_path / "aside" / "clip0.txt").write_text("\n".join(rows) + "\n")
    options = ("--length", "6", "--size", "source", "--clip", "clip0", "--plots", tmp_path / "plots")
    tubeflow("evaluate", clips, "-t", tmp_path / "aside", *options)
    sheet = cv2.imread(str(tmp_path / "plots" / "aside (results)" / "clip0.png"))[..., ::-1].astype(int)
    picture = sheet[34 : 34 + 270, 8 : 8 + 360]   # frame 0 of 120 x 90 px, three times as large
    rows = picture[3 * 40 : 3 * 50].mean(axis=0)   # between the squares' ends: noise evens out, upright lines stay
    green = rows[:, 1] - rows[:, [0, 2]].max(axis=1)
    orange = rows[:, 0] - rows[:, 2]
    for colour, left in ((green > 30, 20), (orange > 60, 32)):
        found = np.flatnonzero(colour)
        np.testing.assert_allclose([found.min(), found.max()], [3 * left, 3 * (left + 24)], atol=3)


def test_import_and_back(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "one.txt").write_text("1,2,30,40\nnan,nan,nan,nan\n2,2,30,40\n")
    said = tubeflow("import", tmp_path / "theirs", "--out", tmp_path / "boxes.json")
    assert "track.tracker=published" in said
    track = read_tracks(tmp_path / "boxes.json", "published").tubes["one"]
    np.testing.assert_array_equal(track[0], [[1, 2], [31, 2], [31, 42], [1, 42]])
    assert np.isnan(track[1]).all()


def test_export_of_a_tracked_dataset(clips, tmp_path):
    """Two clips through normalize, detect and track; exported in pixels of the source, 120 x 90."""
    labels = tmp_path / "labels.csv"
    rows = ["clip_id,video,split,score,x,y,w,h", "a,clip0,train,1,20,30,24,30", "b,clip1,test,2,20,30,24,30"]
    labels.write_text("\n".join(rows))
    workspace = Workspace.open(tmp_path / "ws")
    ingest(workspace, "mine", "folder", clips, labels)
    changes = ["normalize.length=16", "normalize.width=60", "normalize.height=45", "detect.detector=annotation"]
    config = load_config("folder", changes)
    stages = [(stage, section(stage, config)) for stage in CLIP_STAGES[:3]]
    planner = Planner(workspace, "mine", dataset_clips(workspace, "mine"))
    resolve_sources(planner)
    plans = planner.plan(stages, [])
    for stage, part in stages:
        report = run_jobs(stage, list(plans[stage.name].jobs.values()), part, Context(workspace, "cpu"))
        assert not report.failed, report
    options = [word for change in changes for word in ("-o", change)]
    tubeflow("export", tmp_path / "out", "-d", "mine", "-w", workspace.root, "--preset", "folder", *options)
    tracks = read_tracks(tmp_path / "out", "pysot").tubes
    assert len(tracks) == 2
    for track in tracks.values():
        assert track.shape == (16, 4, 2)
        np.testing.assert_allclose(track[0], [[20, 30], [44, 30], [44, 60], [20, 60]], atol=1e-3)
    said = refused("export", tmp_path / "o", "-d", "mine", "-w", workspace.root, "--preset", "folder", *options,
                   "--athlete", "1")  # fmt: skip
    assert "No clip of 'mine' has an athlete 1; they are counted from 0 to 0." in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["evaluate", "{clips}"], "Say what to evaluate"),
        (["evaluate", "{clips}", "-t", "kcf"], "'kcf' is neither a folder of results nor a tracker"),
        (["evaluate", "{clips}", "-t", "nano"], "needs weights"),
        (["evaluate", "{clips}", "-t", "mil", "--size", "big"], "--size is WIDTHxHEIGHT"),
        (["evaluate", "{clips}", "-t", "mil", "--length", "1"], "greater than or equal to 2"),
        (["evaluate", "{clips}", "-t", "mil", "--clip", "other"], "has none of the clips other"),
        (["evaluate", "{clips}/nowhere", "-t", "mil"], "here is no folder"),
        (["evaluate", "{clips}", "-t", "{clips}/clip0"], "holds no NAME.txt"),
        (["evaluate", "{clips}", "-t", "vit:vittrack", "-w", "{clips}/ws"], "'vittrack' are not in {clips}/ws/weights"),
        (["import", "{clips}/none.txt", "--out", "{clips}/o.json"], "here is no file or folder"),
        (["export", "{clips}/out", "-d", "none", "-w", "{clips}/ws"], "none"),
    ],
)
def test_mistakes_are_one_sentence(clips, words, told):
    assert told.format(clips=clips) in refused(*(word.format(clips=clips) for word in words))
