"""The papers' presets: every published setting is written in them, and each runs to its report on its own layout."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from data_catalog.catalog import Workspace
from data_catalog.datasets.aqa7 import ACTIONS
from data_catalog.synthetic.sport import make_dataset
from flows.config import PRESETS, PipelineConfig, load_config
from flows.datasets.ingest import ingest
from flows.execution.execute import RunOptions, execute
from flows.experiments.matrix import MATRICES
from flows.runs.clip_tube import scored_starts
from flows.runs.summary import RunSummary
from flows.stages import STAGE_NAMES
from models.metrics.scores import FISHER_LIMIT
from tests.support.official_layouts import write_whole_aqa7, write_whole_frfs, write_whole_mtl
from tests.support.prefect_home import prefect_home
from tests.support.tiny_workspace import ThreadRunner

# Of the paper (10 segments of 16 out of 103 frames, Adam's settings, epochs) and of the loaders that it builds on.
EVERYWHERE = {
    "normalize.width": 455, "normalize.height": 256, "masks.segment_length": 16, "masks.tau": 0.5, "masks.crop": 224,
    "masks.grid": [14, 14], "masks.stride": 4, "pack.input_size": 224, "model.backbone": "i3d",
    "model.split": "mixed_4e", "model.weights": "i3d_charades", "model.attention": "tsa", "model.stacks": 1,
    "train.batch": 4, "train.lr": 1e-4, "train.weight_decay": 1e-5, "train.schedule": "constant",
}  # fmt: skip
TEN = [0, 10, 20, 30, 40, 50, 60, 70, 80, 87]
SCORES = {"masks.starts": TEN, "train.epochs": 100, "train.flip": 0.5, "train.shift": [0, 6]}
PUBLISHED = {
    "aqa7": {**EVERYWHERE, **SCORES, "normalize.length": 103, "model.head": "usdl",
             "train.score_range": "all"},
    "mtl_aqa": {**EVERYWHERE, **SCORES, "normalize.length": 109, "normalize.window": "tail",
                "model.head": "regression", "train.difficulty": True, "train.score_range": [0, 30]},
    "fr_fs": {**EVERYWHERE, "masks.starts": [0, 16, 32, 48, 64, 80, 87], "model.head": "classification",
              "train.epochs": 20, "normalize.length": 103},
}  # fmt: skip
LAYOUTS = {"aqa7": write_whole_aqa7, "mtl_aqa": write_whole_mtl, "fr_fs": write_whole_frfs}
# Size alone: the network, its input, the frames, the epochs; and tubes from a file, as nothing may be fetched here.
SMALL = (
    "model.backbone=i3d_small", "model.split=", "model.weights=", "pack.input_size=112", "normalize.width=228",
    "normalize.height=128", "masks.crop=112", "train.epochs=1", "engine.device=cpu", "track.tracker=published",
)  # fmt: skip
SHORT = ("normalize.length=32", "masks.starts=[0, 10]", "train.loggers=[csv]")  # two of the segments
HELD_OUT = 3


@pytest.mark.parametrize("preset", PUBLISHED)
def test_every_published_setting_is_written_down(preset: str) -> None:
    written = yaml.safe_load((PRESETS / f"{preset}.yaml").read_text())
    found = {name: written.get(name.partition(".")[0], {}).get(name.partition(".")[2]) for name in PUBLISHED[preset]}
    assert found == PUBLISHED[preset]
    read = load_config(preset).model_dump(mode="json")
    for section, fields in written.items():
        for field, value in fields.items():
            assert read[section][field] == value, (section, field)


@pytest.mark.parametrize("preset", PUBLISHED)
def test_what_a_preset_says_of_several_blocks_can_be_asked_for(preset: str) -> None:
    (line,) = [line for line in (PRESETS / f"{preset}.yaml").read_text().splitlines() if "blocks (≠ ours" in line]
    config = load_config(preset, re.findall(r"-o (\S+)", line))
    assert (config.model.stacks, config.train.clip_gradient) == (2, 1)
    assert config.model == load_config(preset).model.model_copy(update={"stacks": 2})  # Eq. 4-6 as they are


def test_a_shift_finds_its_frames() -> None:
    """The last segment ends at frame 103; the dives of MTL-AQA have the 6 frames that a shift may reach."""
    config = load_config("mtl_aqa")
    assert max(config.masks.starts) + config.masks.segment_length + config.train.shift[1] == config.normalize.length
    assert load_config("aqa7").train.shift == (0, 6)


def starts_of(config: PipelineConfig) -> tuple[int, ...]:
    return scored_starts(config.masks, config.normalize.length, config.train.eval_shift)


def test_segments_are_told_where_test_clips_are_read() -> None:
    """`eval_shift` later; AQA-7's clips end with frame 102, and so does what is said of their last segment."""
    dives, seven = (load_config(preset) for preset in ("mtl_aqa", "aqa7"))
    assert starts_of(dives) == tuple(start + 3 for start in TEN)
    assert starts_of(seven) == (*(start + 3 for start in TEN[:-1]), 87)
    assert starts_of(load_config("fr_fs")) == (0, 16, 32, 48, 64, 80, 87)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven procedural dives that stand in for everything."""
    folder = tmp_path_factory.mktemp("clips")
    make_dataset(folder, kind="diving", clips=7, seed=1, size="320x240", workers=1)
    return folder


def headings(report: Path) -> list[str]:
    return [unescape(text) for text in re.findall(r"<h2[^>]*>([^<]*)</h2>", report.read_text())]


def text_of(report: Path) -> str:
    return unescape(re.sub(r"<[^>]*>", "", report.read_text()))


def check_report(path: Path, predicted: int, *, classes: bool) -> None:
    """Every section that such a run can fill, and in it what a stranger would look for."""
    wanted = ["Metrics", "Stages", "Classes" if classes else "Predicted against true", "Learning curves", "Tubes",
              "Contact sheets", "Cost", "Settings", "Lineage"]  # fmt: skip
    found = headings(path)
    assert [name for name in wanted if name not in found] == []
    assert "Score over time" in found
    assert ("probability of label 1" in text_of(path)) == classes
    assert ("true clean landing" in text_of(path)) == classes
    text = path.read_text()
    assert "i3d_small" in text
    assert not re.search(r"\bnan\b", re.sub(r"<svg.*?</svg>|base64,[^\"]*", "", text, flags=re.S), re.I)
    frame = pd.read_parquet(path.parent / "predictions.parquet")
    last = frame[frame["weights"] == "last"]
    assert len(last[last["split"] == "test"]) == predicted
    assert last["predicted"].notna().all()
    links = set(re.findall(r'href="#(clip-[^"]*)"', text))
    assert links
    assert links <= set(re.findall(r'id="(clip-[^"]*)"', text))


def test_fr_fs_on_threads(clips: Path, tmp_path: Path) -> None:
    """The fast form: the engine without a Prefect server, clips a quarter as long."""
    boxes = write_whole_frfs(tmp_path / "FRFS", clips, HELD_OUT)
    workspace = Workspace.open(tmp_path / "w")
    ingest(workspace, "frfs", "fr_fs", tmp_path / "FRFS")
    config = load_config("fr_fs", [*SMALL, *SHORT, f"track.weights={boxes}"])
    summary: RunSummary = execute(config, "frfs", workspace, STAGE_NAMES, RunOptions(), ThreadRunner())  # type: ignore[arg-type]
    assert summary.failures == []
    assert set(summary.metrics["last"]["test"]["all"]) == {"accuracy", "f1", "auc"}
    assert summary.report is not None
    check_report(Path(summary.report), HELD_OUT, classes=True)


@pytest.fixture
def tubeflow(tmp_path: Path) -> Callable[..., Any]:
    """The true command line, as a process of its own; returns what it prints as JSON."""

    def call(*words: str) -> Any:
        environment = os.environ | {"OMP_NUM_THREADS": "2", "PREFECT_HOME": str(prefect_home(tmp_path / "prefect"))}
        command = [sys.executable, "-m", "flows.cli", *words, "--workspace", str(tmp_path / "w")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout) if "--json" in words else done.stdout

    return call


def prepared(preset: str, root: Path, clips: Path, tubeflow: Callable[..., Any], *further: str) -> list[str]:
    """Ingest the layout; returns the options that make the preset small."""
    boxes = LAYOUTS[preset](root, clips, HELD_OUT)
    tubeflow("ingest", preset, "--name", "d", "--root", str(root))
    return [word for override in (*SMALL, f"track.weights={boxes}", *further) for word in ("-o", override)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("preset", ["mtl_aqa", "fr_fs"])
def test_a_preset_from_its_layout_to_its_report(
    preset: str, clips: Path, tmp_path: Path, tubeflow: Callable[..., Any]
) -> None:
    small = prepared(preset, tmp_path / "data", clips, tubeflow)
    summary = tubeflow("run", preset, "--dataset", "d", *small, "--json")
    assert summary["quarantined"] == []
    check_report(Path(summary["report"]), HELD_OUT, classes=preset == "fr_fs")
    assert {stage["hits"] for stage in summary["stages"].values()} == {0}
    again = tubeflow("run", preset, "--dataset", "d", *small, "--json")
    assert sum(stage["computed"] for stage in again["stages"].values()) == 0
    assert again["metrics"] == summary["metrics"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_mtl_aqa_with_judges(clips: Path, tmp_path: Path, tubeflow: Callable[..., Any]) -> None:
    small = prepared("mtl_aqa", tmp_path / "data", clips, tubeflow, *SHORT, "model.head=musdl")
    summary = tubeflow("run", "mtl_aqa", "--dataset", "d", *small, "--json")
    check_report(Path(summary["report"]), HELD_OUT, classes=False)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_six_actions_in_one_command(clips: Path, tmp_path: Path, tubeflow: Callable[..., Any]) -> None:
    # One epoch leaves USDL's most likely bin the same for every clip, and a correlation undefined.
    small = prepared("aqa7", tmp_path / "data", clips, tubeflow, *SHORT, "model.head=regression")
    record = tubeflow("experiment", "aqa7_six", "--dataset", "d", *small, "--json")
    assert [cell["changes"]["train.actions"] for cell in record["cells"]] == [[action] for action in sorted(ACTIONS)]
    computed = [cell["computed"] for cell in record["cells"]]
    assert computed[0]["pack"] == 1
    assert [one["pack"] + one["masks"] + one["normalize"] for one in computed[1:]] == [0] * 5
    for cell in record["cells"]:
        check_report(tmp_path / "w" / "runs" / cell["run_id"] / "report.html", HELD_OUT, classes=False)
    rows = {
        (row["action"], row["metric"]): row["values"][0]
        for row in record["rows"]
        if (row["weights"], row["split"]) == ("last", "test")
    }
    rhos = [rows[action, "spearman"] for action in ACTIONS]
    assert all(rho is not None for rho in rhos)
    drawn_in = [min(max(rho, -FISHER_LIMIT), FISHER_LIMIT) for rho in rhos]
    assert rows["all", "spearman"] == pytest.approx(math.tanh(sum(map(math.atanh, drawn_in)) / 6))
    assert rows["all", "r_l2"] == pytest.approx(sum(rows[action, "r_l2"] for action in ACTIONS) / 6)
    compared = tubeflow("compare", record["experiment_id"], "--json")
    ours = {action: interval["value"] for action, interval in compared["metrics"]["spearman"][0]["figures"].items()}
    assert ours == {action: pytest.approx(rows[action, "spearman"]) for action in (*ACTIONS, "all")}
    theirs = {row["action"]: row["value"] for row in compared["published"] if row["metric"] == "spearman"}
    assert set(theirs) == set(ours)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("layout", "matrix"), [("aqa7", "aqa7_table1"), ("mtl_aqa", "mtl_aqa_table4")])
def test_a_table_of_the_paper_row_by_row(
    layout: str, matrix: str, clips: Path, tmp_path: Path, tubeflow: Callable[..., Any]
) -> None:
    """Each system on one action, and beside the printed row of its name. Three dives say nothing of the figures."""
    small = prepared(layout, tmp_path / "data", clips, tubeflow, *SHORT)
    only = ("--where", "action = 'diving'") if layout == "aqa7" else ()
    table = yaml.safe_load((MATRICES / f"{matrix}.yaml").read_text())
    for fields in table["variants"].values():
        backbone = load_config(fields["preset"]).model.backbone
        if backbone.startswith("c3d"):  # takes the small pack as it is
            fields["model.backbone"] = backbone
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    words = ("experiment", str(tmp_path / "table.yaml"), "--dataset", "d", *only, *small)
    record = tubeflow(*words, "-o", "train.shift=[0, 0]", "-o", "train.eval_shift=0", "--json")
    assert [cell["why"] for cell in record["cells"]] == [None] * len(record["cells"])
    compared = tubeflow("compare", record["experiment_id"], "--json")
    printed = compared["paper"][0]
    ours = {row["contender"]: row["network"] for row in printed["ours"]}
    assert list(ours) == list(ours.values()) == [cell["variant"] for cell in record["cells"]]
    assert set(ours) <= {row["name"] for row in printed["printed"]}
