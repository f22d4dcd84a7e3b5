"""A matrix of real runs, and what compare says of them: sharing, joining by action and seed, tubes, messages."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml
from numpy.typing import ArrayLike, NDArray
from typer.testing import CliRunner

from data_catalog.catalog import CatalogError, DatasetInfo, Workspace
from data_catalog.datasets.records import Listing
from data_catalog.json_file import read_record
from flows import console
from flows.cli import models as model_cli
from flows.cli.main import app
from flows.config import ConfigError, PipelineConfig
from flows.datasets.clips import dataset_clips
from flows.execution.execute import RunOptions, execute
from flows.experiments.compare import Question, align, compare
from flows.experiments.contenders import PER_ACTION, Contender, find_contenders, group_cells, join_seeds
from flows.experiments.matrix import Matrix, dataset_actions, expand, load_matrix, matrix_names, run_matrix
from flows.experiments.paper_layout import paper_layout
from flows.maintenance.gc import find_garbage
from flows.runs.attention_form import attention_form
from flows.runs.finished import find_run
from flows.runs.summary import RunSummary
from flows.stages import STAGE_NAMES
from models.trackers import TRACKERS, FrameLoopTracker, TrackerEntry, TrackStep
from models.trackers.base import rectangle
from tests.support.tiny_workspace import DATASET, SETTINGS, ThreadRunner, copy_workspace

TWO = "two"
MATRIX = {
    "preset": "demo",
    "override": [*SETTINGS, "train.epochs=1"],
    "matrix": {"train.actions": "each", "train.seed": [0, 1]},
}


class StandingTracker(FrameLoopTracker):
    """Says that the athlete never moves."""

    def __init__(self, files: Sequence[Path] = (), device: str = "cpu") -> None:
        self._box: Any = None

    def init(self, frame: NDArray[np.uint8], box: ArrayLike) -> None:
        self._box = box

    def update(self, frame: NDArray[np.uint8]) -> TrackStep:
        return TrackStep(rectangle(self._box), 1.0)


def runner(workspace: Workspace, dataset: str) -> Any:
    def run(config: PipelineConfig) -> RunSummary:
        fresh = Workspace.open(workspace.root)
        return execute(config, dataset, fresh, STAGE_NAMES, RunOptions(), ThreadRunner())  # type: ignore[arg-type]

    return run


@pytest.fixture(scope="module")
def workspace(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The tiny workspace, and in it a second dataset: the same four videos as ten clips of two actions."""
    opened = Workspace.open(copy_workspace(finished_workspace, tmp_path_factory.mktemp("experiments") / "ws"))
    clips = dataset_clips(opened, DATASET)
    records = [
        replace(
            clips[number % 4],
            clip_id=f"{action}-{number}",
            action=action,
            split="train" if number < 2 else "test",
            score=float(30 + 7 * number),
        )
        for action in ("high", "low")
        for number in range(5)
    ]
    opened.datasets.add(DatasetInfo(TWO, "table", str(opened.root)), Listing(tuple(records)))
    return opened


@pytest.fixture(scope="module")
def record(workspace: Workspace) -> dict[str, Any]:
    cells = expand(Matrix.model_validate(MATRIX), [], dataset_actions(workspace, TWO))
    return run_matrix(workspace, "mine.yaml", TWO, cells, runner(workspace, TWO))


@pytest.fixture(scope="module")
def standing(workspace: Workspace) -> Iterator[str]:
    """The tiny dataset's run again, with tubes that stand still."""
    TRACKERS["standing"] = TrackerEntry(f"{__name__}:StandingTracker")
    run = find_run(workspace, next(path.parent.name for path in sorted(workspace.runs.glob("2*/run.json"))))
    track = run.config.track.model_copy(update={"tracker": "standing"})
    yield runner(workspace, DATASET)(run.config.model_copy(update={"track": track})).run_id
    del TRACKERS["standing"]


