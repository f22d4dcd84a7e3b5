"""MTL-AQA (Parmar and Morris, CVPR 2019): 1412 dives cut from 15 broadcasts, split 0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from data_catalog.datasets.layouts import Key, Media, abridge, count_images, find_file, find_numbered
from data_catalog.datasets.records import Check, ClipRecord, Listing, RejectedRow
from data_catalog.errors import DatasetError
from data_catalog.safe_pickle import load_annotation

WHERE_LABELS = "get it from https://github.com/ParitoshParmar/MTL-AQA (MTL-AQA_dataset_release/Ready_2_Use)"
WHERE_VIDEOS = "download the broadcasts named in Video_List.xlsx of https://github.com/ParitoshParmar/MTL-AQA"
ACTION = "diving"
SPLIT_FOLDER = "Ready_2_Use/MTL-AQA_split_0_data"
LABEL_PLACES = (
    ".", "info", "annotations", "labels", "data/info", "new/info",
    "MTL-AQA_split_0_data", SPLIT_FOLDER, f"MTL-AQA_dataset_release/{SPLIT_FOLDER}",
)  # fmt: skip
# Best first: the file with dive numbers has the judges' marks as well, and none of them is out of range.
ANNOTATIONS = (
    "final_annotations_dict_with_dive_number.pkl",
    "augmented_final_annotations_dict.pkl",
    "final_annotations_dict.pkl",
)
MEDIA_PLACES = (
    ".", "videos", "whole_videos", "broadcasts", "frames", "frames_long", "data/frames",
    "new/new_total_frames_256s", "new_total_frames_256s", "whole_videos_frames", "clips",
)  # fmt: skip
FIELDS = ("start_frame", "end_frame", "difficulty", "final_score")
EXTRA = ("primary_view", "position", "armstand", "rotation_type", "ss_no", "tw_no", "dive_number")
EVENTS = (1, 2, 3, 4, 5, 6, 7, 9, 10, 13, 14, 17, 18, 22, 26)
NUM_FRAMES = 103
MAX_MARK = 10.0
RULE_TOLERANCE = 0.01  # points; scores are published with at most two decimals


class MtlAqaAdapter:
    """Broadcast videos (``01.mp4``), broadcast frames (``01/000001.jpg``) or clip frames (``01_07/...``)."""

    def read(self, root: Path, labels: Path | None = None) -> Listing:
        """List the dives of split 0; `labels` is the annotation folder, or one annotation file in it.

        A dive in a broadcast is the slice ``[start_frame, end_frame)`` of its frames counted from
        0, as the public loaders slice their list of files.

        Raises:
            DatasetError: an annotation file is missing, damaged, or of another kind.
        """
        path = _find_annotation(root, labels)
        dives = load_annotation(path, dict, WHERE_LABELS)
        splits = {
            split: load_annotation(_find_split(root, path, split), list, WHERE_LABELS) for split in ("train", "test")
        }
        media = find_numbered(root, MEDIA_PLACES)
        reading = _Reading(path, dives, media)
        for split, keys in splits.items():
            for key in keys:
                reading.add(key, split)
        reading.leave_out_unlisted(dives)
        warnings = reading.warnings(root)
        notes = (f"annotation read from {path.name}", *_layout_notes(reading.records))
        return Listing(tuple(reading.records), tuple(reading.rejected), tuple(warnings), notes, tuple(reading.missing))

    def check(self, listing: Listing) -> list[Check]:
        """Counts of split 0, events, score range, dive lengths, and the dives known to break the judges' rule."""
        clips = listing.annotated
        train = [c for c in clips if c.split == "train"]
        scores = [c.score for c in clips if c.score is not None]
        train_scores = [c.score for c in train if c.score is not None]
        events = {(c.extra or {}).get("event") for c in clips}
        longer = sum(cast(int, (c.extra or {}).get("length", 0)) > NUM_FRAMES for c in clips)
        checks = [
            Check.equal("train clips", 1059, len(train)),
            Check.equal("test clips", 353, sum(c.split == "test" for c in clips)),
            Check.equal("events", len(EVENTS), len(events)),
            Check.equal("scores", "0.0 to 104.5", f"{min(scores):.1f} to {max(scores):.1f}" if scores else "none"),
            Check.equal("highest train score", 102.6, max(train_scores, default=None)),
            Check.equal("difficulties", 23, len({c.difficulty for c in clips})),
            Check.equal(f"dives longer than {NUM_FRAMES} frames", 637, longer),
        ]
        if any(c.judges for c in clips):
            broken = [c for c in clips if breaks_judge_rule(c)]
            found = f"{sum(c.split == 'train' for c in broken)}/{sum(c.split == 'test' for c in broken)}"
            checks.append(Check.equal("train/test dives whose judges do not give the score", "21/9", found))
        return checks


