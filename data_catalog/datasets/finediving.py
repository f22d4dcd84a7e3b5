"""FineDiving (Xu et al., CVPR 2022): 3000 dives; its annotation is handed out after a signed release agreement."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np

from data_catalog.datasets.layouts import abridge, count_images, find_file, find_image_folder
from data_catalog.datasets.records import Check, ClipRecord, Listing, RejectedRow
from data_catalog.datasets.step_labels import steps_of_frames
from data_catalog.errors import DatasetError
from data_catalog.safe_pickle import load_annotation

WHERE = "ask the authors for it with the release agreement of https://github.com/xujinglin/FineDiving"
ACTION = "diving"
LABEL_PLACES = (".", "Annotations", "annotations", "labels", "info", "FineDiving/Annotations")
FINE = ("fine-grained_annotation_aqa.pkl", "FineDiving_fine-grained_annotation.pkl")
COARSE = ("FineDiving_coarse_annotation.pkl", "coarse_annotation.pkl")
IMAGE_PLACES = (
    "FineDiving",
    "frames",
    "FINADiving_MTL_256s",
    "Trimmed_Video_Frames/FINADiving_MTL_256s",
    "videos",
    ".",
)
JUDGE_COUNTS = (3, 5, 7)
_EVENT = re.compile(r"[\w.-]+")


class FineDivingAdapter:
    """``Annotations/*.pkl`` and ``FineDiving/<event>/<clip>/%05d.jpg``."""

    def read(self, root: Path, labels: Path | None = None) -> Listing:
        """List the dives of both splits; `labels` is the annotation folder.

        Raises:
            DatasetError: an annotation file is missing, damaged, or of another kind.
        """
        base = labels if labels is not None else root
        path = _find(base, FINE)
        fine = load_annotation(path, dict, WHERE)
        coarse_path = find_file(base, LABEL_PLACES, COARSE)
        coarse = load_annotation(coarse_path, dict, WHERE) if coarse_path else {}
        records: list[ClipRecord] = []
        missing: list[ClipRecord] = []
        rejected: list[RejectedRow] = []
        seen: set[object] = set()
        for split in ("train", "test"):
            for key in cast(list[object], load_annotation(_find(base, (f"{split}_split.pkl",)), list, WHERE)):
                fault = _fault(key, fine) or ("the dive is listed twice in the splits" if key in seen else "")
                if fault:
                    rejected.append(RejectedRow(_clip_id(key), path.name, None, fault, WHERE))
                    continue
                seen.add(key)
                event, clip = cast(tuple[str, int], key)
                record = _record(event, clip, split, _find_frames(root, event, clip), fine[key], coarse.get(key))
                (records if record.video else missing).append(record)
        warnings = [
            *_missing_warning(missing, len(records)),
            *_overlap_warning(records + missing),
            *_step_warnings(root, path.name, records, missing),
        ]
        marks = (
            f"judges' marks read from {coarse_path.name}"
            if coarse_path
            else "no coarse annotation, so no judges' marks"
        )
        stepped = sum(bool(record.steps) for record in (*records, *missing))
        notes = (f"annotation read from {path.name}", marks, f"steps of {stepped} dives read from its label a frame")
        return Listing(tuple(records), tuple(rejected), tuple(warnings), notes, tuple(missing))

    def check(self, listing: Listing) -> list[Check]:
        """Counts of both splits, events, dive numbers and the score range; judges where they are known."""
        clips = listing.annotated
        scores = [c.score for c in clips if c.score is not None]
        extras = [c.extra or {} for c in clips]
        checks = [
            Check.equal("train clips", 2251, sum(c.split == "train" for c in clips)),
            Check.equal("test clips", 749, sum(c.split == "test" for c in clips)),
            Check.equal("events", 135, len({extra.get("event") for extra in extras})),
            Check.equal("dive numbers", 52, len({extra.get("dive_number") for extra in extras})),
            Check.equal("scores", "0.0 to 114.8", f"{min(scores):.1f} to {max(scores):.1f}" if scores else "none"),
        ]
        if any(c.judges for c in clips):
            found = "/".join(str(sum(len(c.judges) == n for c in clips)) for n in (7, 5, 3))
            checks.append(Check.equal("dives with 7/5/3 judges", "1369/607/1024", found))
        return checks


def _find_frames(root: Path, event: str, clip: int) -> str:
    """``<event>/<clip>`` in any usual place, the clip number padded or not; empty text where there is none."""
    names = (str(clip), f"{clip:02d}", f"{clip:03d}")
    return find_image_folder(root, (f"{place}/{event}/{name}" for place in IMAGE_PLACES for name in names))


def _fault(key: object, fine: Mapping[object, object]) -> str:
    if not (isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], str) and type(key[1]) is int):
        return f"the key {key!r} is not an (event name, clip number) pair"
    if not _EVENT.fullmatch(key[0]) or key[0] in (".", ".."):
        return f"the event name {key[0]!r} is no folder name"
    row = fine.get(key)
    if not isinstance(row, list | tuple) or len(row) < 5:
        return "the annotation has no full entry for the dive"
    for name, value in zip(("score", "difficulty"), row[1:3], strict=True):
        if not isinstance(value, int | float | np.number) or not math.isfinite(float(value)):
            return f"its {name} is {value!r}, not a finite number"
    return ""


def _record(event: str, clip: int, split: str, video: str, row: object, coarse: object) -> ClipRecord:
    number, score, difficulty, transitions, labels = cast(list[object], row)[:5]
    of_frames = np.asarray(labels)
    if of_frames.ndim != 1 or not np.issubdtype(of_frames.dtype, np.integer):
        of_frames = np.empty(0, np.int64)
    marks: tuple[float, ...] = ()
    if isinstance(coarse, dict) and np.size(coarse.get("judge_scores", ())) in JUDGE_COUNTS:
        marks = tuple(np.asarray(coarse["judge_scores"], dtype=np.float64).ravel().tolist())
    extra = {
        "event": event,
        "clip": clip,
        "dive_number": str(number).upper(),
        "step_transitions": np.asarray(transitions).ravel().tolist(),
        "length": int(np.size(cast(list[int], labels))),
    }
    # Frame folders are cut to the dive already, so that there are no start and end frames, and the first label is of
    # the first image, whatever number that has in the broadcast.
    record = ClipRecord(
        f"{event}_{clip}", video, split, ACTION, float(cast(float, score)), float(cast(float, difficulty)), marks,
        extra=extra,
    )  # fmt: skip
    return record.with_steps(steps_of_frames(of_frames))


def _clip_id(key: object) -> str | None:
    return f"{key[0]}_{key[1]}" if isinstance(key, tuple) and len(key) == 2 else None


def _missing_warning(missing: list[ClipRecord], there: int) -> list[str]:
    if not missing:
        return []
    names = abridge(record.clip_id for record in missing)
    return [
        f"{len(missing)} of {len(missing) + there} annotated dives have no frames here ({names}); {WHERE} "
        "and unpack the frames to FineDiving/<event>/<clip>/00001.jpg"
    ]


def _step_warnings(root: Path, file: str, there: list[ClipRecord], missing: list[ClipRecord]) -> list[str]:
    """What is wrong with the label of each frame: there is none, or not one for each image."""
    without = [record.clip_id for record in (*there, *missing) if not record.steps]
    images = {record.clip_id: count_images(root / record.video) for record in there if record.steps}
    other = [
        f"{record.clip_id} ({record.steps[-1].end} labels, {images[record.clip_id]} images)"
        for record in there
        if record.steps and images[record.clip_id] != record.steps[-1].end
    ]
    warnings = []
    if without:
        warnings.append(
            f"{len(without)} dives of {file} have no whole number for each frame ({abridge(without)}), so they have no "
            f"steps; {WHERE}"
        )
    if other:
        warnings.append(
            f"{len(other)} dives have another number of images than of step labels in {file}: {abridge(other)}; labels "
            "are counted from the first image, so unpack the frames again"
        )
    return warnings


def _overlap_warning(records: list[ClipRecord]) -> list[str]:
    shared = {event for r in records if str(event := (r.extra or {}).get("event")).isdecimal()}
    if not shared:
        return []
    return [
        f"{len(shared)} events are MTL-AQA's broadcasts; never train on one of the two datasets and test on the other"
    ]


def _find(base: Path, names: tuple[str, ...]) -> Path:
    path = find_file(base, LABEL_PLACES, names)
    if path is None:
        raise DatasetError(f"{base} holds no {names[0]}; {WHERE} and put it into {base}/Annotations")
    return path
