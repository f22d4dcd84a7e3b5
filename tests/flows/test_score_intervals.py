"""Intervals of scores, from the config to report and prediction, on features; and that nothing else notices them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig, load_config
from flows.datasets.clips import dataset_clips
from flows.datasets.dataset_records import ingest_and_compare
from flows.execution.execute import execute
from flows.execution.run_options import RunOptions
from flows.experiments.compare import Question, compare
from flows.experiments.matrix import Matrix, expand, run_matrix
from flows.inference.predict_features import predict_features
from flows.inference.predict_videos import Request
from flows.runs.finished import FinishedRun, find_run
from flows.runs.summary import RunSummary
from flows.stages import IN_ORDER, make_plan
from flows.tables.comparison_table import print_comparison
from tasks.engine.plan import Planner
from tests.support.feature_files import make_features
from tests.support.tiny_workspace import ThreadRunner

SETTINGS = (
    "train.epochs=2", "train.loggers=[csv]", "train.batch=8", "train.validation=0.5", "engine.device=cpu",
)  # fmt: skip
GAUSSIAN = ("model.head=gaussian", "evaluate.intervals=temperature")


def run(folder: Path, *overrides: str) -> RunSummary:
    return run_config(folder, load_config("features", [*SETTINGS, *overrides]))


def run_config(folder: Path, config: PipelineConfig) -> RunSummary:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return execute(config, "mine", Workspace.open(folder), IN_ORDER, RunOptions(), ThreadRunner())
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one run; others may be added."""
    root = tmp_path_factory.mktemp("intervals")
    ingest_and_compare(Workspace.open(root / "w"), "mine", "features", make_features(root / "features", 60))
    assert not run(root / "w", *GAUSSIAN).failures
    return root / "w"


@pytest.fixture(scope="module")
def first(folder: Path) -> FinishedRun:
    return find_run(Workspace(folder), "last")


def of_split(table: pd.DataFrame, split: str) -> pd.DataFrame:
    return table[(table["weights"] == "last") & (table["split"] == split)]


def test_the_calibration_is_that_of_the_validation_clips(folder: Path, first: FinishedRun) -> None:
    """Told from the table alone: the mean square of errors over spreads is 1 where they were calibrated."""
    table = first.predictions()
    validation = of_split(table, "validation")
    assert len(validation) == 20
    z = (validation["true"] - validation["predicted"]) / validation["spread"]
    assert float(np.mean(z**2)) == pytest.approx(1, rel=1e-6)
    assert validation["spread"].nunique() == 20
    test = of_split(table, "test")
    middle = (test["low_80"] + test["high_80"]) / 2
    np.testing.assert_allclose(middle, test["predicted"], rtol=1e-9)
    widths = [(test[f"high_{level}"] - test[f"low_{level}"]).to_numpy() for level in (50, 80, 95)]
    assert (widths[0] < widths[1]).all()
    assert (widths[1] < widths[2]).all()


def test_the_report_counts_what_the_table_says(first: FinishedRun) -> None:
    page = (first.folder / "report.html").read_text()
    section = page[page.index('id="h-intervals"') : page.index("</section>", page.index('id="h-intervals"'))]
    assert "20 validation clips (temperature)" in section
    test = of_split(first.predictions(), "test")
    for level in (50, 80, 95):
        inside = int(((test[f"low_{level}"] <= test["true"]) & (test["true"] <= test[f"high_{level}"])).sum())
        (row,) = re.findall(rf"<tr><th scope=\"row\" class=\"n\">{level} %.*?</tr>", section, re.DOTALL)
        assert re.findall(r"<td class=\"n\">(\d+)</td>", row) == [str(inside), str(len(test))]


def test_predict_gives_the_interval_that_evaluation_gave(folder: Path, first: FinishedRun) -> None:
    workspace = Workspace(folder)
    clip = next(clip for clip in dataset_clips(workspace, "mine") if clip.clip_id == "c3")
    scores = predict_features(workspace, first, Request((Path(clip.video),), difficulty=clip.difficulty))
    row = first.predictions().query("clip_id == 'c3' and weights == 'last'").iloc[0]
    (one,) = scores.videos
    assert [(end.level, end.low, end.high) for end in one.intervals] == [
        (level, pytest.approx(row[f"low_{level}"], rel=1e-6), pytest.approx(row[f"high_{level}"], rel=1e-6))
        for level in (50, 80, 95)
    ]
    assert json.loads(json.dumps(scores.as_json()))["videos"][0]["intervals"][0]["level"] == 50


