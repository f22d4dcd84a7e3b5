"""Failures are clips, not runs: a quarantined clip is remembered, and tried again only when something changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from flows.datasets.ingest import ingest
from flows.maintenance.status import read_status
from flows.runs.summary import RunSummary
from tests.support.tiny_workspace import plan, run
from tests.support.video_files import numbered_frames, write_video

CLIP_STAGES = ("normalize", "detect", "track", "masks")


@pytest.fixture
def videos(tiny_videos: Path, tmp_path: Path) -> Path:
    """Four clips; the second is no video, the third has its box far outside."""
    folder = Path(shutil.copytree(tiny_videos, tmp_path / "videos"))
    lines = (folder / "labels.csv").read_text().splitlines()
    header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    (folder / rows[1][header.index("video")]).write_text("no video at all")
    rows[2][header.index("x")] = "5000"
    (folder / "labels.csv").write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    return folder


@pytest.fixture
def root(videos: Path, tmp_path: Path) -> Path:
    workspace = Workspace.open(tmp_path / "w")
    ingest(workspace, "tiny", "procedural", videos)
    return workspace.root


def tried(summary: RunSummary) -> dict[str, tuple[int, int, int]]:
    return {name: (one.hits, one.computed, one.quarantined) for name, one in summary.stages.items()}


def clips(summary: RunSummary) -> list[tuple[str, str]]:
    return sorted((row.stage, row.clip_id) for row in summary.quarantined)


def test_a_bad_clip_is_remembered_and_the_others_go_on(root: Path, videos: Path) -> None:
    ids = list(plan(root)["normalize"].jobs)
    first = run(root, selected=CLIP_STAGES)
    assert clips(first) == [("detect", ids[2]), ("normalize", ids[1])]
    assert {name: count[1] for name, count in tried(first).items()} == {
        "normalize": 3, "detect": 2, "track": 2, "masks": 2,
    }  # fmt: skip
    assert not first.nothing_left
    for row in first.quarantined:
        assert row.reason.endswith(".")
        assert row.remedy.endswith(".")
        assert ids[1] in row.reason or ids[2] in row.reason or str(videos) in row.reason

    second = run(root, selected=CLIP_STAGES)  # persists, and is not tried again
    assert clips(second) == clips(first)
    assert {row.created for row in second.quarantined} == {row.created for row in first.quarantined}
    assert sum(count.computed for count in second.stages.values()) == 0
    planned = plan(root)
    assert list(planned["normalize"].quarantined) == [ids[1]]
    assert planned["normalize"].reasons == {}
    listed = {(row["stage"], row["clip_id"]) for row in read_status(Workspace(root))["datasets"]["tiny"]["quarantined"]}
    assert listed == set(clips(first))


def test_it_is_tried_again_when_asked(root: Path) -> None:
    first = run(root, selected=CLIP_STAGES)
    again = run(root, selected=CLIP_STAGES, retry_quarantined=True)
    assert clips(again) == clips(first)
    assert tried(again)["normalize"] == (3, 0, 1)
    rows = {row.stage: row for row in again.quarantined}
    assert all(not rows[row.stage].created < row.created for row in first.quarantined)


def test_it_is_tried_again_when_its_input_changed(root: Path) -> None:
    first = run(root, selected=CLIP_STAGES)
    ids = list(plan(root)["normalize"].jobs)
    write_video(Path(plan(root)["normalize"].jobs[ids[1]].clip.video), numbered_frames(40, (320, 240)))  # type: ignore[union-attr]
    second = run(root, selected=CLIP_STAGES)
    assert clips(second) == [("detect", ids[2])]
    assert ("normalize", ids[1]) in clips(first)
    assert tried(second)["normalize"] == (3, 1, 0)


def test_it_is_tried_again_when_the_config_changed(root: Path) -> None:
    run(root, selected=CLIP_STAGES)
    ids = list(plan(root)["normalize"].jobs)
    changed = plan(root, "normalize.length=25")["normalize"]
    assert set(changed.reasons) == set(ids)
    assert changed.quarantined == {}
    back = plan(root)["normalize"]
    assert list(back.quarantined) == [ids[1]]


def test_a_missing_video_comes_back(root: Path, videos: Path) -> None:
    ids = list(plan(root)["normalize"].jobs)
    video = Path(plan(root)["normalize"].jobs[ids[0]].clip.video)  # type: ignore[union-attr]
    hidden = video.rename(video.with_suffix(".hidden"))
    first = run(root, selected=CLIP_STAGES)
    assert ("normalize", ids[0]) in clips(first)
    assert str(video) in next(row.reason for row in first.quarantined if row.clip_id == ids[0])
    hidden.rename(video)
    assert ("normalize", ids[0]) not in clips(run(root, selected=CLIP_STAGES))


def test_where_not_one_clip_is_left_the_run_says_so(root: Path, videos: Path) -> None:
    for path in (videos / "videos").glob("*"):
        path.write_text("nothing")
    summary = run(root)
    assert summary.nothing_left
    assert summary.stages["normalize"].quarantined == 4
    assert summary.notes == ["pack was not run: no clip got this far."]
