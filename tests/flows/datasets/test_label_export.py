"""Labels out as CSV, Parquet and workbook, and in again by the adapter `folder`: the same clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_catalog.catalog import DatasetInfo, Workspace
from data_catalog.datasets import DatasetError, build_adapter
from data_catalog.datasets.records import ClipRecord, Listing
from flows.config import ConfigError
from flows.datasets.label_export import export_labels
from flows.datasets.labels import set_labels

CLIPS = (
    ClipRecord("a", "day/a.mp4", "train", "dive", 81.5, 3.2, (8.0, 8.5, 7.5),
               boxes=((1.5, 2, 30, 40), (5, 6, 7, 8.25))),
    ClipRecord("=b", "day/a.mp4", "test", "dive", 60.0, 2.0, start_frame=3, end_frame=90),
    ClipRecord("c ü,;\"x\"", "c.mp4", "val", "vault, high", 85.123456789, label=1),
)  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    videos = tmp_path / "videos"
    (videos / "day").mkdir(parents=True)
    for name in ("day/a.mp4", "c.mp4"):
        (videos / name).touch()
    opened = Workspace.open(tmp_path / "ws")
    opened.datasets.add(DatasetInfo("d", "folder", str(videos)), Listing(CLIPS))
    return opened


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
def test_what_is_written_is_read_again(ending: str, workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / f"labels{ending}"
    set_labels(workspace, "d", "=b", ["score=61.25"], who="somebody")
    assert export_labels(workspace, "d", file) == 3
    listing = build_adapter("folder").read(tmp_path / "videos", file)
    assert listing.rejected == ()
    expected = [CLIPS[0], replace(CLIPS[1], score=61.25), CLIPS[2]]
    found = [replace(clip, extra=None) for clip in listing.records]
    assert found == expected


def test_bad_clips_are_left_out(workspace: Workspace, tmp_path: Path) -> None:
    set_labels(workspace, "d", "a", ["bad=true"], who="somebody")
    assert export_labels(workspace, "d", tmp_path / "l.csv") == 2


def test_another_ending_is_one_sentence(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Labels are written as \.csv, \.parquet, \.xlsx, not as 'labels\.ods'"):
        export_labels(workspace, "d", tmp_path / "labels.ods")


def test_a_parquet_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DatasetError, match=r"cut\.parquet is no whole Parquet file"):
        build_adapter("folder").read(tmp_path, tmp_path / "cut.parquet")
    nested = pa.table({"clip_id": ["a"], "video": ["a.mp4"], "split": ["train"], "score": [[1.0, 2.0]]})
    pq.write_table(nested, tmp_path / "lists.parquet")
    with pytest.raises(DatasetError, match=r"column 'score' of lists\.parquet holds several values in a cell"):
        build_adapter("folder").read(tmp_path, tmp_path / "lists.parquet")
