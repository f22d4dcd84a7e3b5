"""A config that names several detectors: which one ran is said, recorded, and all that decides the artifacts."""

from pathlib import Path

from data_catalog.catalog import Workspace
from flows.runs.record import read_runs
from tests.support.tiny_workspace import copy_workspace, run

ONE = ("detect.detector=athlete-n", "detect.min_score=0.05", "detect.select=central")
SEVERAL = ("detect.detector='faster_rcnn:fasterrcnn_coco, athlete-n'", *ONE[1:])


def test_without_weights_the_next_detector_runs_and_is_said(finished_workspace: Path, tmp_path: Path) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "w")
    alone = run(root, *ONE, selected=("normalize", "detect"))
    assert alone.stages["detect"].computed == 4
    assert not any(note.startswith("First frames") for note in alone.notes)
    summary = run(root, *SEVERAL, selected=("normalize", "detect"))
    assert (summary.stages["detect"].hits, summary.stages["detect"].computed) == (4, 0)
    [note] = [note for note in summary.notes if note.startswith("First frames")]
    assert "athlete-n, the first of 'faster_rcnn:fasterrcnn_coco, athlete-n' whose weights are here" in note
    recorded = read_runs(Workspace.open(root))[-1].pipeline_config().detect
    assert (recorded.detector, recorded.weights) == ("athlete-n", None)
