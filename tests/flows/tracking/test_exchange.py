"""Tubes out of a workspace into other tools' formats and back as the tracker `published`; clips cut out of videos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.tracks.formats import FORMATS
from data_catalog.tracks.video_tracks import VideoTracks
from flows.cli.main import app
from flows.tracking.exchange import take_tracks, tubes_of_videos
from tests.support.tiny_workspace import DATASET, copy_workspace, run


def call(*words: str | Path) -> None:
    app([str(word) for word in words], standalone_mode=False)


def tubes_of(root: Path, tracker: str) -> dict[str, np.ndarray]:
    store = Workspace(root).store
    artifacts = [store.read("track", key) for key in store.scan("track")]
    chosen = [one for one in artifacts if one.lineage.config["track"]["tracker"] == tracker]
    return {one.lineage.clip_id: one.arrays["quads"] for one in chosen}


@pytest.mark.parametrize(("style", "tolerance"), [("cvat_xml", 0.02), ("label_studio", 0.02), ("mot", 0.02)])
def test_exported_tubes_come_back_as_published_ones(
    style: str, tolerance: float, finished_workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hundredths of a pixel of the source, scaled to the normalised frame."""
    root = copy_workspace(finished_workspace, tmp_path / "ws")
    out = tmp_path / "out"
    call("tracks", "export", out, "--dataset", DATASET, "--format", style, "-w", root, "--json")
    exported = json.loads(capsys.readouterr().out)
    assert exported["clips"] == 4
    boxes = root / "weights" / "drawn.json"
    call("tracks", "import", out, "--format", style, "--dataset", DATASET, "--out", boxes, "-w", root, "--json")
    assert json.loads(capsys.readouterr().out)["clips"] == 4
    summary = run(root, "track.tracker=published", f"track.weights={boxes}", selected=["normalize", "detect", "track"])
    assert summary.failures == []
    before, after = tubes_of(root, "mil"), tubes_of(root, "published")
    assert before.keys() == after.keys()
    for clip, quads in before.items():
        low, high = quads.min(axis=2), quads.max(axis=2)  # boxes were exported
        upright = np.stack([low, np.stack([high[..., 0], low[..., 1]], -1), high,
                            np.stack([low[..., 0], high[..., 1]], -1)], axis=2)  # fmt: skip
        np.testing.assert_allclose(after[clip], upright, atol=tolerance)


def test_tubes_are_where_the_source_frames_are(finished_workspace: Path) -> None:
    workspace = Workspace(finished_workspace)
    clips = tubes_of_videos(workspace, DATASET, None, [])
    assert len(clips) == 4
    for clip in clips:
        (key,) = [key for key in workspace.store.scan("normalize")
                  if workspace.store.lineage("normalize", key).clip_id == clip.name]  # fmt: skip
        source = workspace.store.read("normalize", key, ["source_index"])
        assert clip.quads.shape[1] == source.attrs["source_frames"]
        assert clip.frame_wh == (source.attrs["source_width"], source.attrs["source_height"])
        assert clip.drawn is not None
        assert np.flatnonzero(clip.drawn).tolist() == sorted(set(source.arrays["source_index"].tolist()))


def tracks(name: str, video: str = "", targets: int = 1) -> VideoTracks:
    """Ten frames, in each a square whose left edge is the frame's number, and 100 more a target."""
    x = np.arange(10.0)[:, None] + 100 * np.arange(targets)[:, None, None]
    square = np.array([[0, 0], [5, 0], [5, 5], [0, 5]], np.float64)
    quads = square + np.stack([x, np.zeros_like(x)], axis=-1)
    return VideoTracks(name, quads, ("athlete",) * targets, video=video)


def test_a_video_of_several_clips_is_cut_to_each() -> None:
    clips = [
        ClipRecord("first", "/v/day.mp4", "train", end_frame=4),
        ClipRecord("second", "/v/day.mp4", "test", start_frame=4, end_frame=9),
        ClipRecord("other", "/v/night.mp4", "test"),
    ]
    found = take_tracks([tracks("task 7", "day.mp4")], 0, clips)
    assert {name: quads[:, 0, 0].tolist() for name, quads in found.tubes.items()} == {
        "first": [0, 1, 2, 3], "second": [4, 5, 6, 7, 8],
    }  # fmt: skip
    named = take_tracks([tracks("second")], 0, clips)
    assert named.tubes.keys() == {"second"}


def test_one_of_several_targets_is_taken_and_said() -> None:
    found = take_tracks([tracks("a", targets=2), tracks("b")], 1)
    assert found.tubes["a"][0, 0].tolist() == [100, 0]
    assert found.notes == (
        "a: target 1 of 2 was taken; choose with --athlete", "b: it has 1 targets and none number 1",
    )  # fmt: skip
    with pytest.raises(CatalogError, match="None of the tracks can be used: b: it has 1 targets and none number 1"):
        take_tracks([tracks("b")], 1)


def test_tracks_that_end_before_their_clip_are_left_out_and_said() -> None:
    clips = [
        ClipRecord("first", "/v/day.mp4", "train", end_frame=4),
        ClipRecord("long", "/v/day.mp4", "train", start_frame=6, end_frame=14),
        ClipRecord("behind", "/v/day.mp4", "train", start_frame=10),
    ]
    found = take_tracks([tracks("day")], 0, clips)
    assert found.tubes.keys() == {"first"}
    assert found.notes == (
        "day: clip 'long' needs frames 6 to 13 of its video and the tracks have 10 frames; it was left out",
        "day: clip 'behind' needs frames 10 to 10 of its video and the tracks have 10 frames; it was left out",
    )
    with pytest.raises(CatalogError, match=r"^None of the tracks can be used: day: clip 'long' needs frames 6 to"):
        take_tracks([tracks("day")], 0, clips[1:])


def test_every_format_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
    assert [name for name in FORMATS if f"`{name}`" not in page and name != "published"] == []
