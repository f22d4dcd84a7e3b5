"""The procedural bench: studies fit their matrices, costs are those of the tubes, the table says what was run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_workspace import DATASET, SETTINGS, ThreadRunner, copy_workspace

from benchmarks.procedural_aqa import (
    AGAINST_PLAIN,
    GPU,
    PLAIN,
    STUDIES,
    TSA,
    attention_macs,
    baseline_of,
    experiments,
    markdown,
    prepare,
    splash_ranks,
    table,
)
from data_catalog.catalog import CatalogError, DatasetInfo, Workspace
from data_catalog.datasets.records import Listing
from flows.clips import dataset_clips
from flows.config import PipelineConfig, load_config
from flows.contenders import Contender
from flows.datasets import ProceduralSpec
from flows.execute import RunOptions, execute
from flows.experiment import Matrix, expand, load_matrix, run_matrix
from flows.finished import FinishedRun
from flows.stages import STAGE_NAMES
from models.flops import attention_cost

CHANNELS = 112  # of i3d_small at its cut


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


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.dataset)
def test_matrices_name_the_files_that_the_study_makes(study: Any) -> None:
    cells = expand(load_matrix(study.matrix), [], ["diving"])
    named = {cell.config.track.weights for cell in cells if cell.config.track.tracker == "published"}
    assert named == set(study.tubes)
    assert len({cell.config.train.seed for cell in cells}) >= 3
    rows = {cell.variant for cell in cells}
    assert {PLAIN, TSA} <= rows
    assert {cell.config.model.backbone for cell in cells} == {"i3d_small"}
    large = [cell.config for cell in expand(load_matrix(study.matrix), GPU, ["diving"])]
    assert {(one.model.backbone, one.pack.input_size, len(one.masks.starts)) for one in large} == {("i3d", 224, 10)}
    assert study.spec.distractors >= 1


def test_the_first_study_asks_all_of_its_questions() -> None:
    rows = {cell.variant: cell.config for cell in expand(load_matrix("procedural"), [], ["diving"])}
    assert set(AGAINST_PLAIN) <= set(rows)
    assert [rows[f"TSA-Net{times}"].model.stacks for times in ("", " x2", " x3")] == [1, 2, 3]
    assert rows["NL-Net"].model.attention == "nonlocal"
    assert rows["TSA-Net, released geometry"].masks.geometry == "released"
    assert {config.masks.tau for config in rows.values()} == {0.25, 0.5, 0.75}
    assert {config.track.tracker for config in rows.values()} == {"published", "mil", "nano"}


def test_every_row_has_its_baseline() -> None:
    assert baseline_of(PLAIN) is None
    assert {baseline_of(label) for label in AGAINST_PLAIN} == {PLAIN}
    assert baseline_of("TSA-Net, tau 0.25") == TSA


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


def test_splash_ranks_by_hand(tmp_path: Path) -> None:
    """Own splashes rank the three held-out clips exactly; with the other's mixed in, two change places."""
    seen = {"a": (0.1, 0.9), "b": (0.2, 0.1), "c": (0.8, 0.4), "trained": (0.9, 0.0)}
    clips = {
        name: {"faults": {"splash": own}, "distractors": [{"splash": other}]} for name, (own, other) in seen.items()
    }
    (tmp_path / "dataset.json").write_text(json.dumps({"clips": clips}))
    rows = ["clip_id,split,score", "a,test,90", "b,test,80", "c,test,20", "trained,train,99"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    own, mean = splash_ranks(tmp_path)
    assert own == pytest.approx(1.0)
    assert mean == pytest.approx(0.5)  # 0.5, 0.15 and 0.6: the order b, a, c


def test_markdown() -> None:
    assert markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


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
        "variants": {PLAIN: {"model.attention": "none"}, TSA: {}, "TSA-Net, tau 0.25": {"masks.tau": 0.25}},
        "matrix": {"train.seed": [0]},
    }

    def run(config: PipelineConfig) -> Any:
        fresh = Workspace.open(workspace.root)
        return execute(config, "eight", fresh, STAGE_NAMES, RunOptions(), ThreadRunner())  # type: ignore[arg-type]

    cells = expand(Matrix.model_validate(matrix), [], ["diving"])
    record = run_matrix(workspace, "procedural", "eight", cells, run)
    study = SimpleNamespace(matrix="procedural")
    names = experiments(workspace, study)  # type: ignore[arg-type]
    assert names == [record["experiment_id"]]
    head, *body = table(workspace, names, 100)
    rows = {line[0]: dict(zip(head, line, strict=True)) for line in body}
    assert list(rows) == [PLAIN, TSA, "TSA-Net, tau 0.25"]
    assert [rows[name]["against"] for name in rows] == ["", PLAIN, TSA]
    assert all(row["seeds"].endswith("(± –)") for row in rows.values())
    assert rows[PLAIN]["positions"] == "0"
    assert int(rows["TSA-Net, tau 0.25"]["positions"]) > int(rows[TSA]["positions"]) > 0
    mean = {
        row["contender"]: row["mean"]
        for row in record["rows"]
        if (row["weights"], row["action"], row["metric"]) == ("last", "all", "spearman")
    }
    for name, value in mean.items():
        assert rows[name]["Spearman"].startswith(f"{value:.3f} [")
    assert rows[TSA]["difference"].startswith(f"{mean[TSA] - mean[PLAIN]:+.3f} [")
    assert 0 < float(rows[TSA]["p"]) <= 1
