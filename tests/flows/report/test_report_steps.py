"""Steps from the labels to report, file, clip page and viewer, against a slow loop over the segments' frames."""

import csv
import json
import re
from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import Step
from flows.datasets.ingest import ingest
from flows.report.clip_page import write_page
from flows.report.page import format_number
from flows.runs.clip_tube import find_clip
from flows.runs.finished import find_run
from tests.support.tiny_workspace import DATASET, copy_workspace, plan, run
from tests.support.view_pages import pages_of

CLIP, SEGMENT, STARTS = "diving_0003", 16, (0, 8)
STEPS = (Step("take-off", 0, 31), Step("flight", 31, 50), Step("entry", 60, 9000), Step("never", 9000, 9001))


@pytest.fixture(scope="module")
def labelled(tiny_videos: Path, finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished workspace with steps of the held-out clip, run again: nothing is computed but the report."""
    folder = tmp_path_factory.mktemp("steps")
    root = copy_workspace(finished_workspace, folder / "ws")
    (folder / "steps.csv").write_text(
        "\n".join(["clip,step,start,end", *(f"{CLIP},{step.name},{step.start},{step.end}" for step in STEPS)])
    )
    ingest(Workspace.open(root), DATASET, "procedural", tiny_videos, None, folder / "steps.csv")
    summary = run(root)
    assert sum(count.computed for count in summary.stages.values()) == 0
    assert any("reach frame 9001" in note and CLIP in note for note in summary.notes)
    return root


def by_hand(root: Path) -> dict[str, tuple[list[int], list[int], float | None]]:
    """Step → its normalised frames, the segments that reach into it, and the mean over these segments' frames in it."""
    workspace = Workspace(root)
    index = workspace.store.read("normalize", plan(root)["normalize"].jobs[CLIP].key).arrays["source_index"].tolist()
    rows = find_run(workspace, "last").predictions()
    (row,) = rows[(rows["clip_id"] == CLIP) & (rows["weights"] == "last")].to_dict("records")
    found = {}
    for step in STEPS:
        frames = [place for place, source in enumerate(index) if step.start <= source < step.end]
        seen = [n for n, start in enumerate(STARTS) for place in frames if start <= place < start + SEGMENT]
        mean = sum(row[f"segment_{n}"] for n in seen) / len(seen) if seen else None
        found[step.name] = frames, sorted(set(seen)), mean
    return found


def test_the_file_of_step_scores(labelled: Path) -> None:
    wanted = by_hand(labelled)
    (path,) = labelled.glob("runs/*/step_scores.csv")
    rows = [row for row in csv.DictReader(path.read_text().splitlines()) if row["weights"] == "last"]
    assert [(row["clip_id"], row["split"], row["step"]) for row in rows] == [(CLIP, "test", s.name) for s in STEPS]
    for row, step in zip(rows, STEPS, strict=True):
        frames, segments, mean = wanted[step.name]
        assert (row["start"], row["end"]) == (str(step.start), str(step.end))
        assert row["first_frame"] == (str(frames[0]) if frames else "")
        assert row["last_frame"] == (str(frames[-1]) if frames else "")
        assert row["segments"] == " ".join(map(str, segments))
        assert row["score"] == "" if mean is None else float(row["score"]) == pytest.approx(mean, rel=1e-6)
    assert wanted["flight"][1] == [0, 1]
    assert wanted["never"] == ([], [], None)


def test_the_report_shows_them(labelled: Path) -> None:
    (report,) = (path for path in labelled.glob("runs/*/report.html") if "Steps of clip" in path.read_text())
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", report.read_text()))
    frames, segments, mean = by_hand(labelled)["flight"]
    told = f"{frames[0]} to {frames[-1]} {', '.join(map(str, segments))} {format_number(mean)}"
    assert f"flight {told}" in words
    assert "Nobody judged a step." in words


def test_the_viewer_shows_them_beside_the_segments(labelled: Path) -> None:
    wanted = by_hand(labelled)
    with pages_of(labelled) as pages:
        clip = pages.get("/api/clip", dataset=DATASET, clip=CLIP)
        scored = pages.get("/api/score", dataset=DATASET, clip=CLIP)
    assert [(step["name"], step["score"]) for step in clip["steps"]] == [(step.name, None) for step in STEPS]
    for step in scored["steps"]:
        frames, segments, mean = wanted[step["name"]]
        assert step["frames"] == ([frames[0], frames[-1] + 1] if frames else None)
        assert step["segments"] == segments
        assert step["score"] == (None if mean is None else pytest.approx(mean, abs=2e-3))


def test_the_clips_own_file_shows_them(labelled: Path, tmp_path: Path) -> None:
    workspace = Workspace(labelled)
    tube, plans, config = find_clip(workspace, CLIP, DATASET, None, [])
    page = write_page(workspace, tube, plans, config, tmp_path)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.S).group(1))  # type: ignore[union-attr]
    wanted = by_hand(labelled)
    assert [step["name"] for step in data["steps"]] == [step.name for step in STEPS]
    for step in data["steps"]:
        mean = wanted[step["name"]][2]
        assert step["score"] == (None if mean is None else pytest.approx(mean, abs=1e-3))
    assert len(data["segment_scores"]) == len(STARTS)
