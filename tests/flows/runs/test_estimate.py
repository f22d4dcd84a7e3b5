"""What a plan says of time and space, beside what the store recorded, which is read here without the program."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from flows.cli.main import app
from flows.config import EngineConfig
from flows.datasets.ingest import ingest
from flows.maintenance.run_plan import RunPlan, plan_run
from flows.runs.estimate import Estimate, StageEstimate, workers_of
from flows.stages import CLIP_STAGES, Selection
from tests.support.tiny_workspace import DATASET, SETTINGS, copy_workspace, tiny_config

CLIPS, WORKERS = 10, 2  # of the bigger dataset; SETTINGS have two workers
OF_CLIPS = [stage.name for stage in CLIP_STAGES]


@pytest.fixture(scope="module")
def bigger(finished_workspace: Path, tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished workspace, which has run four clips, with a dataset of ten that it has never seen."""
    folder = tmp_path_factory.mktemp("bigger")
    videos = sorted((tiny_videos / "videos").glob("*.mp4"))
    rows = []
    for number in range(CLIPS):
        (folder / f"{number}.mp4").write_bytes(videos[number % len(videos)].read_bytes() + bytes([number]))
        rows.append({"clip_id": f"clip_{number}", "video": f"{number}.mp4", "split": "test" if number % 4 == 3 else
                     "train", "score": number, "difficulty": 2.0, "x": 5, "y": 5, "w": 40, "h": 60})  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    root = copy_workspace(finished_workspace, tmp_path_factory.mktemp("bigger") / "ws")
    ingest(Workspace.open(root), "bigger", "folder", folder, folder / "labels.csv")
    return root


def planned(root: Path, *overrides: str, dataset: str = "bigger") -> RunPlan:
    return plan_run(Workspace(root), dataset, tiny_config(*overrides), Selection())


def recorded(root: Path) -> pd.DataFrame:
    """Per stage: how many artifacts, their seconds, their bytes."""
    table = pd.read_parquet(root / "catalog" / "artifacts.parquet")
    return table.groupby("stage").agg(count=("seconds", "size"), seconds=("seconds", "sum"), size=("size", "sum"))


def test_a_bigger_dataset_takes_its_share_of_what_was_recorded(bigger: Path) -> None:
    before, found = recorded(bigger), {one.stage: one for one in planned(bigger).estimate.stages}
    assert list(found) == [*OF_CLIPS, "pack", "train", "evaluate"]
    for name in OF_CLIPS:
        each = before.loc[name] / before.loc[name, "count"]
        assert (before.loc[name, "count"], found[name].todo) == (4, CLIPS)
        assert found[name].seconds == pytest.approx(each.seconds * CLIPS / WORKERS)
        assert found[name].bytes == pytest.approx(each["size"] * CLIPS, abs=1)
    for name in ("pack", "train", "evaluate"):
        assert found[name].seconds == pytest.approx(before.loc[name, "seconds"] * CLIPS / 4)
    assert found["pack"].bytes == pytest.approx(before.loc["pack", "size"] * CLIPS / 4, abs=1)
    assert found["train"].bytes == before.loc["train", "size"], "a checkpoint doesn't grow with the clips"


def test_nothing_is_made_up_for_settings_that_never_ran(bigger: Path) -> None:
    found = planned(bigger, "masks.tau=0.3", "train.lr=0.5").estimate
    unknown = [one.stage for one in found.stages if one.seconds is None]
    assert unknown == ["masks", "train"]
    assert (found.seconds, found.bytes) == (None, None)
    assert found.sentence().endswith("Not known for the rest: masks, train were never run with these settings.")
    everything = planned(bigger, "normalize.length=25").estimate
    assert "normalize" in [one.stage for one in everything.stages if one.seconds is None]


def test_another_seed_takes_as_long(bigger: Path) -> None:
    assert planned(bigger, "train.seed=5").estimate == planned(bigger).estimate


def test_what_is_there_takes_nothing(bigger: Path) -> None:
    found = planned(bigger, dataset=DATASET)
    assert found.estimate == Estimate(())
    assert (found.estimate.seconds, found.estimate.sentence(), found.remarks()) == (0, "", [])


def test_the_command_says_it(bigger: Path) -> None:
    words = ["plan", "demo", "-d", "bigger", "-w", str(bigger), *(w for one in SETTINGS for w in ("-o", one))]
    said = CliRunner().invoke(app, words).stdout
    assert planned(bigger).estimate.sentence() in said
    asked = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    for one in planned(bigger).estimate.stages:
        assert asked[one.stage]["estimate"] == {"seconds": one.seconds, "bytes": one.bytes}


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ([("track", 660.0, 1_000_000_000), ("train", 185.0, 200_000_000)],
         "About 14 minutes: track 11, train 3; 1.2 GB."),
        ([("normalize", 0.2, 10), ("track", 40.0, 4000)], "About 40 seconds: track 40; 4.0 kB."),
        ([("train", 9000.0, 5), ("evaluate", 2000.0, 5)], "About 3.1 hours: train 2.5, evaluate 0.6; 10 B."),
        ([("track", 61.0, 5), ("train", None, None)],
         "About 61 seconds: track 61; 5 B. Not known for the rest: train was never run with these settings."),
        ([("track", None, None), ("train", None, None)],
         "How long it takes is not known: track, train were never run with these settings."),
        ([], ""),
    ],
)  # fmt: skip
def test_sentences(stages: list[tuple[str, float | None, int | None]], sentence: str) -> None:
    rows = tuple(StageEstimate(name, 1, seconds, size) for name, seconds, size in stages)
    assert Estimate(rows).sentence() == sentence


def test_a_cluster_elsewhere_has_as_many_workers_as_it_says() -> None:
    assert workers_of(EngineConfig(runner="dask", address="tcp://host:8786"), 2) is None
    assert workers_of(EngineConfig(runner="dask", address="tcp://host:8786", workers=7), 2) == 7
    assert workers_of(EngineConfig(), 2) == 2