def test_seeds_together_are_an_ensemble(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scores by SciPy on means of the tables; the mixture's spread by numbers drawn from it."""
    values = {"preset": "features", "override": [*SETTINGS, *GAUSSIAN], "matrix": {"train.seed": [0, 1]}}
    cells = expand(Matrix.model_validate(values), [], [])
    made = run_matrix(Workspace.open(folder), "two.yaml", "mine", cells, lambda config: run_config(folder, config))
    runs = [str(cell["run_id"]) for cell in made["cells"]]
    record = compare(Workspace(folder), [made["experiment_id"]], Question(repetitions=50))
    (row,) = record["metrics"]["spearman"]
    tables = [of_split(find_run(Workspace(folder), one).predictions(), "test") for one in runs]
    true = tables[0]["true"].to_numpy()
    predicted, spread = (np.stack([one[name].to_numpy() for one in tables]) for name in ("predicted", "spread"))
    wanted = stats.spearmanr(predicted.mean(axis=0), true).statistic
    assert row["ensemble"]["all"]["value"] == pytest.approx(wanted)

    draws = np.random.default_rng(0).normal(predicted[..., None], spread[..., None], (2, len(true), 40_000))
    sigma = draws.swapaxes(0, 1).reshape(len(true), -1).std(axis=1)
    rows = {one["level"]: one for one in record["intervals"]}
    assert set(rows) == {50, 80, 95}
    assert rows[80]["ensemble"] is not None
    assert rows[80]["ensemble"]["width"] == pytest.approx(2 * stats.norm.ppf(0.9) * sigma.mean(), rel=0.01)
    inside = [((one["low_80"] <= one["true"]) & (one["true"] <= one["high_80"])).mean() for one in tables]
    assert rows[80]["seeds"]["share"] == pytest.approx(np.mean(inside))
    print_comparison(record)
    shown = capsys.readouterr().out
    for level in (50, 80, 95):
        assert f"({rows[level]['seeds']['width']:.2f})" in shown
    assert "ensemble" in shown


def test_another_method_trains_nothing_again_and_says_what_it_lacks(folder: Path) -> None:
    summary = run(folder, "model.head=gaussian", "evaluate.intervals=isotonic")
    assert (summary.stages["train"].computed, summary.stages["evaluate"].computed) == (0, 1)
    (note,) = [note for note in summary.notes if "Intervals" in note]
    assert note.startswith("Intervals of 95 % take 39 validation clips, and there are 20;")
    found = find_run(Workspace(folder), summary.run_id)
    test = of_split(found.predictions(), "test")
    assert test["low_95"].isna().all()
    assert (test["low_80"] < test["high_80"]).all()
    page = (found.folder / "report.html").read_text()
    assert ">80 %</th>" in page
    assert ">95 %</th>" not in page


@pytest.mark.parametrize("head", ["regression", "usdl", "contrastive"])
def test_scores_of_every_head_get_intervals(folder: Path, head: str) -> None:
    """A head that says nothing of its uncertainty gets one width, that of the validation clips' errors."""
    summary = run(folder, f"model.head={head}", "evaluate.intervals=temperature")
    table = find_run(Workspace(folder), summary.run_id).predictions()
    validation, test = of_split(table, "validation"), of_split(table, "test")
    same = np.allclose(test["spread"], test["spread"].iloc[0])
    assert same == (head != "usdl")
    if same:
        rms = np.sqrt(np.mean((validation["true"] - validation["predicted"]) ** 2))
        assert float(test["spread"].iloc[0]) == pytest.approx(rms)


def test_without_them_nothing_is_as_it_was_not(folder: Path) -> None:
    """Neither the key of the evaluation nor its table."""
    workspace = Workspace(folder)
    clips = dataset_clips(workspace, "mine")

    def key(*overrides: str) -> str:
        config = load_config("features", [*SETTINGS, *overrides])
        return make_plan(Planner(workspace, "mine", clips), config)["evaluate"].jobs[""].key

    assert key() == key("evaluate.intervals=none")
    assert len({key(), key("evaluate.intervals=temperature"), key("evaluate.intervals=isotonic")}) == 3
    table = find_run(workspace, run(folder, "model.head=gaussian").run_id).predictions()
    assert not [name for name in table.columns if name.startswith(("spread", "low", "high"))]


def test_nobody_held_out(folder: Path) -> None:
    summary = run(folder, *GAUSSIAN, "train.validation=0")
    (failure,) = summary.failures
    assert failure.stage == "evaluate"
    assert "no clip of known score is held out for that; set train.validation" in failure.reason