@dataclass
class _Reading:
    """The listing while it grows."""

    path: Path
    dives: Mapping[object, object]
    media: Mapping[Key, Media]

    def __post_init__(self) -> None:
        self.records: list[ClipRecord] = []
        self.missing: list[ClipRecord] = []
        self.rejected: list[RejectedRow] = []
        self._seen: set[object] = set()

    def add(self, key: object, split: str) -> None:
        """Turn one key of a split into a record, or into a rejected row that says why not."""
        fault = _key_fault(key) or self._fault(key)
        if fault:
            self.rejected.append(RejectedRow(_clip_id(key), self.path.name, None, fault, WHERE_LABELS))
            return
        self._seen.add(key)
        event, dive = cast(tuple[int, int], key)
        record = _record(event, dive, split, cast(Mapping[str, object], self.dives[key]))
        clip, broadcast = self.media.get((event, dive)), self.media.get((event,))
        if clip is not None:
            # A clip of its own holds this dive only; the broadcast's frame numbers mean nothing in it.
            self.records.append(replace(record, video=clip.path, start_frame=None, end_frame=None))
        elif broadcast is not None:
            self.records.append(replace(record, video=broadcast.path))
        else:
            self.missing.append(record)

    def _fault(self, key: object) -> str:
        if key in self._seen:
            return "the dive is listed twice in the splits"
        dive = self.dives.get(key)
        if not isinstance(dive, dict):
            return "the split names a dive that the annotation does not have"
        for name in FIELDS:
            value = dive.get(name)
            if not isinstance(value, int | float | np.number) or not math.isfinite(float(value)):
                return f"its {name} is {value!r}, not a finite number"
        start, end = int(dive["start_frame"]), int(dive["end_frame"])
        return "" if 0 <= start < end else f"it runs from frame {start} to frame {end}"

    def leave_out_unlisted(self, dives: Mapping[object, object]) -> None:
        """Annotated dives that no split names cannot be used; say so for each."""
        for key in dives:
            if key not in self._seen and not any(_clip_id(key) == r.clip_id for r in self.rejected):
                fault = "the dive is in neither split"
                self.rejected.append(RejectedRow(_clip_id(key), self.path.name, None, fault, WHERE_LABELS))

    def warnings(self, root: Path) -> list[str]:
        """Known faults of the annotation and missing parts of the folder; nothing is repaired."""
        return [
            *_judge_warnings(self.records + self.missing),
            *_missing_warnings(self.missing, len(self.records)),
            *_short_broadcasts(root, self.records),
        ]


def breaks_judge_rule(record: ClipRecord) -> bool:
    """Whether the middle three of seven marks, summed and multiplied by the difficulty, miss the final score."""
    return bool(abs(_judge_error(record)) > RULE_TOLERANCE)


def _judge_error(record: ClipRecord) -> float:
    if len(record.judges) != 7 or record.difficulty is None or record.score is None:
        return 0.0
    return sum(sorted(record.judges)[2:5]) * record.difficulty - record.score


