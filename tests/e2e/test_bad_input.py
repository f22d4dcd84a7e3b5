"""Bad input, each with a real file through the true command line: one plain sentence, and the others go on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from data_catalog.catalog import Workspace
from tests.support.prefect_home import prefect_home
from tests.support.tiny_workspace import SETTINGS, digests, new_workspace, run
from tests.support.video_files import numbered_frames, write_video

FIELDS = ("clip_id", "video", "split", "score", "x", "y", "w", "h")
# these labels tell no difficulty, so none is multiplied in
WORDS = (*SETTINGS, "train.epochs=1", "train.difficulty=false")
RUN = ("run", "folder", "--dataset", "mine", *(word for one in WORDS for word in ("-o", one)))


def environment(home: Path) -> dict[str, str]:
    own = {"PREFECT_HOME": str(prefect_home(home)), "TUBEFLOW_WORKSPACE": ""}
    return os.environ | own | {"OMP_NUM_THREADS": "1", "COLUMNS": "400"}


@pytest.fixture
def tubeflow(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in a process of its own."""

    def call(workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flows.cli", *words, "-w", str(workspace)]
        return subprocess.run(
            command, env=environment(tmp_path / "prefect"), capture_output=True, text=True, check=False, timeout=240
        )

    return call


def no_traceback(result: subprocess.CompletedProcess[str]) -> str:
    said = result.stdout + result.stderr
    for noise in ("Traceback", "Error:", "| INFO", "| WARNING", "| ERROR", "Exception ignored"):
        assert noise not in said, said
    return said


def make_bad_videos(folder: Path) -> None:
    """One file of every kind that is no usable video."""
    (folder / "text.mp4").write_text("this is a letter, not a video")
    write_video(folder / "whole.mp4", numbered_frames(40, (320, 240)))
    whole = (folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    early = write_video(folder / "early.mp4", numbered_frames(40, (320, 240)), faststart=True).read_bytes()
    (folder / "cut_late.mp4").write_bytes(early[: len(early) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    with av.open(str(folder / "no_frames.mkv"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        file.start_encoding()  # header and trailer, and nothing between
    write_video(folder / "one_frame.mp4", numbered_frames(1, (320, 240)))


BAD_ROWS = {
    "missing_file": ("clips/nowhere.mp4", "train", "5"),
    "no_video": ("", "train", "5"),
    "no_score": ("whole.mp4", "train", ""),
    "nan_score": ("whole.mp4", "train", "nan"),
    "leaves": ("../outside.mp4", "train", "5"),
}
BAD_VIDEOS = {
    "text": "text.mp4",
    "cut": "cut.mp4",
    "cut_late": "cut_late.mp4",
    "empty": "empty.mp4",
    "no_frames": "no_frames.mkv",
    "one_frame": "one_frame.mp4",
}


@pytest.fixture
def folder(tiny_videos: Path, tmp_path: Path) -> Path:
    """Four good clips among clips and rows that are bad in every way, as a user's folder."""
    folder = tmp_path / "clips"
    shutil.copytree(tiny_videos / "videos", folder)
    make_bad_videos(folder)
    (tmp_path / "outside.mp4").write_bytes((folder / "whole.mp4").read_bytes())
    with (tiny_videos / "labels.csv").open() as file:
        good = [{name: row[name] for name in FIELDS} for row in csv.DictReader(file)]
    for row in good:
        row["video"] = Path(row["video"]).name
    box = {"x": "100", "y": "60", "w": "60", "h": "80"}
    rows = [{"clip_id": name, "video": video, "split": "train", "score": "5", **box} for name, video in
            BAD_VIDEOS.items()]
    rows += [dict(zip(FIELDS, (name, *values), strict=False)) | box for name, values in BAD_ROWS.items()]
    rows += [good[0] | {"score": "99"}]  # the same clip_id again with another score
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows([*good, *rows])
    return folder


@pytest.mark.timeout(600)
def test_bad_clips_and_rows_are_told_and_the_others_go_on(folder: Path, tmp_path: Path, tubeflow: Any) -> None:
    root = tmp_path / "w"
    ingested = tubeflow(root, "ingest", "folder", "--name", "mine", "--videos", str(folder))
    said = no_traceback(ingested)
    assert ingested.returncode == 0
    for name in BAD_ROWS:
        (line,) = [line for line in said.splitlines() if f"clip '{name}'" in line]
        assert "labels.csv line " in line
        assert ";" in line  # what is wrong; what to do
    assert "diving_0000" in said  # given twice

    first = tubeflow(root, *RUN)
    said = no_traceback(first)
    assert first.returncode == 0, said
    crosses = [line for line in said.splitlines() if "✗" in line]
    assert len(crosses) == len(BAD_VIDEOS), said
    for name, video in BAD_VIDEOS.items():
        (line,) = [line for line in crosses if f"/{video}" in line]
        assert name in line or video in line
        assert line.rstrip().endswith(".")
    assert f"{len(BAD_VIDEOS)} quarantined" in said
    assert "report.html" in said

    strict = tubeflow(root, *RUN, "--strict", "--json")
    summary = json.loads(strict.stdout)
    assert strict.returncode == 1
    assert {row["clip_id"] for row in summary["quarantined"]} == set(BAD_VIDEOS)
    assert sum(stage["computed"] for stage in summary["stages"].values()) == 0
    assert summary["stages"]["normalize"]["hits"] == summary["stages"]["masks"]["hits"]
    assert summary["metrics"]
    no_traceback(strict)


@pytest.mark.timeout(300)
def test_where_nothing_is_left_the_exit_status_says_so(tmp_path: Path, tubeflow: Any) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.mp4").write_text("a letter")
    (folder / "labels.csv").write_text("clip_id,video,split,score\na,a.mp4,train,1\n")
    assert tubeflow(tmp_path / "w", "ingest", "folder", "--name", "mine", "--videos", str(folder)).returncode == 0
    result = tubeflow(tmp_path / "w", *RUN)
    said = no_traceback(result)
    assert result.returncode == 1
    assert "a.mp4 is not a video" in said
    assert "pack was not run: no clip got this far." in said


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        pytest.param(
            ["run", "folder", "--dataset", "mine", "-o", "track.traker=nano", "-o", "train.epochs=many"],
            ["Unknown key 'track.traker'; did you mean 'track.tracker'?", "train.epochs", "'many'"],
            id="unknown key and wrong type, at once",
        ),
        pytest.param(["run", "foldr", "--dataset", "mine"], ["did you mean 'folder'?"], id="unknown preset"),
        pytest.param(["plan", "folder", "--dataset", "mine"], ["no dataset 'mine'", "tubeflow ingest"], id="dataset"),
        pytest.param(["ingest", "folder", "--name", "mine", "--videos", "/nowhere"], ["/nowhere"], id="no folder"),
    ],
)
def test_a_wrong_command_is_told_plainly(tmp_path: Path, tubeflow: Any, words: list[str], sentences: list[str]) -> None:
    result = tubeflow(tmp_path / "w", *words)
    said = no_traceback(result)
    assert result.returncode == 2
    assert all(sentence in said for sentence in sentences), said


@pytest.mark.parametrize("closed", ["the folder above", "artifacts"])
def test_an_unwritable_workspace(
    tiny_videos: Path, tmp_path: Path, where_permissions_bite: Callable[..., Any], closed: str
) -> None:
    root = new_workspace(tmp_path / "above" / "w", tiny_videos, "mine").root
    if closed == "the folder above":
        shutil.rmtree(root)
        root.parent.chmod(0o555)
    else:
        (root / "artifacts").chmod(0o555)
    command = [sys.executable, "-m", "flows.cli", *RUN, "--only", "normalize", "-w", str(root)]
    result = where_permissions_bite(*command, env=environment(tmp_path / "prefect"))
    said = no_traceback(result)
    assert result.returncode in (1, 2)
    assert "Permission denied" in said
    assert str(root) in said
    assert "choose another with --workspace" in said or "permissions, then run again" in said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A file system of its own with little room, and a function that gives it another size."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")

    def resize(size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)

    yield disk, resize
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.timeout(300)
def test_a_full_disk_loses_nothing(
    tiny_videos: Path, finished_workspace: Path, tubeflow: Any, small_disk: tuple[Path, Callable[[str], None]]
) -> None:
    disk, resize = small_disk
    root = new_workspace(disk / "w", tiny_videos).root
    words = ["tiny" if word == "mine" else word for word in RUN]
    result = tubeflow(root, *words, "--until", "masks")
    said = no_traceback(result)
    assert "No space left on device" in said, said
    assert "then run again; what is done is kept" in said
    complete = digests(root)
    assert complete, "the disk must be large enough for something"
    resize("60m")
    summary = run(root, selected=("normalize", "detect", "track", "masks"))
    assert summary.failures == []
    assert sum(count.hits for count in summary.stages.values()) == len(complete)
    whole = {name: digest for name, digest in digests(finished_workspace).items() if name in digests(root)}
    assert digests(root) == whole
    assert len(whole) == 16
    assert Workspace(root).store.sweep() == []
