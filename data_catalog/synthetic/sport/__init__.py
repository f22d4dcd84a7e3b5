"""Procedural sport videos with full ground truth: the demo, the test fixture, the bench.

A data set is a folder in the folder adapter's format, plus the truth that no real data set has:

    videos/<clip_id>.mp4          H.264, 25, 29.97 or 50 fps, 640×360 or 320×240
    labels.csv                    one row per clip and athlete
    ground_truth/<clip_id>.npz    quads, masks, visibility (see `read_ground_truth`)
    dataset.json                  kind, seed, setting, generator version, facts of every clip

Clip i depends on (seed, kind, size, setting, i) and the generator version only: asking for more clips, or for more
workers, never changes it.
"""

import csv
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Final, Literal

from data_catalog.synthetic.sport.distractors import ALONE, Setting
from data_catalog.synthetic.sport.storyboard import KINDS, Kind, Storyboard, plan_clip, split_of
from data_catalog.synthetic.sport.write import GroundTruth, read_ground_truth, write_clip
from data_catalog.threads import pin_threads

__all__ = [
    "ALONE", "COLUMNS", "GENERATOR_VERSION", "KINDS", "GroundTruth", "Kind", "Setting", "Size", "make_dataset",
    "read_ground_truth",
]  # fmt: skip

# Raise when pixels or labels of a clip change. 2: distractors and zoom; clips without them are those of version 1.
# 3: distractors are drawn as athletes are, a camera on the group films as long as the group dives, and who stands
# nearer is painted over others' water (pairs too); clips of one person are still those of version 1.
GENERATOR_VERSION: Final = 3
Size = Literal["640x360", "320x240", "mixed"]
COLUMNS: Final = (
    "clip_id", "video", "split", "score", "difficulty", *(f"judge_{n}" for n in range(1, 8)),
    "label", "action", "x", "y", "w", "h", "athlete",
)  # fmt: skip

Row = dict[str, object]
Facts = dict[str, object]
_Job = tuple[Path, Kind, int, int, Size, Setting, str]


def make_dataset(
    out: Path,
    *,
    kind: Kind = "diving",
    clips: int = 60,
    held_out: int = 0,
    seed: int = 0,
    size: Size = "mixed",
    setting: Setting = ALONE,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a procedural data set and return its folder.

    Args:
        out: folder to fill; made if missing, files of the same name are replaced.
        kind: "diving", "sync_diving" (two athletes) or "skating" (label 1 = landed, 0 = fell).
        clips: how many; every fourth is in the test split.
        held_out: so many more behind these, all of them in the test split.
        seed: of everything random.
        size: frame size in pixels, or "mixed".
        setting: other divers in the picture, and how far away the camera is.
        workers: processes; all cores when None, in this process when 1.
        progress: called with (clips done, clips) after each clip, in order.

    Raises:
        ValueError: unknown kind or size, a negative number, no clips asked, or distractors for another kind than
            diving.
        OSError: `out` cannot be written.
    """
    if clips < 1:
        raise ValueError(f"a data set needs at least one clip, {clips} asked; raise clips")
    if held_out < 0:
        raise ValueError(f"there can't be {held_out} more held-out clips; held_out must not be negative")
    if seed < 0:
        raise ValueError(f"the seed must not be negative, got {seed}")
    out = Path(out)
    for folder in ("videos", "ground_truth"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    splits = [split_of(index) for index in range(clips)] + ["test"] * held_out
    jobs: list[_Job] = [(out, kind, index, seed, size, setting, split) for index, split in enumerate(splits)]
    rows: list[Row] = []
    facts: dict[str, Facts] = {}
    for done, (clip_rows, clip_facts) in enumerate(_run(jobs, workers), start=1):
        rows += clip_rows
        facts[str(clip_rows[0]["clip_id"])] = clip_facts
        if progress is not None:
            progress(done, len(jobs))
    _write_labels(out / "labels.csv", rows)
    about = {
        "procedural": True, "generator_version": GENERATOR_VERSION, "kind": kind, "seed": seed, "size": size,
        **asdict(setting), "num_clips": len(jobs), "clips": facts,
    }  # fmt: skip
    _replace_text(out / "dataset.json", json.dumps(about, indent=1) + "\n")
    return out


def _run(jobs: list[_Job], workers: int | None) -> Iterator[tuple[list[Row], Facts]]:
    """Results in order of the jobs, from this process or from a pool."""
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count <= 1:
        yield from map(_make_clip, jobs)
        return
    # A fork of a process that has started threads (torch, Prefect) can hang; a fresh process cannot.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=fresh, initializer=pin_threads, initargs=(1,)) as pool:
        yield from pool.map(_make_clip, jobs)


def _make_clip(job: _Job) -> tuple[list[Row], Facts]:
    out, kind, index, seed, size, setting, split = job
    story = plan_clip(kind, index, seed, size, setting)
    boxes = write_clip(story, out)
    return list(_rows(story, split, boxes)), story.facts


def _rows(story: Storyboard, split: str, boxes: list[tuple[int, int, int, int]]) -> Iterator[Row]:
    """One row of labels.csv per athlete."""
    row: Row = dict.fromkeys(COLUMNS, "")
    row |= {"clip_id": story.clip_id, "video": f"videos/{story.clip_id}.mp4", "split": split, "action": story.kind}
    if story.marks is None:
        row |= {"score": int(story.score), "label": story.label}
    else:
        row |= {"score": f"{story.score:.2f}", "difficulty": f"{story.difficulty:.1f}"}
        row |= {f"judge_{number}": f"{mark:.1f}" for number, mark in enumerate(story.marks, start=1)}
    for athlete, box in enumerate(boxes):
        yield row | dict(zip("xywh", box, strict=True)) | {"athlete": athlete}


def _write_labels(path: Path, rows: list[Row]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    os.replace(part, path)


def _replace_text(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
