"""A network of drawn clips, asked about a real dive: it still scores it, and says that it is unlike what it knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig
from flows.datasets.clips import dataset_clips
from flows.execution.execute import RunOptions, execute
from flows.inference.predict_videos import Request, predict_videos
from flows.runs.finished import find_run
from flows.runs.summary import RunSummary
from flows.stages import PREPROCESS
from tests.support.tiny_workspace import DATASET, ThreadRunner, draw_clips, new_workspace, run

pytestmark = pytest.mark.slow
CLIPS = 28
"""Of which every fourth is held out: 21 train, and 19 are needed."""
DIVER = (148.0, 58.0, 45.0, 130.0)
"""The diver in the first frame, pixels of the video."""


def preprocess(config: PipelineConfig, dataset: str, root: Path) -> RunSummary:
    return execute(config, dataset, Workspace.open(root), PREPROCESS.stages(), RunOptions(), ThreadRunner())  # type: ignore[arg-type]


def test_a_real_dive_is_unlike_drawn_ones_and_a_held_out_drawn_one_is_not(shared: Path, tmp_path: Path) -> None:
    dive = shared / "real-train" / "videos" / "diving_001.mp4"
    if not dive.is_file():
        pytest.skip(f"needs the real dive {dive}")
    new_workspace(tmp_path / "w", draw_clips(tmp_path / "videos", CLIPS))
    assert run(tmp_path / "w").failures == []
    workspace = Workspace.open(tmp_path / "w")
    drawn = [clip for clip in dataset_clips(workspace, DATASET) if clip.split == "test"]
    videos = (dive, *(Path(clip.video) for clip in drawn))
    request = Request(videos, ((DIVER,), *(clip.boxes for clip in drawn)), difficulty=2.0)
    found = predict_videos(workspace, find_run(workspace, "last"), request, [], tmp_path, preprocess)
    assert found.failures == ()
    real, *others = found.videos
    assert real.unlike
    assert found.notes[0].startswith("diving_001 is unlike")
    assert sum(bool(one.unlike) for one in others) <= 1  # of seven, of which 5 % may be
    assert real.distance == max(one.distance or 0 for one in found.videos)
