"""Two runs on one workspace at the same time, over overlapping clips: both finish and nothing is corrupted."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data_catalog.catalog import Workspace
from data_catalog.store import verify_file
from flows.datasets.ingest import ingest
from flows.stages import STAGE_NAMES
from tests.support.tiny_workspace import digests, identities, leftovers, run


def part_of(videos: Path, labels: Path, rows: slice) -> Path:
    with (videos / "labels.csv").open() as file:
        table = list(csv.DictReader(file))
    with labels.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0].keys())
        writer.writeheader()
        writer.writerows(table[rows])
    return labels


def test_two_processes_over_overlapping_clips(
    engines: Any, tiny_videos: Path, finished_workspace: Path, tmp_path: Path
) -> None:
    workspace = Workspace.open(tmp_path / "w")
    ingest(workspace, "first", "procedural", tiny_videos)  # all four
    ingest(workspace, "second", "procedural", tiny_videos, part_of(tiny_videos, tmp_path / "l.csv", slice(1, 4)))
    common = {"root": str(workspace.root)}
    links = [tmp_path / "one", tmp_path / "two"]  # each run writes its summary beside the name that it was given
    for link in links:
        link.symlink_to(workspace.root)
    engines.start(
        *(common | {"root": str(link), "dataset": name} for link, name in zip(links, ("first", "second"), strict=True))
    )
    assert engines.wait(2) == [0, 0], engines.errors
    summaries = [json.loads(Path(f"{link}.json").read_text()) for link in links]
    for summary in summaries:
        assert summary["quarantined"] == []
        assert list(summary["stages"]) == list(STAGE_NAMES)
    files = identities(workspace.root)
    for path in files:
        verify_file(workspace.root / path)
    per_stage = {stage: sum(f"/{stage}/" in path for path in files) for stage in STAGE_NAMES}
    assert per_stage == {"normalize": 4, "detect": 4, "track": 4, "masks": 4, "pack": 2, "train": 2, "evaluate": 2}
    index = Workspace(workspace.root).index.rows
    assert {(stage, key) for stage, key in index} == {(Path(path).parts[1], Path(path).stem) for path in files}
    assert leftovers(workspace.root) == []
    # The first dataset is the one of `finished_workspace`, so its artifacts are the same to the bit.
    assert digests(finished_workspace).items() <= digests(workspace.root).items()
    again = run(workspace.root, dataset="second")
    assert sum(count.computed for count in again.stages.values()) == 0


def test_three_processes_over_the_very_same_work(
    engines: Any, tiny_videos: Path, finished_workspace: Path, tmp_path: Path
) -> None:
    workspace = Workspace.open(tmp_path / "w")
    ingest(workspace, "tiny", "procedural", tiny_videos)
    request = {"root": str(workspace.root), "dataset": "tiny"}
    engines.start(request, request, request)
    assert engines.wait(3) == [0, 0, 0], engines.errors
    assert digests(workspace.root) == digests(finished_workspace)
    assert leftovers(workspace.root) == []
    assert [path for path in (workspace.root / "claims").rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_four_runs_at_once_compute_every_artifact_once(engines: Any, tiny_videos: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w")
    ingest(workspace, "tiny", "procedural", tiny_videos)
    links = [tmp_path / str(number) for number in range(4)]
    for link in links:
        link.symlink_to(workspace.root)
    engines.start(*({"root": str(link), "dataset": "tiny"} for link in links))
    assert engines.wait(4) == [0] * 4, engines.errors
    made: Counter[str] = Counter()
    for link in links:
        for stage, count in json.loads(Path(f"{link}.json").read_text())["stages"].items():
            made[stage] += count["computed"]
    assert dict(made) == {"normalize": 4, "detect": 4, "track": 4, "masks": 4, "pack": 1, "train": 1, "evaluate": 1}
