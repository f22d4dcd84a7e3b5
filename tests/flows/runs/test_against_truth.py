"""Tubes against the truth in a run: said, drawn, remembered; and nothing of it where a dataset knows no truth."""

import json
import os
import shutil
from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from flows.datasets.ingest import ingest
from flows.runs import against_truth as tube_truth
from flows.tables.run_tables import truth_sentence
from tasks.assessment.truth_figures import TruthMeans
from tests.support.tiny_workspace import copy_workspace, new_workspace, run

UPTO = ("normalize", "detect", "track", "masks")


@pytest.fixture
def copied(finished_workspace: Path, tmp_path: Path) -> Path:
    return copy_workspace(finished_workspace, tmp_path / "w")


def count_measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Clips whose tubes are measured from now on."""
    measured: list[str] = []
    real = tube_truth.compare_with_truth

    def counting(*given: object, **named: object) -> object:
        measured.append("clip")
        return real(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(tube_truth, "compare_with_truth", counting)
    return measured


def test_a_run_says_it_and_its_report_shows_it(copied: Path) -> None:
    summary = run(copied)
    truth = summary.truth
    assert truth is not None
    assert truth.clips == 4
    assert truth.grid is not None
    assert truth.rotated is not None
    assert 0 < truth.rotated < 1
    assert 0 < truth.grid < 1
    assert summary.as_json()["tubes_against_truth"]["grid"] == truth.grid
    record = json.loads((copied / "runs" / summary.run_id / "run.json").read_text())
    assert record["tubes_against_truth"]["rotated"] == truth.rotated
    assert summary.report is not None
    page = Path(summary.report).read_text()
    assert "Tubes against the truth" in page
    assert "all, tracker mil" in page
    assert f"{truth.grid:.3f}" in page


def test_it_is_measured_once_and_again_when_a_tube_or_the_truth_changes(
    copied: Path, tiny_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = count_measured(monkeypatch)
    first = run(copied, selected=UPTO).truth
    assert measured == []   # the fixture's own run has measured them
    assert first is not None
    other = run(copied, "masks.tau=0.2", selected=UPTO).truth
    assert len(measured) == 4
    assert other is not None
    assert other.grid != first.grid
    assert other.rotated == first.rotated
    (copied / "catalog" / "tube_truth.json").write_text("{")
    mended = run(copied, selected=UPTO)
    assert len(measured) == 8
    assert mended.truth == first
    assert any("tube_truth.json is damaged" in note for note in mended.notes)
    videos = Path(shutil.copytree(tiny_videos, tmp_path / "videos"))
    new_workspace(copied, videos)
    touched = sorted((videos / "ground_truth").glob("*.npz"))[0]
    os.utime(touched, (1, 1))
    run(copied, selected=UPTO)
    assert len(measured) == 9


def test_a_dataset_without_truth_says_nothing(tiny_videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(tiny_videos / "videos", folder / "videos")
    shutil.copy(tiny_videos / "labels.csv", folder / "labels.csv")
    workspace = Workspace.open(tmp_path / "w")
    ingest(workspace, "tiny", "folder", folder)
    summary = run(workspace.root, selected=UPTO)
    assert summary.failures == []
    assert summary.truth is None
    assert summary.as_json()["tubes_against_truth"] is None
    assert not (workspace.catalog / "tube_truth.json").exists()


def test_a_clip_without_its_truth_is_left_out(tiny_videos: Path, copied: Path, tmp_path: Path) -> None:
    videos = Path(shutil.copytree(tiny_videos, tmp_path / "videos"))
    sorted((videos / "ground_truth").glob("*.npz"))[0].unlink()
    new_workspace(copied, videos)
    truth = run(copied, selected=UPTO).truth
    assert truth is not None
    assert truth.clips == 3


def test_the_sentence() -> None:
    whole = TruthMeans(60, 0.8312, 0.7549, 0.9, 0.0, 0)
    assert truth_sentence(whole) == "Tubes against the truth: grid IoU .83, rotated IoU .75 (60 clips)."
    assert truth_sentence(TruthMeans(1, None, 1.0, 1.0, 0.0, 0)) == (
        "Tubes against the truth: rotated IoU 1.00 (1 clip)."
    )
    assert "no athlete is ever in sight" in truth_sentence(TruthMeans(2, None, None, None, 0.0, 0))
