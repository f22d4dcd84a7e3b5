"""docs/datasets/cases.md: what people's videos, label files and file names become, made by reading them.

`TUBEFLOW_WRITE_DOCS=1 python -m pytest tests/docs/test_cases.py` writes the page anew.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_catalog.datasets import DatasetError, build_adapter
from data_catalog.foreign_text import visible
from tests.support import REPO
from tests.support.dataset_files import write_video
from tests.support.video_cases import VIDEOS, now
from tests.support.video_names import NAMES

PAGE = REPO / "docs" / "datasets" / "cases.md"
LABELS = REPO / "tests" / "data_catalog" / "datasets" / "label_files"
INTRODUCTION = """# Videos, label files and names that people really have

Made by `tests/docs/test_cases.py`. Every frame of a video shows its own number, so that what is used can be read off;
the videos are in `tests/data/video`, what is right for each is in `tests/data_catalog/media/test_cases.py`. The label
files are in `tests/data_catalog/datasets/label_files` and name the videos a.mp4 and b.mp4. [folder.md](folder.md) has
the rules behind the rows.
"""
VIDEO_KINDS = {
    "plain.mp4": "whole, 30 fps",
    "whole.mkv": "whole",
    "whole.webm": "whole",
    "qt_trim.mov": "trimmed by an edit list; all samples are still inside",
    "qt_trim_head.mov": "trimmed at the head",
    "dropped.avi": "20 frames were dropped by the capture card",
    "midlong.mkv": "a recording that starts in the middle of a group of pictures",
    "midlong.ts": "the same",
    "lost.ts": "packets lost in the middle",
    "hlg.mov": "10-bit HLG, a phone's HDR",
    "mbaff.ts": "interlaced broadcast",
    "mpeg2i.ts": "interlaced broadcast",
    "cut.mkv": "a download that broke off",
    "cut.webm": "the same",
    "rot.mp4": "one damaged packet",
}
# row of a label file → in words
VALUES = {
    "clip_id of 250 characters": ("clip_id,video,split,score", "x" * 250 + ",a.mp4,train,1"),
    "clip_id with terminal escapes": ("clip_id,video,split,score", "\x1b[31mred,a.mp4,train,1"),
    "label 3000000000": ("clip_id,video,split,label", "x,a.mp4,train,3000000000"),
    "label of 20 digits": ("clip_id,video,split,label", "x,a.mp4,train,99999999999999999999"),
    "end_frame of 20 digits": ("clip_id,video,split,score,end_frame", "x,a.mp4,train,1,99999999999999999999"),
    "score 1e400": ("clip_id,video,split,score", "x,a.mp4,train,1e400"),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    for name in ("a.mp4", "b.mp4"):
        write_video(root / name)
    return root


def outcome(videos: Path, labels: Path) -> tuple[str, str]:
    """The clips that are read, with their scores, and what is said."""
    try:
        listing = build_adapter("folder").read(videos, labels)
    except DatasetError as exc:
        return "none", str(exc)
    clips = ", ".join(f"{clip.clip_id} {clip.split} {clip.score}" for clip in listing.records)
    said = [*listing.notes, *listing.warnings, *(f"{row.reason}; {row.remedy}" for row in listing.rejected)]
    return clips or "none", "; ".join(said)


def cell(text: str) -> str:
    return visible(text).replace("|", "\\|")


def row(*cells: str) -> str:
    return f"| {' | '.join(map(cell, cells))} |"


def page_lines(videos: Path, scratch: Path) -> Iterator[str]:
    yield from [INTRODUCTION, "| video | what it is | now |", "|---|---|---|"]
    for name, what in VIDEO_KINDS.items():
        yield row(name, what, now(name))
    yield from ["", "| label file | clips | what is said |", "|---|---|---|"]
    for path in sorted(LABELS.iterdir()):
        yield row(path.name, *outcome(videos, path))
    yield from ["", "| row, beside a good one | clips | what is said |", "|---|---|---|"]
    for name, (header, line) in VALUES.items():
        good = "ok,b.mp4,test,1" + "," * (header.count(",") - 3)
        labels = scratch / "labels.csv"
        labels.write_text(f"{header}\n{line}\n{good}\n")
        yield row(name, f"{len(build_adapter('folder').read(videos, labels).records)} of 2", outcome(videos, labels)[1])
    yield from ["", "| | labels say | on the disk | used |", "|---|---|---|---|"]
    for number, (name, (said, on_disk)) in enumerate(NAMES.items()):
        root = scratch / str(number) / "clips"
        (root / on_disk).parent.mkdir(parents=True)
        (root / on_disk).write_bytes(b"x")
        labels = scratch / "labels.csv"
        labels.write_text(f'clip_id,video,split,score\nx,"{said}",train,1\n', encoding="utf-8")
        used = [clip.video for clip in build_adapter("folder").read(root, labels).records] == [on_disk]
        yield row(name, ascii(said)[1:-1], ascii(on_disk)[1:-1], "yes" if used else "no")


def test_every_video_is_on_the_page() -> None:
    assert set(VIDEO_KINDS) == {path.name for path in VIDEOS.iterdir()}


def test_the_page_says_what_is_read(videos: Path, tmp_path: Path) -> None:
    text = "\n".join(page_lines(videos, tmp_path)) + "\n"
    if os.environ.get("TUBEFLOW_WRITE_DOCS"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text
