"""FR-FS (Wang et al., ACM MM 2021): did the figure skater land or fall? 417 clips with published tracking boxes."""

from __future__ import annotations

import re
from pathlib import Path

from data_catalog.datasets.label_files.workbook import read_workbook
from data_catalog.datasets.layouts import abridge, find_file, find_image_folder
from data_catalog.datasets.records import Check, ClipRecord, Listing, RejectedRow
from data_catalog.errors import DatasetError
from data_catalog.tracks.files import read_frfs_boxes
from data_catalog.tracks.text import TrackFileError

WHERE = "get FRFS from https://github.com/Shunli-Wang/TSA-Net (Google Drive or Baidu)"
ACTION = "figure_skating"
PLACES = (".", "FRFS", "labels", "annotations")
IMAGE_PLACES = ("Images", "FRFS/Images", "images", "frames", ".")
LISTS = {"train": ("Train.xls", "Train.xlsx"), "test": ("Test.xls", "Test.xlsx")}
BOXES = "FRFS_Boxes.json"
FALL, LANDED = 0, 1
CLASSES = ("fall", "clean landing")
"""Names of the labels 0 and 1."""
_KEY = re.compile(r"[\w.-]+")


class FrFsAdapter:
    """``Train.xls``, ``Test.xls``, ``FRFS_Boxes.json`` and ``Images/<key>/*.jpg``."""

    def read(self, root: Path, labels: Path | None = None) -> Listing:
        """List the clips of both sheets; `labels` is the folder with the sheets and the boxes.

        The first published quad of a clip becomes its first-frame box.

        Raises:
            DatasetError: a sheet is missing or damaged.
        """
        base = labels if labels is not None else root
        boxes, notes = _first_boxes(base)
        places = [place for place in IMAGE_PLACES if (root / place).is_dir()]
        records: list[ClipRecord] = []
        missing: list[ClipRecord] = []
        rejected: list[RejectedRow] = []
        seen: set[str] = set()
        for split in LISTS:
            path = _find_sheet(base, split)
            for line, (key, label) in enumerate(_read_sheet(path), start=2):
                if not key and not label:
                    continue  # a blank line
                fault = _row_fault(key, label) or (f"clip '{key}' is listed twice" if key in seen else "")
                if fault:
                    rejected.append(
                        RejectedRow(key or None, path.name, line, fault, f"use the published list; {WHERE}")
                    )
                    continue
                seen.add(key)
                video = find_image_folder(root, (f"{place}/{key}" for place in places))
                box = (boxes[key],) if key in boxes else ()
                record = ClipRecord(key, video, split, ACTION, label=int(float(label)), boxes=box)
                (records if video else missing).append(record)
        warnings = [*_missing_warning(missing, len(records)), *_box_warnings(boxes, seen)]
        return Listing(tuple(records), tuple(rejected), tuple(warnings), tuple(notes), tuple(missing))

    def check(self, listing: Listing) -> list[Check]:
        """Clips in all, clean landings and falls; half of each is for training."""
        clips = listing.annotated

        def count(label: int, split: str = "") -> int:
            return sum(c.label == label and (not split or c.split == split) for c in clips)

        return [
            Check.equal("clips", 417, len(clips)),
            Check.equal("clean landings", 276, count(LANDED)),
            Check.equal("falls", 141, count(FALL)),
            Check.equal("clean landings for training", 138, count(LANDED, "train")),
            _half_of_falls(count(FALL, "train")),
        ]


def _half_of_falls(found: int) -> Check:
    # 141 is odd and the paper does not say which half has the clip more.
    return Check("falls for training", "70 or 71", str(found), found in (70, 71))


def _find_sheet(base: Path, split: str) -> Path:
    path = find_file(base, PLACES, LISTS[split])
    if path is None:
        raise DatasetError(f"{base} holds no {LISTS[split][0]}; {WHERE} and unpack it here")
    return path


def _read_sheet(path: Path) -> list[tuple[str, str]]:
    """Clip key and label as text, from the first sheet below its header row."""
    try:
        sheets = read_workbook(path)
    except DatasetError as exc:
        raise DatasetError(f"{exc}, or {WHERE}") from exc
    rows = sheets[0].rows if sheets else []
    if not rows or len(rows[0]) < 2:
        raise DatasetError(f"{path.name} has {len(rows[0]) if rows else 0} columns, not clip key and label; {WHERE}")
    return [((*row, "", "")[0], (*row, "", "")[1]) for row in rows[1:]]


def _row_fault(key: str, label: str) -> str:
    if not _KEY.fullmatch(key) or key in (".", ".."):
        return f"the clip key '{key}' is no folder name" if key else "the row has no clip key"
    return "" if label in (str(FALL), str(LANDED)) else f"the label '{label}' is neither 0 (fall) nor 1 (landed)"


def _first_boxes(base: Path) -> tuple[dict[str, tuple[float, float, float, float]], list[str]]:
    """Clip key → axis-aligned box around its first quad."""
    path = find_file(base, PLACES, (BOXES,))
    if path is None:
        return {}, [f"no {BOXES} here, so that the athlete has to be detected; {WHERE}"]
    try:
        tracks = read_frfs_boxes(path)
    except TrackFileError as exc:
        raise DatasetError(f"{exc}; {WHERE}") from exc
    boxes = {}
    for key, track in tracks.tubes.items():
        (x0, y0), (x1, y1) = track[0].min(axis=0).tolist(), track[0].max(axis=0).tolist()
        if x1 > x0 and y1 > y0:  # false for a first frame without a box, too
            boxes[key] = (x0, y0, x1 - x0, y1 - y0)
    return boxes, [f"first-frame boxes of {len(boxes)} clips read from {BOXES}", *tracks.notes]


def _missing_warning(missing: list[ClipRecord], there: int) -> list[str]:
    if not missing:
        return []
    names = abridge(record.clip_id for record in missing)
    return [
        f"{len(missing)} of {len(missing) + there} listed clips have no frames here ({names}); "
        f"{WHERE} and unpack it so that Images/{missing[0].clip_id}/ holds its .jpg files"
    ]


def _box_warnings(boxes: dict[str, tuple[float, float, float, float]], listed: set[str]) -> list[str]:
    without = sorted(listed - boxes.keys()) if boxes else []
    if not without:
        return []
    return [
        f"{len(without)} clips have no first box in {BOXES} ({abridge(without)}); their athletes have to be detected"
    ]
