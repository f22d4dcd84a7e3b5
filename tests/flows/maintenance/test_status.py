"""What `tubeflow status` says of the videos that clips came from."""

import shutil
from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from data_catalog.store import Store
from data_catalog.tables import source_marks
from data_catalog.tables.schemas import SOURCE_MARKS, read_table
from flows.datasets.ingest import ingest
from flows.maintenance.status import read_status
from flows.tables.status_table import print_status
from tests.support.tiny_workspace import DATASET, copy_workspace, run

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


def test_each_artifact_is_opened_for_one_status_only(
    finished_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, opened = copy_workspace(finished_workspace, tmp_path / "w"), []
    monkeypatch.setattr(source_marks, "KEPT_FROM", 4)
    attributes = Store.attributes
    monkeypatch.setattr(Store, "attributes", lambda store, *name: opened.append(name) or attributes(store, *name))
    first = read_status(Workspace(root))
    assert len(opened) == first["datasets"][DATASET]["clips"] == 4
    table = root / "catalog" / "source_marks.parquet"
    for _ in range(2):
        assert read_status(Workspace(root))["datasets"] == first["datasets"]
    assert len(opened) == 4
    table.write_bytes(table.read_bytes()[:-9])
    damaged = Workspace(root)
    assert read_status(damaged)["datasets"] == first["datasets"]
    assert damaged.notices == [f"The table of source marks {table} is damaged; it is made again from the artifacts."]
    assert len(opened) == 8
    stray = root / "artifacts" / "normalize" / "ab" / f"{'ab' * 20}.h5"
    stray.parent.mkdir(exist_ok=True)
    made = next(path for path in root.glob("artifacts/normalize/??/*.h5"))
    made.rename(stray)  # gone from where it was, and there under another name
    monkeypatch.setattr(source_marks, "KEPT_FROM", 1)
    damaged.source_marks.count([stray.stem])
    there = {path.stem for path in root.glob("artifacts/normalize/??/*.h5")}
    assert set(read_table(table, SOURCE_MARKS).column("key").to_pylist()) == there


def test_a_small_workspace_is_not_worth_a_table(finished_workspace: Path, tmp_path: Path) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "w")
    assert read_status(Workspace(root))["datasets"][DATASET]["clips"] < source_marks.KEPT_FROM
    assert not (root / "catalog" / "source_marks.parquet").exists()
