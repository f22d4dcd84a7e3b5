"""A clip as one HTML file, and two trackers side by side: what is in the files that `tubeflow inspect` writes."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from flows.cli.main import app
from flows.tracking.pairs import compare_trackers, find_pairs
from models.geometry import polygon_iou
from models.trackers import TRACKERS, FrameLoopTracker, TrackerEntry, TrackStep
from models.trackers.base import rectangle
from tests.support.tiny_workspace import copy_workspace, run

CLIP = "diving_0003"


class StillTracker(FrameLoopTracker):
    """Never moves: so it disagrees with a tracker that does."""

    def __init__(self, files: list[Path], device: str) -> None:
        pass

    def init(self, frame: NDArray[np.uint8], box: ArrayLike) -> None:
        self.quad = rectangle(box)

    def update(self, frame: NDArray[np.uint8]) -> TrackStep:
        return TrackStep(self.quad, 0.5)


@pytest.fixture(scope="module")
def compared(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The finished workspace with tubes of a second tracker."""
    root = copy_workspace(finished_workspace, tmp_path_factory.mktemp("compared") / "workspace")
    TRACKERS["still"] = TrackerEntry(f"{__name__}:StillTracker")
    try:
        assert not run(root, "track.tracker=still", selected=("track", "masks")).failures
        yield root
    finally:
        del TRACKERS["still"]


def call(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result.stdout if status == 0 else result.stderr


class Page(HTMLParser):
    """What a page refers to, and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.scripts: list[str] = []
        self.policy = ""
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.references += [str(given[name]) for name in ("src", "href", "srcset", "action", "data") if given.get(name)]
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(given["content"])
        self._script = tag == "script"

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts.append(data)
            self._script = False


@pytest.fixture(scope="module")
def page(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str]:
    folder = tmp_path_factory.mktemp("page")
    printed = call("inspect", CLIP, "-w", str(finished_workspace), "--html", "--out", str(folder))
    assert f"page   {folder / CLIP}.html" in printed.replace("\n", "")
    text = (folder / f"{CLIP}.html").read_text()
    return Page(text), text


def test_the_page_needs_nothing_but_itself(page: tuple[Page, str]) -> None:
    parsed, text = page
    assert all(reference.startswith(("data:image/", "#")) for reference in parsed.references)
    data, script = parsed.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in parsed.policy
    assert "default-src 'none'" in parsed.policy
    assert set(re.findall(r"https?://[^\"'\s<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "</script" not in data


def test_the_page_holds_the_artifacts(page: tuple[Page, str], finished_workspace: Path) -> None:
    found: dict[str, Any] = json.loads(page[0].scripts[0])
    assert len(found["frames"]) == 24
    assert all(frame.startswith("data:image/jpeg;base64,") for frame in found["frames"])
    workspace = Workspace(finished_workspace)
    keys = {row.stage: row.key for row in workspace.index.rows.values() if row.clip_id == CLIP}
    track = workspace.store.read("track", keys["track"]).arrays
    np.testing.assert_allclose(found["tube"]["quads"], track["quads"], atol=0.01)
    mask = workspace.store.read("masks", keys["masks"]).arrays["mask"]
    assert base64.b64decode(found["grid"]["mask"]) == mask.astype(np.uint8).tobytes()
    row = next(one for one in workspace.tube_quality.rows.values() if one.clip_id == CLIP)
    assert found["marks"]["lost_frames"] == row.lost_frames
    assert np.shape(found["likeness"]) == (1, 24)
    for stage in ("normalize", "detect", "track", "masks"):
        assert str(workspace.store.path(stage, keys[stage])) in page[1]
    for reason in row.reasons:
        assert reason.replace("'", "&#39;") in page[1]


def test_comparing_finds_where_two_trackers_disagree(compared: Path, tmp_path: Path) -> None:
    answer = call("inspect", "--compare", "mil", "still", "-w", str(compared), "--out", str(tmp_path), "--json")
    found = json.loads(answer)
    assert found == compare_trackers(Workspace(compared), ("mil", "still"), None, None, tmp_path)
    assert sorted(one["clip"] for one in found["clips"]) == [f"diving_{n:04d}" for n in range(4)]
    overlaps = [one["iou"] for one in found["clips"]]
    assert overlaps == sorted(overlaps)
    assert 0 <= overlaps[0] < 1
    worst = found["clips"][0]["clip"]
    assert Path(found["sheet"]).name == f"{worst}_compared.png"
    assert Image.open(found["sheet"]).width > 1400
    with av.open(found["video"]) as video:
        assert sum(1 for _ in video.decode(video=0)) == 24


def test_the_overlap_is_that_of_the_quads(compared: Path) -> None:
    workspace = Workspace(compared)
    pairs, notes = find_pairs(workspace, "tiny", ("mil", "still"))
    assert notes == []
    quads = [workspace.store.read("track", track.key).arrays["quads"] for track in pairs[0].tracks]
    assert (quads[1] == quads[1][:, :1]).all()  # the second is the one that stands still
    np.testing.assert_allclose(pairs[0].overlap, polygon_iou(*quads)[0])
    assert pairs[0].overlap[0] == pytest.approx(1)


def test_one_clip_and_a_table_in_words(compared: Path, tmp_path: Path) -> None:
    text = call("inspect", CLIP, "--compare", "still", "mil", "-d", "tiny", "-w", str(compared), "--out", str(tmp_path))
    assert "Mean overlap" in text
    assert (tmp_path / f"{CLIP}_compared.png").is_file()
    assert (tmp_path / f"{CLIP}_compared.mp4").is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--compare", "mil", "nano"), "No clip of 'tiny' was tracked by 'nano' (there is: mil, still)"),
        (("nobody", "-d", "tiny", "--compare", "mil", "still"), "Clip 'nobody' has no tubes of both"),
        ((), "Say which clip to inspect, or which two trackers to --compare."),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(compared: Path, words: tuple[str, ...], expected: str) -> None:
    assert expected in " ".join(call("inspect", *words, "-w", str(compared), status=2).split())
