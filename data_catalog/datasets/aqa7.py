"""AQA-7 (Parmar and Morris, WACV 2019): six actions, split 4, as in the published comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.layouts import Media, abridge, find_file, find_numbered
from data_catalog.datasets.records import Check, ClipRecord, Listing, RejectedRow
from data_catalog.datasets.scores import compute_score_statistics
from data_catalog.errors import DatasetError

WHERE = "get AQA-7.zip from http://rtis.oit.unlv.edu/datasets.html"
# The action's number in the lists is its place here, counted from 1; 7, trampoline, is in no split.
ACTIONS = ("diving", "gym_vault", "ski_big_air", "snowboard_big_air", "sync_diving_3m", "sync_diving_10m")
LIST_PLACES = (".", "Split_4", "Actions/Split_4", "splits", "labels", "annotations", "info")
MEDIA_PLACES = (".", "Actions", "frames", "Frames", "AQA-7", "AQA-7/Actions")
# Points are below 105 for every action, so a copy whose largest score is above this is stored times 100.
TIMES_100_ABOVE = 1000.0

# Published: train clips, test clips, lowest and highest score of both together.
PUBLISHED = {
    "diving": (300, 70, 21.60, 102.60),
    "gym_vault": (120, 56, 12.30, 16.87),
    "ski_big_air": (120, 55, 8.00, 50.00),
    "snowboard_big_air": (140, 66, 8.00, 50.00),
    "sync_diving_3m": (60, 28, 46.20, 104.88),
    "sync_diving_10m": (63, 28, 49.80, 99.36),
}


class Aqa7Adapter:
    """The unpacked AQA-7.zip, or its clips extracted to frame folders."""

    def read(self, root: Path, labels: Path | None = None) -> Listing:
        """List the clips of both lists; `labels` is the folder with the two ``.mat`` lists.

        Raises:
            DatasetError: a list is missing or is not the expected table.
        """
        tables = {split: _read_list(_find_list(root, labels, split), split) for split in ("train", "test")}
        scale, note = _score_unit(tables)
        media = {action: _find_media(root, action) for action in ACTIONS}
        records: list[ClipRecord] = []
        missing: list[ClipRecord] = []
        rejected: list[RejectedRow] = []
        seen: set[str] = set()
        for split, (path, rows) in tables.items():
            for line, row in enumerate(rows.tolist(), start=1):
                fault = _row_fault(row)
                record = None if fault else _record(row, split, scale, media)
                if record is not None and record.clip_id in seen:
                    fault = f"clip '{record.clip_id}' is listed twice"
                if fault or record is None:
                    rejected.append(RejectedRow(None, path.name, line, fault, f"use the published list; {WHERE}"))
                    continue
                seen.add(record.clip_id)
                (records if record.video else missing).append(record)
        warnings = [_missing_sentence(missing, len(records) + len(missing))] if missing else []
        return Listing(tuple(records), tuple(rejected), tuple(warnings), (note,), tuple(missing))

    def check(self, listing: Listing) -> list[Check]:
        """Counts of both splits and of each action, and each action's score range."""
        clips = listing.annotated
        checks = [
            Check.equal("train clips", 803, sum(c.split == "train" for c in clips)),
            Check.equal("test clips", 303, sum(c.split == "test" for c in clips)),
        ]
        statistics = compute_score_statistics(clips, "published")
        for action, (train, test, low, high) in PUBLISHED.items():
            of_action = [c for c in clips if c.action == action]
            counts = tuple(sum(c.split == split for c in of_action) for split in ("train", "test"))
            found = statistics.get(action)
            span = f"{found.min:.2f} to {found.max:.2f}" if found else "no clips"
            checks.append(Check.equal(f"{action}: train/test clips", f"{train}/{test}", "{}/{}".format(*counts)))
            checks.append(Check.equal(f"{action}: scores", f"{low:.2f} to {high:.2f}", span))
        return checks


def _find_list(root: Path, labels: Path | None, split: str) -> Path:
    base = labels if labels is not None else root
    names = (f"split_4_{split}_list.mat", f"consolidated_{split}_list.mat")
    path = find_file(base, LIST_PLACES, names)
    if path is None:
        raise DatasetError(f"{base} holds no {names[0]} (or {names[1]}); {WHERE} and unpack its folder Split_4 here")
    return path


def _read_list(path: Path, split: str) -> tuple[Path, NDArray[np.float64]]:
    """(n, 3) float64: action number, sample number, score as stored."""
    from scipy.io import loadmat  # takes a second to import; only this dataset needs it

    try:
        content = loadmat(path)
    # scipy reports a damaged file by whatever its parser runs into.
    except Exception as exc:
        raise DatasetError(f"{path.name} is damaged or no MATLAB 5 file ({type(exc).__name__}); {WHERE}") from exc
    table = content.get(f"consolidated_{split}_list")
    if table is None:
        variables = abridge(sorted(name for name in content if not name.startswith("__"))) or "nothing"
        raise DatasetError(f"{path.name} holds {variables} instead of consolidated_{split}_list; {WHERE}")
    if table.ndim != 2 or table.shape[1] != 3 or table.dtype.kind not in "fiu":
        raise DatasetError(f"{path.name} holds a table of {table.shape} {table.dtype}, not (n, 3) numbers; {WHERE}")
    return path, np.asarray(table, dtype=np.float64)


def _score_unit(tables: dict[str, tuple[Path, NDArray[np.float64]]]) -> tuple[float, str]:
    """Divisor that turns stored scores into points, and the sentence that says what was recognised."""
    times_100 = {path.name: bool(np.nanmax(rows[:, 2], initial=0) > TIMES_100_ABOVE) for path, rows in tables.values()}
    if len(set(times_100.values())) > 1:
        big, plain = sorted(times_100, key=lambda name: not times_100[name])
        raise DatasetError(f"{big} stores scores times 100 and {plain} plain points; take both from one copy")
    if all(times_100.values()):
        return 100.0, "scores are stored times 100 in this copy and were divided by 100"
    return 1.0, "scores are stored in points in this copy"


def _row_fault(row: list[float]) -> str:
    action, sample, score = row
    if action not in range(1, len(ACTIONS) + 1):
        return f"action {action:g} is not one of 1 to {len(ACTIONS)}"
    if not (np.isfinite(sample) and sample >= 1 and sample == int(sample)):
        return f"sample {sample:g} is not a whole number from 1"
    return "" if np.isfinite(score) else f"score {score:g} is not a finite number"


def _record(row: list[float], split: str, scale: float, media: dict[str, dict[int, Media]]) -> ClipRecord:
    action, sample = ACTIONS[int(row[0]) - 1], int(row[1])
    place = media[action].get(sample)
    video = place.path if place else ""
    return ClipRecord(f"{action}_{sample:03d}", video, split, action, score=row[2] / scale)


def _find_media(root: Path, action: str) -> dict[int, Media]:
    """Sample number → video, in ``<action>`` or ``<action>-out`` of any usual place."""
    places = [f"{place}/{name}" for place in MEDIA_PLACES for name in (action, f"{action}-out", f"{action}_out")]
    return {key[0]: item for key, item in find_numbered(root, places).items() if len(key) == 1}


def _missing_sentence(missing: list[ClipRecord], total: int) -> str:
    names = abridge(record.clip_id for record in missing)
    return (
        f"{len(missing)} of {total} annotated clips have no video here ({names}); {WHERE} and unpack it so that "
        "Actions/diving/001.avi exists (or diving-out/001/img_00001.jpg)"
    )
