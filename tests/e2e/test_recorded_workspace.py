"""A workspace made by the version before the packages were divided into rooms: this version computes nothing anew.

`record_workspace.py` says how the archive was made. It is unpacked into another folder than it was recorded in, so
one value is changed: the folder that the dataset's videos lie in.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from data_catalog.json_file import read_record, write_record
from data_catalog.tables.schemas import REFERENCES, read_table
from flows.cli.main import app
from flows.datasets.ingest import ingest
from flows.runs.summary import RunSummary
from flows.stages import STAGE_NAMES
from tests.e2e.record_workspace import SPOILT
from tests.support.tiny_workspace import copy_workspace, identities, plan, run

ARCHIVE = Path(__file__).parent / "recorded" / "2ed9472.tar.xz"
DATASET, CORRECTED = "tiny", "diving_0000"
RUNS = {"tsa": "20261129-225042-0433", "none": "20261129-225213-e723"}
CLIPS = ["diving_0000", "diving_0002", "diving_0003", "diving_0004"]  # those whose videos can be read


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace as it was recorded, except for the folder of the videos; not to be changed."""
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(ARCHIVE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2, which Debian has, has none
        archive.extractall(folder)
    info = folder / "workspace" / "catalog" / "datasets" / DATASET / "dataset.json"
    write_record(info, read_record(info) | {"root": str(folder / "videos")})
    return folder / "workspace"


@pytest.fixture(scope="module")
def continued(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, RunSummary]]:
    """A copy in which this version ran both recorded configs again."""
    root = copy_workspace(recorded, tmp_path_factory.mktemp("continued") / "workspace")
    return root, {attention: run(root, *config_of(recorded, attention)) for attention in RUNS}


