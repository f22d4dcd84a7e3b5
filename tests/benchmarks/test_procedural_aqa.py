"""The procedural bench: studies fit their matrices, costs are those of the tubes, the table says what was run."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from torch import zeros

from benchmarks.procedural_aqa import GPU, experiments, part_of, wanted
from benchmarks.procedural_causes import Causes, held_out_causes
from benchmarks.procedural_cells import side_by_side
from benchmarks.procedural_plot import draw
from benchmarks.procedural_rates import (
    RATES,
    SEEDS,
    SUFFIX,
    best_rates,
    measured_rates,
    rates_matrix,
    tuned,
    with_rates,
)
from benchmarks.procedural_studies import FEW, STAGE1, STAGE1_LARGE, STUDIES, Stage1, prepare, stage1_config
from benchmarks.procedural_tables import (
    AGAINST_PLAIN,
    PLAIN,
    TSA,
    agreeing,
    attention_macs,
    baseline_of,
    chance,
    difference_rows,
    findings,
    markdown,
    rate_table,
    spread_of,
    tables,
    tracker_files,
    training_time,
    write_block,
)
from data_catalog.catalog import CatalogError, DatasetInfo, Workspace
from data_catalog.datasets.records import Listing
from flows.config import PipelineConfig, load_config
from flows.datasets.clips import dataset_clips
from flows.datasets.ingest import ProceduralSpec
from flows.execution.execute import RunOptions, execute
from flows.experiments.contenders import Contender, find_contenders
from flows.experiments.matrix import Matrix, expand, load_matrix, run_matrix
from flows.runs.finished import FinishedRun, find_run
from flows.stages import IN_ORDER
from models.attention.cost import attention_cost
from models.backbones import build_backbone
from tests.support import REPO
from tests.support.tiny_workspace import DATASET, SETTINGS, ThreadRunner, copy_workspace

CHANNELS = 112  # of i3d_small at its cut
TAU = "TSA-Net, tau 0.25"


def contender(*overrides: str) -> Contender:
    config = load_config("demo", overrides)
    return Contender("one", ((FinishedRun("run", DATASET, config, Path(), {}),),))


def masks() -> list[np.ndarray]:
    """Two clips, 30 and 50 positions of 2 x 4 x 14 x 14."""
    found = []
    for rows in (3, 5):
        mask = np.zeros((2, 4, 14, 14), bool)
        mask[0, 0, :rows, :10] = True
        found.append(mask)
    return found


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_matrices_name_the_files_that_the_study_makes(study: Any) -> None:
    cells = expand(load_matrix(study.matrix), [], ["diving"])
    named = {cell.config.track.weights for cell in cells if cell.config.track.tracker == "published"}
    assert named == set(study.tubes)
    beside = {name for one in STUDIES if one.dataset != study.dataset for name in one.tubes}
    assert not named & beside  # a file holds the tubes of one dataset
    assert study.spec.distractors >= 1
    rows = {cell.variant for cell in cells}
    assert {PLAIN, TSA} <= rows
    assert len({cell.config.train.seed for cell in cells}) >= 3
    assert {cell.config.model.backbone for cell in cells} == {"i3d_small"}
    stage1 = {(cell.config.features.mode, cell.config.model.weights) for cell in cells}
    assert stage1 == {("none", None) if study.stage1 is None else ("cut", study.stage1.file)}
    assert set(study.claims) - {cell.variant for cell in cells} <= {"TSA-Net x3 with norm"}
    large = [cell.config for cell in expand(load_matrix(study.matrix), GPU, ["diving"])]
    assert {(one.model.backbone, one.pack.input_size, len(one.masks.starts)) for one in large} == {("i3d", 224, 10)}
    assert {one.features.mode for one in large} == {"none"}
    assert study.stage1 is None or study.stage1.spec.seed != study.spec.seed


@pytest.mark.parametrize("stage1", [STAGE1, STAGE1_LARGE], ids=lambda one: one.dataset)
def test_stage_1_learns_from_dives_that_nobody_else_sees(stage1: Stage1) -> None:
    config = stage1_config(stage1, 1)
    assert (config.model.attention, config.features.mode, config.train.flip) == ("none", "none", 0)
    assert config.track.weights == f"truth-{stage1.dataset}.json"
    assert not stage1.spec.distractors  # whom a network without a tube could not tell from the judged one


def rows_of(matrix: str) -> dict[str | None, PipelineConfig]:
    return {cell.variant: cell.config for cell in expand(load_matrix(matrix), [], ["diving"])}


def test_all_questions_are_asked() -> None:
    rows = rows_of("procedural")
    assert set(AGAINST_PLAIN) | {PLAIN} <= set(rows)
    assert [rows[f"TSA-Net{times}"].model.stacks for times in ("", " x2", " x3")] == [1, 2, 3]
    assert rows["NL-Net"].model.attention == "nonlocal"
    controls = ("mask", "pointwise", "pool", "channel", "constant")
    for matrix in ("procedural", "procedural_relation"):
        asked = rows_of(matrix)
        assert [asked[name].model.attention for name in controls] == list(controls)
        assert [asked[f"TSA-Net{n} with norm"].model.attention_norm for n in ("", " x2", " x3")] == [True] * 3
    for matrix in ("procedural_distant", "procedural_centred"):
        assert {PLAIN, TSA, "NL-Net", "mask", "pointwise"} <= set(rows_of(matrix))
    assert set(rows_of("procedural_pixels")) == {PLAIN, TSA, "mask", "pointwise"}
    for matrix, head in (("procedural_relation", "linear"), ("procedural_relation_perceptron", "regression")):
        asked = rows_of(matrix)
        assert len(asked[TSA].masks.starts) == 2  # no convolution sees both moments
        assert {row.model.head for row in asked.values()} == {head}
        assert asked[TSA].model.split == "mixed_5c"  # nothing behind the form but the head is learnt
        backbone = build_backbone(asked[TSA].model.backbone, asked[TSA].model.split)
        steps, *grid = backbone.stage1(zeros(1, 3, 16, 112, 112)).shape[2:]
        assert (16 // steps, tuple(grid)) == (asked[TSA].masks.stride, asked[TSA].masks.grid)
    tubes = rows_of("procedural_tubes")
    assert tubes["TSA-Net, softmax"].model.affinity == "softmax"
    assert tubes["TSA-Net, released geometry"].masks.geometry == "released"
    assert {config.masks.tau for config in tubes.values()} == {0.25, 0.5, 0.75}
    assert {config.track.tracker for config in tubes.values()} == {"published", "mil", "nano", "siammask"}
    for row in (PLAIN, TSA):  # the same runs, which are made once
        without_seed = [one.model_dump(exclude={"train": {"seed"}}) for one in (tubes[row], rows[row])]
        assert without_seed[0] == without_seed[1]
    assert rows_of("procedural_distant")["TSA-Net, adaptive tube"].model.attention_options["min_positions"] > 0


def test_a_part_of_a_matrix() -> None:
    part = part_of(load_matrix("procedural"), [7], ["mask", PLAIN])
    cells = expand(part, [], ["diving"])
    assert [(cell.variant, cell.config.train.seed) for cell in cells] == [(PLAIN, 7), ("mask", 7)]
    whole = load_matrix("procedural")
    assert part_of(whole, None, None) == whole
    with pytest.raises(CatalogError, match=r"There is no row 'TSA'; rows: PlainNet"):
        part_of(whole, None, ["TSA"])


def test_every_row_has_its_baseline() -> None:
    assert baseline_of(PLAIN) is None
    assert {baseline_of(label) for label in AGAINST_PLAIN} == {PLAIN}
    assert baseline_of(TAU) == TSA
    assert baseline_of("mask") == TSA


def test_rows_that_carry_a_claim_have_every_seed_and_the_others_a_few() -> None:
    study = STUDIES[0]
    cells = wanted(study, expand(load_matrix(study.matrix), [], ["diving"]))
    seeds: dict[str, list[int]] = {}
    for cell in cells:
        seeds.setdefault(str(cell.variant), []).append(cell.config.train.seed)
    assert {row: len(found) for row, found in seeds.items() if row in study.claims} == dict.fromkeys(study.claims, 10)
    assert {tuple(found) for row, found in seeds.items() if row not in study.claims} == {tuple(range(FEW))}


def test_every_row_has_the_same_budget_and_the_test_clips_no_say() -> None:
    matrix = load_matrix("procedural")
    cells = expand(rates_matrix(matrix), [], ["diving"])
    budget = {row: sorted((c.config.train.lr, c.config.train.seed) for c in cells if c.variant == row)
              for row in tuned(matrix)}  # fmt: skip
    assert {tuple(one) for one in budget.values()} == {tuple(sorted((r, s) for r in RATES for s in SEEDS))}
    fixed = load_matrix("procedural_pixels")  # one for all rows
    assert tuned(fixed) == []
    assert len({fields["train.lr"] for fields in fixed.variants.values()}) == 1
    assert {(c.config.train.validation, c.config.evaluate.splits, c.config.train.selecting) for c in cells} == {
        (0.25, ("validation",), "validation")
    }
    assert not set(SEEDS) & set(matrix.matrix["train.seed"])


def test_the_best_rate_is_the_smaller_of_equals_and_needs_all() -> None:
    measured = {
        "one": {3e-4: 0.2, 1e-3: 0.4, 3e-3: 0.4},
        "unfinished": {3e-4: 0.9},
    }
    assert best_rates(measured) == {"one": 1e-3}
    table = rate_table(measured)
    assert "| one | 0.200 | **0.400** | 0.400 |" in table
    assert "| unfinished | 0.900 | – | – |" in table
    matrix = Matrix(preset="demo", variants={"one": {}, "set": {"train.lr": 0.5}}, matrix={"train.seed": [0]})
    assert with_rates(matrix, {"one": 1e-3}).variants == {"one": {"train.lr": 1e-3}, "set": {"train.lr": 0.5}}
    with pytest.raises(CatalogError, match="No learning rate of 'one' was tuned yet"):
        with_rates(matrix, {})


def test_seeds_in_a_cell() -> None:
    assert spread_of([0.5, None, 0.25], 0.1) == "0.500 – 0.250 (± 0.100)"
    assert spread_of([0.1, 0.2, 0.3, 0.4], 0.05) == "4: 0.100 to 0.400 (± 0.050)"
    assert spread_of([0.1, 0.2, None, 0.4], None) == "4: 0.100 to 0.400, 1 undefined"


def test_costs_are_those_of_the_tubes() -> None:
    once = attention_macs(masks(), contender())
    assert once.positions == 40
    assert once.published == (attention_cost(30, CHANNELS).published + attention_cost(50, CHANNELS).published) // 2
    thrice = attention_macs(masks(), contender("model.stacks=3"))
    assert (thrice.positions, thrice.true) == (40, pytest.approx(3 * once.true, abs=3))
    assert attention_macs(masks(), contender("model.attention=none")).true == 0
    dense = attention_macs(masks(), contender("model.attention=nonlocal"))
    assert dense.true == attention_cost(2 * 4 * 14 * 14, CHANNELS).true
    grown = attention_macs(masks(), contender("model.attention_options={min_positions: 45}"))
    assert 45 < grown.positions < 200


def test_causes_by_hand(tmp_path: Path) -> None:
    """Own splashes rank the three held-out clips exactly; with the other's mixed in, two change places."""
    seen = {"a": (0.1, 0.9), "b": (0.2, 0.1), "c": (0.8, 0.4), "trained": (0.9, 0.0)}
    clips = {
        name: {"faults": {"splash": own}, "distractors": [{"splash": other}]} for name, (own, other) in seen.items()
    }
    (tmp_path / "dataset.json").write_text(json.dumps({"clips": clips}))
    rows = ["clip_id,split,score", "a,test,90", "b,test,80", "c,test,20", "trained,train,99"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    splashes = held_out_causes(tmp_path)
    own, mean = splashes.ranks()
    assert own == pytest.approx(1.0)
    assert mean == pytest.approx(0.5)  # 0.5, 0.15 and 0.6: the order b, a, c
    seeds = [
        pd.DataFrame({"clip_id": name, "predicted": 7 + own * seen[name][0] - 10 * seen[name][1]} for name in "cab")
        for own in (-60, -80)
    ]
    assert splashes.slopes(seeds) == pytest.approx((-70, -10))
    for one in clips.values():
        one |= {"agreement": 1 - one["faults"]["splash"], "distractors": [{"agreement": -0.5}]}
    (tmp_path / "dataset.json").write_text(json.dumps({"clips": clips}))
    agreements = held_out_causes(tmp_path, "agreement")
    assert agreements.ranks() == pytest.approx((1, 1))  # more of it ranks higher
    assert agreements.others.tolist() == [-0.5] * 3


def test_chances() -> None:
    assert [chance(p) for p in (None, 0.5, 0.0012, 0.0005)] == ["–", "0.500", "0.001", "< 0.001"]


def test_markdown() -> None:
    assert markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_page_gets_its_tables(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- one -->\n<!-- end one -->\n\nkept\n\n<!-- two -->\nold\n<!-- end two -->\n")
    for text in ("x", r"| \1 |"):  # again in the same place, and no text is a pattern
        write_block(page, "one", text)
    write_block(page, "two", "new")
    assert page.read_text() == (
        "# A\n\n<!-- one -->\n\n| \\1 |\n\n<!-- end one -->\n\nkept\n\n<!-- two -->\n\nnew\n\n<!-- end two -->\n"
    )
    with pytest.raises(CatalogError, match="0 places for 'three'"):
        write_block(page, "three", "x")


def test_the_page_of_results_has_a_place_for_every_study(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text((REPO / "docs" / "results.md").read_text())
    for study in STUDIES:
        write_block(page, study.name, "figures")
    assert page.read_text().count("figures\n\n<!-- end ") == len(STUDIES)


def test_prepare_draws_once(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws")
    study = replace(STUDIES[0], spec=ProceduralSpec(clips=1, size="320x240", distractors=1, camera="group"))
    prepare(workspace, study, workers=1)
    files = {path.name: path.stat().st_mtime_ns for path in workspace.weights.glob("*.json")}
    assert set(files) == set(study.tubes)
    prepare(Workspace.open(workspace.root), study, workers=1)
    assert {path.name: path.stat().st_mtime_ns for path in workspace.weights.glob("*.json")} == files
    with pytest.raises(CatalogError, match="was not run in this workspace yet"):
        experiments(workspace, study)
    more = replace(study, spec=study.spec.model_copy(update={"held_out": 1}))
    prepare(Workspace.open(workspace.root), more, workers=1)  # grown: drawn again, and so are its tubes
    clips = dataset_clips(Workspace.open(workspace.root), study.dataset)
    assert [(clip.clip_id, clip.split) for clip in clips] == [("diving_0000", "train"), ("diving_0001", "test")]
    assert set(json.loads((workspace.weights / "truth.json").read_text())) == {"diving_0000", "diving_0001"}


@pytest.mark.slow
def test_table_of_a_real_experiment(finished_workspace: Path, tmp_path: Path) -> None:
    """Three rows, six held-out clips: figures of the right runs in the right places."""
    workspace = Workspace.open(copy_workspace(finished_workspace, tmp_path / "ws"))
    clips = dataset_clips(workspace, DATASET)
    records = [
        replace(clips[n % 4], clip_id=f"clip-{n}", split="train" if n < 2 else "test", score=30.0 + 7 * n)
        for n in range(8)
    ]
    workspace.datasets.add(DatasetInfo("eight", "table", str(workspace.root)), Listing(tuple(records)))
    matrix = {
        "preset": "demo",
        "override": [*SETTINGS, "train.epochs=1"],
        "variants": {PLAIN: {"model.attention": "none"}, TSA: {}, TAU: {"masks.tau": 0.25}},
        "matrix": {"train.seed": [0]},
    }

    def run(config: PipelineConfig) -> Any:
        fresh = Workspace.open(workspace.root)
        return execute(config, "eight", fresh, IN_ORDER, RunOptions(), ThreadRunner())  # type: ignore[arg-type]

    cells = expand(Matrix.model_validate(matrix), [], ["diving"])
    record = run_matrix(workspace, "procedural", "eight", cells, run)
    study = SimpleNamespace(matrix="procedural", name="eight")
    names = experiments(workspace, study)  # type: ignore[arg-type]
    assert names == [record["experiment_id"]]
    found = findings(workspace, names, 100)
    text = tables(found)
    assert text.startswith("6 held-out clips, 1 epochs.")
    seconds = sum(
        row.seconds for row in workspace.index.rows.values() if (row.stage, row.dataset) == ("train", "eight")
    )
    trained = training_time(workspace, [*found.contenders, *found.contenders])  # what is named twice was made once
    assert trained.startswith(f"3 trainings of one thread each, {timedelta(seconds=round(seconds))} hours")
    figures, differences = (table_rows(part) for part in text.split("\n\n")[1:3])
    assert list(figures) == [PLAIN, TSA, TAU]
    assert {name: row["less"] for name, row in differences.items()} == {TSA: PLAIN, TAU: TSA}
    assert "±" not in text  # of a single seed
    assert figures[PLAIN]["positions"] == "0"
    assert int(figures[TAU]["positions"]) > int(figures[TSA]["positions"]) > 0
    mean = {
        row["contender"]: row["mean"]
        for row in record["rows"]
        if (row["weights"], row["action"], row["metric"]) == ("last", "all", "spearman")
    }
    for name, value in mean.items():
        assert figures[name]["Spearman"].startswith(f"{value:.3f} [")
        assert figures[name]["seeds"] == f"{value:.3f}"
    assert differences[TSA]["Spearman"].startswith(f"{mean[TSA] - mean[PLAIN]:+.3f} [")
    assert 0 < float(differences[TSA]["p"]) <= 1
    assert differences[TSA]["IoU with the true tubes"] == ""  # the same tubes
    assert differences[TAU]["IoU with the true tubes"] == ""  # of clips without truth
    key = next(iter(find_run(workspace, record["cells"][0]["run_id"]).keys["track"].values()))
    contenders = find_contenders(workspace, names[0])
    assert tracker_files(workspace, contenders) == workspace.store.lineage("track", key).weights
    even = np.linspace(0, 1, 6)
    splashes = Causes("splash", tuple(f"clip-{n}" for n in range(2, 8)), even, even[::-1], even * 0 + 0.5, 100 - even)
    widened = table_rows(tables(found, splashes).split("\n\n")[1])
    assert set(widened[TSA]) - set(figures[TSA]) == {"slope, own splash", "other's"}
    draw(found, splashes, tmp_path / "page.png")
    assert cv2.imread(str(tmp_path / "page.png")).std() > 10


@pytest.mark.slow
def test_rates_are_tuned_on_clips_that_train_held_out(finished_workspace: Path, tmp_path: Path) -> None:
    """A tiny form: one row, every rate and seed of the budget, two processes; run again, all of it is there."""
    workspace = Workspace.open(copy_workspace(finished_workspace, tmp_path / "ws"))
    clips = dataset_clips(workspace, DATASET)
    records = [
        replace(clips[n % 4], clip_id=f"clip-{n}", split="train" if n < 12 else "test", score=30.0 + (7 * n) % 40)
        for n in range(16)
    ]
    workspace.datasets.add(DatasetInfo("sixteen", "table", str(workspace.root)), Listing(tuple(records)))
    matrix = Matrix.model_validate(
        {
            "preset": "demo",
            "override": [*SETTINGS, "train.epochs=1", "train.batch=4"],
            "variants": {PLAIN: {"model.attention": "none"}},
            "matrix": {"train.seed": [0]},
        }
    )
    cells = expand(rates_matrix(matrix), [], ["diving"])
    for again in (False, True):
        with side_by_side(cells, "sixteen", workspace.root, 2) as run_cell:
            record = run_matrix(Workspace.open(workspace.root), f"tiny{SUFFIX}", "sixteen", cells, run_cell)
        assert not [cell["why"] for cell in record["cells"] if cell["why"]]
        assert sum(cell["computed"].get("train", 0) for cell in record["cells"]) == (0 if again else len(cells))
    for cell in record["cells"]:
        found = find_run(workspace, str(cell["run_id"])).predictions()
        assert set(found["split"]) == {"validation"}
        assert set(found["clip_id"]) < {f"clip-{n}" for n in range(12)}
    measured = measured_rates(workspace, "tiny")
    assert {row: sorted(rates) for row, rates in measured.items()} == {PLAIN: sorted(RATES)}
    chosen = best_rates(measured)[PLAIN]
    assert measured[PLAIN][chosen] == max(measured[PLAIN].values())


def test_a_trackers_tubes_stand_beside_its_differences() -> None:
    def rows(value: float, p: float | None) -> list[dict[str, Any]]:
        interval = {"value": value, "low": value - 1, "high": value + 1, "undefined": 0}
        return [{"contender": TAU, "differences": {"all": interval}, "permutation_test": {"p": p}}]

    record = {
        "metrics": {"spearman": rows(-0.25, 0.5), "r_l2": rows(2.0, None)},
        "tubes": [{"contender": "another", "truth_iou": [1.0, 0.9]}, {"contender": TAU, "truth_iou": [1.0, 0.456]}],
    }
    one = replace(contender(), label=TAU)
    assert difference_rows([one], {TSA: record}) == [
        (TAU, TSA, "-0.250 [-1.250, +0.750]", "0.500", "+2.00 [+1.00, +3.00]", "–", "0.46")
    ]


def table_rows(markdown_table: str) -> dict[str, dict[str, str]]:
    """Row name → heading → cell; of two headings of one name the first."""
    head, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in markdown_table.splitlines())
    return {cells[0]: dict(reversed(list(zip(head, cells, strict=True)))) for cells in body}


def test_experiments_of_other_settings_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset changed after the first of four; the third has nothing to show."""

    def found(workspace: Any, name: str) -> list[Contender]:
        if name == "empty":
            raise CatalogError("nothing")
        return [contender("train.lr=0.5" if name == "old" else "train.lr=0.1")]

    monkeypatch.setattr("benchmarks.procedural_tables.find_contenders", found)
    assert agreeing(Path(), ["old", "newer", "empty", "newest"]) == ["newer", "newest"]  # type: ignore[arg-type]
