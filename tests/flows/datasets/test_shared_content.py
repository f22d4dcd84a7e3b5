"""Clips of two splits that show the same are said at ingest, by `datasets check`, in SQL and in the report."""

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from data_catalog.query import query
from flows.cli.main import app
from flows.datasets.ingest import ingest
from flows.datasets.labels import set_labels
from flows.datasets.shared_content import compare_splits, known_remark
from tests.support.tiny_workspace import DATASET, run

SAID = "of different splits show the same"


def copied_clip(tiny_videos: Path, root: Path) -> Path:
    """The tiny dataset with its first training clip once more, as a test clip."""
    folder = Path(shutil.copytree(tiny_videos, root / "videos"))
    labels = (folder / "labels.csv").read_text().splitlines()
    first = next(line for line in labels if ",train," in line)
    clip_id = first.split(",")[0]
    shutil.copy(folder / "videos" / f"{clip_id}.mp4", folder / "videos" / "copy.mp4")
    row = first.replace(",train,", ",test,").replace(clip_id, "copy")
    (folder / "labels.csv").write_text("\n".join([*labels, row]) + "\n")
    return folder


def test_a_copied_clip_is_said_everywhere(tiny_videos: Path, tmp_path: Path) -> None:
    folder, root = copied_clip(tiny_videos, tmp_path), tmp_path / "w"
    cli = CliRunner()
    told = cli.invoke(app, ["ingest", "folder", "--name", DATASET, "--videos", str(folder), "-w", str(root)])
    assert (told.exit_code, SAID in told.output, "have the same content" in told.output) == (0, True, True)
    checked = cli.invoke(app, ["datasets", "check", DATASET, "-w", str(root), "--json"])
    rows = json.loads(checked.stdout)["shared_content"]
    assert [(row["second"], row["kind"]) for row in rows] == [("copy", "same")]
    workspace = Workspace(root)
    assert query(workspace, "select second from shared_content").column(0).to_pylist() == ["copy"]
    summary = run(root)
    assert any(SAID in note for note in summary.notes)
    assert summary.report is not None
    assert SAID in Path(summary.report).read_text()

    set_labels(workspace, DATASET, "copy", ["split=train"])  # in one split nothing leaks
    assert known_remark(workspace, DATASET) is None
    assert compare_splits(workspace, DATASET).rows == ()


def test_a_dataset_without_copies_has_nothing_said_of_it(tiny_videos: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w")
    ingest(workspace, DATASET, "procedural", tiny_videos)
    assert compare_splits(workspace, DATASET).sentences == ()
    assert known_remark(workspace, DATASET) is None


def test_labels_without_a_test_clip_end_in_a_report_that_says_so(tiny_videos: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_videos, tmp_path / "videos"))
    labels = (folder / "labels.csv").read_text().replace(",test,", ",train,")
    (folder / "labels.csv").write_text(labels)
    ingest(Workspace.open(tmp_path / "w"), DATASET, "folder", folder)
    summary = run(tmp_path / "w")
    assert any("Nothing was evaluated" in note for note in summary.notes)
    assert summary.report is not None
    assert "No clip is held out" in Path(summary.report).read_text()