def record_of(root: Path, attention: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((root / "runs" / RUNS[attention] / "run.json").read_text())
    return record


def config_of(root: Path, attention: str) -> list[str]:
    """Every field of the config in a run's record, as overrides."""
    config = record_of(root, attention)["config"]
    return [
        f"{section}.{field}={json.dumps(value)}" for section, one in config.items() for field, value in one.items()
    ]


def answer(root: Path, *words: str) -> Any:
    """What a command prints as JSON."""
    result = CliRunner().invoke(app, [*words, "-w", str(root), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_artifact_of_the_seven_stages_verifies(recorded: Path) -> None:
    store = Workspace(recorded).store
    lineages = [store.verify(path.parts[-3], path.stem) for path in recorded.glob("artifacts/*/??/*.h5")]
    assert Counter(lineage.stage for lineage in lineages) == {
        "normalize": 4, "detect": 4, "track": 4, "masks": 4, "pack": 1, "train": 2, "evaluate": 2,
    }  # fmt: skip
    for lineage in lineages:
        for stage, key in lineage.parents.items():
            assert store.exists(stage, key)


def test_the_catalog_answers(recorded: Path) -> None:
    def select(sql: str) -> Any:
        return answer(recorded, "catalog", "query", sql)

    assert select(f"select score, boxes from clips where clip_id = '{CORRECTED}'") == [
        {"score": 61.5, "boxes": [[150.0, 75.0, 46.0, 105.0]]}
    ]
    assert select("select split, count(*) as clips from clips group by split order by split") == [
        {"split": "test", "clips": 2},
        {"split": "train", "clips": 3},
    ]
    assert select("select clip_id, stage from quarantine") == [{"clip_id": SPOILT, "stage": "normalize"}]
    assert [row["run_id"] for row in select("select run_id from runs order by run_id")] == sorted(RUNS.values())
    assert sorted(row["clip_id"] for row in select("select clip_id from tube_quality")) == CLIPS
    assert select("select count(*) as artifacts from artifacts") == [{"artifacts": 21}]


def test_corrections_keep_their_history(recorded: Path) -> None:
    history = answer(recorded, "labels", "history", CORRECTED)
    assert [(row["field"], row["old"], row["new"], row["who"]) for row in history] == [
        ("score", 12.75, 61.5, "recorder"),
        ("boxes", [[152.0, 75.0, 44.0, 105.0]], [[150.0, 75.0, 46.0, 105.0]], "recorder"),
    ]


def test_a_dataset_read_again_keeps_its_clips_and_corrections(recorded: Path, tmp_path: Path) -> None:
    before = Workspace(recorded).datasets.table(DATASET)
    workspace = Workspace(copy_workspace(recorded, tmp_path / "workspace"))
    listing = ingest(workspace, DATASET, "procedural", recorded.parent / "videos")
    assert (listing.rejected, listing.warnings) == ((), ())
    assert workspace.datasets.table(DATASET).equals(before)


@pytest.mark.parametrize("attention", RUNS)
def test_a_run_computes_nothing(
    attention: str, recorded: Path, continued: tuple[Path, dict[str, RunSummary]]
) -> None:
    root, summaries = continued
    summary, record = summaries[attention], record_of(recorded, attention)
    assert {name: (one.hits, one.computed) for name, one in summary.stages.items()} == {
        name: (4 if name in STAGE_NAMES[:4] else 1, 0) for name in STAGE_NAMES
    }
    assert [(row.clip_id, row.stage) for row in summary.quarantined] == [(SPOILT, "normalize")]
    assert (summary.troubles, summary.notes) == ([], record["notes"])
    assert summary.metrics == record["metrics"]
    assert identities(root).keys() == identities(recorded).keys()
    assert summary.report is not None
    assert Path(summary.report).stat().st_size > 100_000  # with its pictures


@pytest.mark.parametrize("attention", RUNS)
def test_every_key_is_the_recorded_one(
    attention: str, recorded: Path, continued: tuple[Path, dict[str, RunSummary]]
) -> None:
    plans = plan(continued[0], *config_of(recorded, attention))
    rows = read_table(recorded / "runs" / RUNS[attention] / "references.parquet", REFERENCES).to_pylist()
    keys = {(stage, job.clip_id): job.key for stage, one in plans.items() for job in one.jobs.values()}
    assert len(rows) >= 19
    for row in rows:
        if row["clip_id"] != SPOILT:  # planned through all stages before its video was opened
            assert keys[row["stage"], row["clip_id"]] == row["key"]
    assert {stage: sorted(one.hits) for stage, one in plans.items()} == {
        stage: CLIPS if stage in STAGE_NAMES[:4] else [""] for stage in STAGE_NAMES
    }
    assert all(one.reasons == {} for one in plans.values())


def test_status_counts_what_was_recorded(continued: tuple[Path, dict[str, RunSummary]]) -> None:
    status = answer(continued[0], "status")
    assert {run["run_id"] for run in status["runs"]} > set(RUNS.values())
    dataset = status["datasets"][DATASET]
    assert dataset["clips"] == 5
    assert {stage: count["done"] for stage, count in dataset["stages"].items()} == {
        name: 4 if name in STAGE_NAMES[:4] else 1 for name in STAGE_NAMES
    }
    assert [row["clip_id"] for row in dataset["quarantined"]] == [SPOILT]


def test_explain_goes_back_to_the_source(continued: tuple[Path, dict[str, RunSummary]]) -> None:
    (chain,) = answer(continued[0], "explain", CORRECTED)
    assert [one["stage"] for one in chain] == ["masks", "track", "detect", "normalize"]


def test_the_recorded_runs_are_compared(recorded: Path) -> None:
    compared = answer(recorded, "compare", *RUNS.values())
    assert compared["clips"] == {"diving": 2}
    for attention, contender in zip(RUNS, compared["metrics"]["mse"], strict=True):
        expected = record_of(recorded, attention)["metrics"]["last"]["test"]["all"]["mse"]
        assert contender["figures"]["all"]["value"] == pytest.approx(expected)


def test_a_recorded_tube_is_drawn(continued: tuple[Path, dict[str, RunSummary]], tmp_path: Path) -> None:
    words = ["inspect", CORRECTED, "--html", "--out", str(tmp_path), "-w", str(continued[0])]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert {path.suffix for path in tmp_path.iterdir()} >= {".png", ".mp4", ".html"}