def test_cells_share_all_that_they_can(record: dict[str, Any]) -> None:
    changes = [cell["changes"] for cell in record["cells"]]
    assert changes == [{"train.actions": [action], "train.seed": seed} for action in ("high", "low") for seed in (0, 1)]
    assert [cell["why"] for cell in record["cells"]] == [None] * 4
    computed = [cell["computed"] for cell in record["cells"]]
    assert all(sum(one[stage] for stage in STAGE_NAMES[:4]) == 0 for one in computed)  # of the tiny dataset's run
    assert [one["pack"] for one in computed] == [1, 0, 0, 0]
    assert [one["train"] for one in computed] == [1, 1, 1, 1]


def test_one_model_an_action_makes_one_row(workspace: Workspace, record: dict[str, Any]) -> None:
    """The joined figure of each seed is the Fisher mean of what its two runs say of their own action."""
    rows = {row["action"]: row for row in record["rows"] if (row["weights"], row["metric"]) == ("last", "spearman")}
    assert {row["contender"] for row in rows.values()} == {PER_ACTION}
    runs = {(c["changes"]["train.actions"][0], c["changes"]["train.seed"]): c["run_id"] for c in record["cells"]}
    for seed in (0, 1):
        rhos = []
        for action in ("high", "low"):
            table = find_run(workspace, runs[action, seed]).predictions().query("weights == 'last'")
            assert set(table["action"]) == {action}
            rhos.append(scipy.stats.spearmanr(table["predicted"], table["true"]).statistic)
            assert rows[action]["values"][seed] == pytest.approx(rhos[-1])
        limit = 1 - 1e-6
        joined = np.tanh(np.mean(np.arctanh(np.clip(rhos, -limit, limit))))
        assert rows["all"]["values"][seed] == pytest.approx(joined)
    assert rows["all"]["mean"] == pytest.approx(np.mean(rows["all"]["values"]))
    assert rows["all"]["sd"] == pytest.approx(np.std(rows["all"]["values"], ddof=1))


