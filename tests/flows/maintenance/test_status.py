"""What `tubeflow status` says of the videos that clips came from."""

import shutil
from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from flows.datasets.ingest import ingest
from flows.maintenance.status import read_status
from flows.tables.status_table import print_status
from tests.support.tiny_workspace import run

VIDEOS = Path(__file__).resolve().parents[2] / "data" / "video"


def test_what_was_applied_and_what_is_lacking_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["clip_id,video,split,score"]
    (tmp_path / "videos").mkdir()
    for name in ("plain.mp4", "hlg.mov", "mbaff.ts", "mpeg2i.ts", "lost.ts", "cut.mkv"):
        shutil.copy(VIDEOS / name, tmp_path / "videos" / name)
        rows.append(f"{name.partition('.')[0]},{name},train,5")
    (tmp_path / "videos" / "labels.csv").write_text("\n".join(rows) + "\n")
    workspace = Workspace.open(tmp_path / "w")
    ingest(workspace, "cases", "folder", tmp_path / "videos", tmp_path / "videos" / "labels.csv")
    summary = run(tmp_path / "w", dataset="cases", selected=("normalize",))
    assert [note for note in summary.notes if "'lost': 15 frames are missing" in note]
    status = read_status(Workspace(tmp_path / "w"))
    found = status["datasets"]["cases"]
    assert found["sources"] == {"tone_mapped": 1, "deinterlaced": 2, "missing_frames": 1}
    assert [row["clip_id"] for row in found["quarantined"]] == ["cut"]
    print_status(status)
    assert "1 HDR, tone-mapped; 2 interlaced, made whole; 1 with frames missing" in capsys.readouterr().out