def _judge_warnings(records: list[ClipRecord]) -> list[str]:
    warnings = []
    broken = sorted((r for r in records if breaks_judge_rule(r)), key=lambda r: -abs(_judge_error(r)))
    if broken:
        splits = " and ".join(f"{sum(r.split == s for r in broken)} {s}" for s in ("train", "test"))
        worst = broken[0]
        warnings.append(
            f"the judges' marks do not give the final score of {len(broken)} dives ({splits}), worst is "
            f"{worst.clip_id}, off by {abs(_judge_error(worst)):.1f} points; scores and marks are kept as published"
        )
    for record in records:
        for mark in record.judges:
            if not 0.0 <= mark <= MAX_MARK:
                warnings.append(
                    f"a judge's mark of dive {record.clip_id} is {mark:g}, above 10; it is kept as published"
                )
    return warnings


def _missing_warnings(missing: list[ClipRecord], there: int) -> list[str]:
    if not missing:
        return []
    events = sorted({int(record.clip_id.split("_")[0]) for record in missing})
    names = abridge((f"{event:02d}" for event in events), len(EVENTS))
    return [
        f"{len(missing)} of {len(missing) + there} annotated dives have no video here (events {names}); {WHERE_VIDEOS} "
        "and save them as 01.mp4, 02.mp4, ..., or put their frames into 01/, 02/, ..."
    ]


def _short_broadcasts(root: Path, records: list[ClipRecord]) -> list[str]:
    """Broadcast frame folders with fewer images than their dives need: extracted at another rate, or not to the end."""
    last: dict[str, int] = {}
    for record in records:
        if record.end_frame is not None and (root / record.video).is_dir():
            last[record.video] = max(last.get(record.video, 0), record.end_frame)
    counts = {video: count_images(root / video) for video in last}
    return [
        f"folder {video} has {counts[video]} frames but its dives need {end}; extract every frame of the broadcast"
        for video, end in last.items()
        if counts[video] < end
    ]


def _layout_notes(records: list[ClipRecord]) -> list[str]:
    if not records:
        return []
    whole = sum(record.end_frame is not None for record in records)
    notes = []
    if whole:
        notes.append(f"{whole} dives are cut from whole broadcasts by their start and end frame")
    if whole < len(records):
        notes.append(f"{len(records) - whole} dives have a video or frame folder of their own, used from first to last")
    return notes


def _record(event: int, dive: int, split: str, fields: Mapping[str, object]) -> ClipRecord:
    start, end = int(cast(int, fields["start_frame"])), int(cast(int, fields["end_frame"]))
    marks = np.asarray(fields.get("judge_scores", ()), dtype=np.float64).ravel()
    extra = {name: fields[name] for name in EXTRA if name in fields}
    return ClipRecord(
        clip_id=f"{event:02d}_{dive:02d}",
        video="",
        split=split,
        action=ACTION,
        score=float(cast(float, fields["final_score"])),
        difficulty=float(cast(float, fields["difficulty"])),
        judges=tuple(marks.tolist()),
        start_frame=start,
        end_frame=end,
        extra={"event": event, "dive": dive, "length": end - start, **extra},
    )


def _key_fault(key: object) -> str:
    ok = isinstance(key, tuple) and len(key) == 2 and all(type(n) is int and n >= 0 for n in key)
    return "" if ok else f"the key {key!r} is not an (event, dive) pair of whole numbers"


def _clip_id(key: object) -> str | None:
    return None if _key_fault(key) else "{:02d}_{:02d}".format(*cast(tuple[int, int], key))


def _find_annotation(root: Path, labels: Path | None) -> Path:
    if labels is not None and labels.is_file():
        return labels
    base = labels if labels is not None else root
    path = find_file(base, LABEL_PLACES, ANNOTATIONS)
    if path is None:
        raise DatasetError(f"{base} holds no {ANNOTATIONS[-1]}; {WHERE_LABELS} and put it into {base}")
    return path


def _find_split(root: Path, annotation: Path, split: str) -> Path:
    name = f"{split}_split_0.pkl"
    path = find_file(annotation.parent, (".",), (name,)) or find_file(root, LABEL_PLACES, (name,))
    if path is None:
        raise DatasetError(f"{name} is not beside {annotation.name}; {WHERE_LABELS} and put it there")
    return path