def test_the_folder_holds_the_table(workspace: Workspace, record: dict[str, Any]) -> None:
    folder = workspace.runs / record["experiment_id"]
    assert read_record(folder / "experiment.json") == record
    with (folder / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(record["rows"])
    assert {row["seeds"] for row in table} == {"2"}


def test_garbage_collection_keeps_an_experiment_whole(workspace: Workspace, record: dict[str, Any]) -> None:
    used = {find_run(workspace, cell["run_id"]).keys["train"][""] for cell in record["cells"]}
    assert len(used) == 4
    assert not used & {one.key for one in find_garbage(Workspace(workspace.root), 1)}


def test_compare_an_experiment_with_a_run_of_it(workspace: Workspace, record: dict[str, Any]) -> None:
    one = record["cells"][0]["run_id"]
    found = compare(workspace, [record["experiment_id"], one], Question(repetitions=200))
    assert [contender["label"] for contender in found["contenders"]] == [PER_ACTION, one]
    assert found["clips"] == {"high": 3}  # the run knows one action only
    assert any("3 of 6 clips are left out" in note for note in found["notes"])
    both, single = found["metrics"]["mse"]
    table = find_run(workspace, one).predictions().query("weights == 'last'")
    error = ((table["predicted"] - table["true"]) ** 2).mean()
    assert single["figures"]["high"]["value"] == pytest.approx(error)
    difference = single["differences"]["high"]
    assert difference["value"] == pytest.approx(error - both["figures"]["high"]["value"])
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert single["permutation_test"]["over"] == "seeds and clips"
    assert "spread of seeds" in single["wilcoxon_test"]["reason"]
    assert found["correction"] == {"method": "Holm", "comparisons": 1}
    assert found["tubes"] == []
    assert any("there are none for one of adapter 'table'" in note for note in found["notes"])


def test_another_tracker(workspace: Workspace, standing: str) -> None:
    """Overlap and size of the tubes by hand, from the arrays themselves."""
    first = next(path.parent.name for path in sorted(workspace.runs.glob("2*/run.json")))
    found = compare(workspace, [first, standing], Question(repetitions=200))
    [row] = found["tubes"]
    assert (row["trackers"], row["clips"]) == (["mil", "standing"], 1)
    runs = [find_run(workspace, name) for name in (first, standing)]
    clip = next(iter(runs[0].predictions().query("split == 'test'")["clip_id"]))
    masks = [workspace.store.read("masks", run.keys["masks"][clip]).arrays["mask"].sum() for run in runs]
    assert row["size"] == [float(size) for size in masks]
    assert row["size_difference"]["value"] == masks[1] - masks[0]
    moving = workspace.store.read("track", runs[0].keys["track"][clip]).arrays["quads"][0]
    still = moving[0]
    overlaps = []
    for quad in moving:  # both are upright rectangles
        low, high = np.maximum(quad[0], still[0]), np.minimum(quad[2], still[2])
        both = np.prod(np.clip(high - low, 0, None))
        overlaps.append(both / (np.prod(quad[2] - quad[0]) + np.prod(still[2] - still[0]) - both))
    assert row["iou"]["value"] == pytest.approx(np.mean(overlaps), abs=1e-4)
    assert 0 < row["iou"]["value"] < 1
    assert row["truth_iou_difference"]["value"] == pytest.approx(row["truth_iou"][1] - row["truth_iou"][0])


def test_what_another_tracker_did_is_one_table(
    workspace: Workspace, standing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Score and tubes of the new tracker beside those of the old one, as `compare` prints them."""
    monkeypatch.setattr(console.out, "width", 160)
    first = next(path.parent.name for path in sorted(workspace.runs.glob("2*/run.json")))
    words = ["compare", first, standing, "-w", str(workspace.root), "--repetitions", "100"]
    record = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert record == json.loads(json.dumps(compare(workspace, [first, standing], Question(repetitions=100))))
    shown = CliRunner().invoke(app, words).output
    assert f"{standing} against {first}" in shown
    cells = {
        line.strip("│").split("│")[0].strip(): [cell.strip() for cell in line.strip("│").split("│")[1:]]
        for line in shown.partition("against")[2].splitlines()
        if "│" in line
    }
    mse, [tubes] = record["metrics"]["mse"], record["tubes"]
    before, after = (row["figures"]["all"]["value"] for row in mse)
    assert cells["mse"][:2] == [f"{before:.4f}", f"{after:.4f}"]
    assert cells["mse"][2].startswith(f"{mse[1]['differences']['all']['value']:+.4f} [")
    assert cells["tube size, positions"][:2] == [f"{size:.0f}" for size in tubes["size"]]
    assert cells["IoU of the two tubes"][2].startswith(f"{tubes['iou']['value']:.4f} [")
    assert cells["IoU with the truth"][:2] == [f"{overlap:.4f}" for overlap in tubes["truth_iou"]]
    # One test clip has no order: no correlation, no test of it, and both say why.
    assert cells["spearman"][:4] == ["–", "–", "–", "–"]
    assert {(one["contender"], one["metric"]) for one in record["undefined"]} >= {(first, "spearman")}
    assert f"spearman of {first}, " in shown
    assert f": undefined: {record['undefined'][0]['reason']}" in shown
    assert "no test of spearman: the metric has no value for one of the two." in shown


def test_published_figures_stand_beside_a_dataset_of_their_kind(
    workspace: Workspace, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.out, "width", 200)
    other = Workspace(workspace.root)
    clips = other.datasets.clips(TWO)
    other.datasets.add(DatasetInfo(TWO, "aqa7", str(workspace.root)), Listing(tuple(clips)))
    try:
        words = ["compare", record["experiment_id"], "-w", str(workspace.root), "--repetitions", "100"]
        shown = CliRunner().invoke(app, words)
        assert shown.exit_code == 0, shown.output
        assert "TPT (published)" in shown.output
        assert "0.8476" in shown.output
        told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
        assert {"TSA-Net", "NL-Net", "USDL", "JRG", "CoRe", "TPT"} <= {row["method"] for row in told["published"]}
        assert "not known here" not in shown.output
        assert [table["table"] for table in told["paper"]] == ["Table 1", "Table 2", "Table 3"]
        assert all(table["caption"] in shown.output for table in told["paper"])
    finally:
        other.datasets.add(DatasetInfo(TWO, "table", str(workspace.root)), Listing(tuple(clips)))


def of_network(contender: Contender, label: str, **model: Any) -> Contender:
    """The same runs as if their network had been another."""
    seeds = tuple(
        tuple(
            replace(run, config=run.config.model_copy(update={"model": run.config.model.model_copy(update=model)}))
            for run in runs
        )
        for runs in contender.seeds
    )
    return Contender(label, seeds)


def test_the_papers_tables_have_ours_beside(workspace: Workspace, record: dict[str, Any]) -> None:
    """Table 3: cost an action from the very masks, decrease, change in correlation; Table 5: ×1, ×2, ×3 and NL."""
    [tube] = find_contenders(workspace, record["experiment_id"])
    contenders = [
        of_network(tube, "dense", attention="nonlocal"),
        *(of_network(tube, f"tube {count}", stacks=count) for count in (1, 2, 3)),
    ]
    rhos = {"dense": (0.9, 0.5), "tube 1": (0.8, 0.6), "tube 2": (0.7, 0.6), "tube 3": (0.6, 0.6)}
    spearman = [
        {"figures": {action: {"value": rho} for action, rho in zip(("diving", "all"), both, strict=True)}}
        for both in rhos.values()
    ]
    clips = sorted(tube.predictions("last", "test")[0]["clip_id"])
    tables = {
        table["table"]: table
        for adapter in ("aqa7", "mtl_aqa")
        for table in paper_layout(workspace, adapter, contenders, {"spearman": spearman}, {"diving": clips})
    }
    keys = {key: value for run in tube.seeds[0] for key, value in run.keys["masks"].items()}
    masks = [workspace.store.read("masks", keys[clip]).arrays["mask"] for clip in clips]
    channels = attention_form(tube.first.config.model, Path()).channels
    each = 2 * channels * (channels // 2) + channels // 2 + 3 * channels
    dense, own = (float(np.mean(sizes)) * each for sizes in ([m.size for m in masks], [m.sum() for m in masks]))
    three = {(row["contender"], row["name"]): row["values"] for row in tables["Table 3"]["ours"]}
    assert set(three) == {(f"tube {n}", name) for n in (1, 2, 3) for name in ("Diving", "Average")}
    assert three["tube 1", "Diving"] == pytest.approx([dense / 1e9, own / 1e9, 100 * (own / dense - 1), -0.1], abs=1e-6)
    assert three["tube 1", "Average"][3] == pytest.approx(0.1)
    five = {row["network"]: row["values"] for row in tables["Table 5"]["ours"]}
    assert five["NL-Net"] == [0.5, None, pytest.approx(dense / 1e9, abs=2e-9)]
    assert [five[name][2] for name in ("TSA-Net", "TSAx2-Net", "TSAx3-Net")] == pytest.approx(
        [n * own / 1e9 for n in (1, 2, 3)], abs=2e-9
    )
    assert [row["name"] for row in tables["Table 5"]["printed"]] == ["NL-Net", "TSA-Net", "TSAx2-Net", "TSAx3-Net"]
    assert paper_layout(workspace, "table", contenders, {"spearman": spearman}, {"diving": clips}) == []


def test_what_cannot_be_compared_is_told(workspace: Workspace, record: dict[str, Any], standing: str) -> None:
    with pytest.raises(CatalogError, match="different datasets"):
        compare(workspace, [standing, record["experiment_id"]], Question())
    with pytest.raises(CatalogError, match="no predictions of split 'train'"):
        compare(workspace, [standing], Question(split="train"))
    with pytest.raises(ConfigError, match="'last' and 'best'"):
        compare(workspace, [standing], Question(weights="first"))
    with pytest.raises(CatalogError, match="no run 'nothing'"):
        find_contenders(workspace, "nothing")
    a = pd.DataFrame({"clip_id": ["x", "y"], "action": "dive", "true": [1.0, 2.0], "predicted": [1.0, 2.0]})
    with pytest.raises(CatalogError, match="label of clip 'y' was changed between a and b"):
        align(["a", "b"], [[a], [a.assign(true=[1.0, 3.0])]])
    with pytest.raises(CatalogError, match="no labelled clip in common"):
        align(["a", "b"], [[a], [a.assign(clip_id=["p", "q"])]])


def test_a_cell_that_fails_does_not_stop_the_others(workspace: Workspace) -> None:
    """Without a validation split there is nothing to choose the epoch on; the other cell runs."""
    values = MATRIX | {"matrix": {"train.select_on": ["validation", "test"], "train.actions": [["high"]]}}
    cells = expand(Matrix.model_validate(values), [], [])
    record = run_matrix(workspace, "mine.yaml", TWO, cells, runner(workspace, TWO))
    assert "train.select_on" in record["cells"][0]["why"]
    assert record["cells"][1]["why"] is None
    assert record["cells"][1]["computed"]["train"] == 0  # as in the first experiment
    assert {row["contender"] for row in record["rows"]} == {'train.select_on=test, train.actions=["high"]'}


def test_a_seed_without_one_of_its_actions_is_left_out() -> None:
    def cell(action: str, seed: int, run_id: str | None) -> dict[str, Any]:
        changes = {"train.actions": [action], "train.seed": seed}
        return {"changes": changes, "per_action": True, "run_id": run_id}

    cells = [cell("a", 0, "r1"), cell("b", 0, "r2"), cell("a", 1, "r3"), cell("b", 1, None)]
    assert group_cells(cells) == {PER_ACTION: [["r1", "r2"]]}
    apart = [{**one, "per_action": False} for one in cells[:2]]
    assert group_cells(apart) == {'train.actions=["a"]': [["r1"]], 'train.actions=["b"]': [["r2"]]}


VARIED = {
    "preset": "demo",
    "variants": {"plain": {"model.attention": "none"}, "two blocks": {"model.stacks": 2}},
    "matrix": {"train.seed": [0, 1]},
}


def test_seeds_of_several_experiments_are_joined(workspace: Workspace, record: dict[str, Any]) -> None:
    """Equal but for the seed: one row. The same name with another config stays a row of its own."""
    [whole] = find_contenders(workspace, record["experiment_id"])
    parts = [Contender(PER_ACTION, (seed,)) for seed in whole.seeds]
    [joined] = join_seeds([*parts, parts[0]])
    assert joined.seeds == whole.seeds
    run = whole.first
    masks = run.config.masks.model_copy(update={"tau": 0.3})
    other = replace(run, config=run.config.model_copy(update={"masks": masks}))
    assert [len(one.seeds) for one in join_seeds([whole, Contender(PER_ACTION, ((other,),))])] == [2, 1]
    twice = compare(workspace, [record["experiment_id"]] * 2, Question(repetitions=100))
    assert [len(one["seeds"]) for one in twice["contenders"]] == [2]


def test_variants_are_combined_with_the_matrix() -> None:
    cells = expand(Matrix.model_validate(VARIED), ["model.stacks=3", "train.epochs=5"], [])
    assert [cell.shown for cell in cells] == [
        "plain, train.seed=0", "two blocks, train.seed=0", "plain, train.seed=1", "two blocks, train.seed=1"
    ]  # fmt: skip
    assert [(c.config.model.attention, c.config.model.stacks, c.config.train.epochs) for c in cells[:2]] == [
        ("none", 3, 5), ("tsa", 2, 5)
    ]  # fmt: skip
    told = [{"variant": c.variant, "changes": dict(c.changes), "per_action": False, "run_id": c.shown} for c in cells]
    assert group_cells(told) == {
        "plain": [["plain, train.seed=0"], ["plain, train.seed=1"]],
        "two blocks": [["two blocks, train.seed=0"], ["two blocks, train.seed=1"]],
    }
    more = group_cells([one | {"changes": one["changes"] | {"masks.tau": 0.3}} for one in told])
    assert list(more) == ["plain, masks.tau=0.3", "two blocks, masks.tau=0.3"]


def test_variants_that_do_not_fit_are_refused() -> None:
    twice = VARIED | {"variants": {"late": {"train.seed": 7}}}
    with pytest.raises(ConfigError, match=r"variants: late: train\.seed varies in the matrix already"):
        expand(Matrix.model_validate(twice), [], [])
    wrong = VARIED | {"variants": {"plain": {"model.attentoin": "none"}}}
    with pytest.raises(ConfigError, match=r"variants: plain: Unknown key 'model\.attentoin'"):
        expand(Matrix.model_validate(wrong), [], [])


def test_another_row_as_the_baseline(workspace: Workspace, record: dict[str, Any]) -> None:
    name, one = record["experiment_id"], record["cells"][0]["run_id"]
    usual, turned = (
        compare(workspace, [name, one], Question(repetitions=100, baseline=label)) for label in (PER_ACTION, one)
    )
    assert [row["label"] for row in turned["contenders"]] == [one, PER_ACTION]
    there, back = (found["metrics"]["mse"][1]["differences"]["all"]["value"] for found in (usual, turned))
    assert there == pytest.approx(-back)
    with pytest.raises(CatalogError, match=f"no row 'nobody'; rows: {PER_ACTION}; {one}"):
        compare(workspace, [name, one], Question(baseline="nobody"))


def test_matrix_files(tmp_path: Path) -> None:
    parts = ("", "_centred", "_distant", "_pixels", "_relation", "_relation_perceptron", "_tubes")
    assert matrix_names() == ["aqa7_six", "aqa7_table1", "mtl_aqa_table4", *(f"procedural{part}" for part in parts)]
    six = expand(load_matrix("aqa7_six"), [], ["diving", "gym_vault"])
    assert [cell.config.train.actions for cell in six] == [("diving",), ("gym_vault",)]
    assert {cell.config.model.backbone for cell in six} == {"i3d"}

    def fails(text: str) -> str:
        path = tmp_path / "matrix.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError) as told:
            expand(load_matrix(str(path)), [], ["a"])
        return str(told.value)

    demo: dict[str, Any] = {"preset": "demo"}
    assert "masks.tau" in fails(yaml.safe_dump(demo | {"matrix": {"masks.tau": [0.5, 7]}}))
    assert "did you mean 'masks.tau'" in fails(yaml.safe_dump(demo | {"matrix": {"masks.taus": [0.5]}}))
    assert "list of values" in fails(yaml.safe_dump(demo | {"matrix": {"masks.tau": "0.5"}}))
    assert "matrix" in fails("preset: demo")
    assert "not YAML" in fails("a: [")
    with pytest.raises(ConfigError, match="no matrix or file 'seven'"):
        load_matrix("seven")


@pytest.mark.slow
def test_the_experiment_command_prints_its_record(
    workspace: Workspace, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_cell = runner(workspace, TWO)
    monkeypatch.setattr(model_cli, "_run", lambda config, *_: run_cell(config))
    matrix = tmp_path / "mine.yaml"
    matrix.write_text(yaml.safe_dump(MATRIX))
    words = ["experiment", str(matrix), "--dataset", TWO, "-w", str(workspace.root)]
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    kept = workspace.runs / told["experiment_id"] / "experiment.json"
    assert told == read_record(kept)
    assert {row["contender"] for row in told["rows"]} == {row["contender"] for row in record["rows"]}
    shown = CliRunner().invoke(app, words).stdout
    assert all(row["contender"] in shown for row in told["rows"])
    assert "compare     tubeflow compare exp-" in shown
