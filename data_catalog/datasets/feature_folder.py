"""Clips whose features were made elsewhere, with a labels.csv: every row is checked by itself, the good ones go on.

Columns: ``clip_id, split, score``; optional ``features`` (the clip's file, below the root), ``entry`` (the array's name
in a file of several), ``row`` (its row in an array of several clips, from 0), ``action, difficulty, judge_1..judge_20,
label``. Without a column ``features`` a clip's file is the one that is called as the clip is, or else the only feature
file of the folder. What files may hold: `feature_files/clip_features.py`.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.feature_files.arrays import FORMATS, SUFFIXES_TEXT, BadFeatures
from data_catalog.datasets.feature_files.clip_features import Place, read_clip_features
from data_catalog.datasets.folder import find_labels, unused_columns
from data_catalog.datasets.label_files.table import LabelTable, read_label_table
from data_catalog.datasets.label_rows import JUDGES, TARGETS, LabelRows
from data_catalog.datasets.layouts import abridge
from data_catalog.datasets.paths import VideoFinder
from data_catalog.datasets.records import Check, ClipRecord, Listing, RejectedRow
from data_catalog.errors import DatasetError
from data_catalog.suggest import nearest

FEATURES, ENTRY, ROW = "features", "entry", "row"
REQUIRED = ("clip_id", "split")
OPTIONAL = ("score", FEATURES, ENTRY, ROW, "action", "difficulty", *JUDGES, "label")


class FeaturesAdapter:
    """`labels.csv` beside, or given for, a folder of feature files.

    Attributes:
        suffixes: of files that a clip's name leads to.
        posed: whether they hold poses.
        read_steps: from a file, a clip's place in it and the folder to its steps (T, D) float32; raises BadFeatures.
    """

    suffixes: Collection[str] = FORMATS
    posed = False
    read_steps = staticmethod(read_clip_features)

    def read(self, root: Path, labels: Path | None = None) -> Listing:
        """List the clips of `labels` (default ``root/labels.csv``) whose features can be read and agree in length.

        Raises:
            DatasetError: no such folder or file, a column is missing, or it can't be seen which file is a clip's.
        """
        if not root.is_dir():
            raise DatasetError(f"there is no folder {root}; give the folder that holds the feature files")
        path = labels if labels is not None else find_labels(root)
        table, broken = read_label_table(path, REQUIRED, OPTIONAL, TARGETS)
        if not any(name in table.columns for name in TARGETS):
            near = nearest("score", table.unused)
            hint = f"rename column '{near}' to 'score'" if near else "add one of them"
            raise DatasetError(f"{path.name} has neither a column 'score' nor a column 'label'; {hint}")
        table.columns["video"] = _files_of(root, table, self.suffixes)
        rows = LabelRows(table, broken)
        records = rows.records(VideoFinder(root, "feature file", FEATURES))
        if not len(table) and not broken:
            raise DatasetError(f"{path.name} has a header but no rows; add one row for each clip")
        usable = _Features(root, table, rows, self).usable(records)
        return Listing(
            tuple(usable.records),
            tuple(sorted(rows.rejected, key=lambda row: row.line or 0)),
            (*table.warnings, *unused_columns(table, (*REQUIRED, *OPTIONAL)), *usable.warnings),
            (*table.notes, *rows.notes, *usable.notes),
        )

    def check(self, listing: Listing) -> list[Check]:
        """One's own features have no published figures; what can be checked is that every row was usable."""
        return [Check.equal("rows rejected", 0, len(listing.rejected))]


def _files_of(root: Path, table: LabelTable, suffixes: Collection[str]) -> NDArray[np.object_]:
    """(n,) paths relative to `root`: as the column says; else the file called as the clip is, or the only one there.

    Raises:
        DatasetError: it can't be seen which file is a clip's.
    """
    given = table.columns.get(FEATURES, np.full(len(table), "", object))
    if (given != "").all():
        return given.copy()
    by_stem = {path.stem: path.name for path in sorted(root.iterdir()) if path.suffix.lower() in suffixes}
    if not by_stem:
        kinds = SUFFIXES_TEXT if suffixes is FORMATS else " or ".join(suffixes)
        raise DatasetError(f"{root} holds no feature files ({kinds}); give their folder with --root")
    clip_ids = table.columns["clip_id"]
    only = next(iter(by_stem.values())) if len(by_stem) == 1 else None
    if only is None and (given == "").all() and not any(clip_id in by_stem for clip_id in clip_ids):
        raise DatasetError(
            f"{root} has {len(by_stem)} feature files and none is called as a clip is; name each clip's file in a "
            f"column '{FEATURES}' of {table.file}"
        )
    # A clip without a file is said by its row, with the name that the file should have.
    suffix = Path(next(iter(by_stem.values()))).suffix
    named = [by_stem.get(clip_id, only or f"{clip_id}{suffix}") for clip_id in clip_ids]
    files = given.copy()
    files[given == ""] = np.array(named, object)[given == ""]
    return files


class _Features:
    """Reads every clip's features once, so that what is wrong with them is said at once."""

    def __init__(self, root: Path, table: LabelTable, rows: LabelRows, adapter: FeaturesAdapter) -> None:
        self._adapter = adapter
        self._root, self._rows, self._table = root, rows, table
        self._index = {clip_id: index for index, clip_id in reversed(list(enumerate(table.columns["clip_id"])))}
        self.records: list[ClipRecord] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def usable(self, records: list[ClipRecord]) -> _Features:
        """Sort out the records whose features can't be used."""
        users = Counter(record.video for record in records)
        shapes: list[tuple[int, int]] = []
        same: dict[bytes, list[ClipRecord]] = defaultdict(list)
        for record in records:
            try:
                place = self._place(record.clip_id, users[record.video] > 1)
                features = self._adapter.read_steps(self._root / record.video, place, self._root)
            except BadFeatures as exc:
                self._reject(record, exc.reason, exc.remedy)
                continue
            shapes.append(features.shape)
            same[hashlib.blake2b(features.tobytes(), digest_size=16).digest()].append(record)
            self.records.append(replace(record, extra=place.as_extra() or None))
        self._agree(shapes)
        self._compare_splits(same.values())
        return self

    def _place(self, clip_id: str, shared: bool) -> Place:
        index = self._index[clip_id]
        entry = self._table.columns[ENTRY][index] if ENTRY in self._table.columns else ""
        row = self._table.columns[ROW][index] if ROW in self._table.columns else ""
        if row and not (row.isascii() and row.isdigit() and len(row) < 10):
            raise BadFeatures(f"its row '{row[:20]}' is not a whole number from 0", "correct the column 'row'")
        return Place(clip_id, entry or None, int(row) if row else None, shared, self._adapter.posed)

    def _agree(self, shapes: list[tuple[int, int]]) -> None:
        """Reject the clips whose features are not as long as most clips'."""
        if not shapes:
            return
        (usual, _), *_ = Counter(length for _, length in shapes).most_common()
        for record, (_, length) in zip(list(self.records), shapes, strict=True):
            if length != usual:
                self.records.remove(record)
                self._reject(
                    record,
                    f"{record.video} has features of {length} numbers where most clips have {usual}",
                    "make all of them with one network",
                )
        steps = [count for count, length in shapes if length == usual]
        span = str(min(steps)) if min(steps) == max(steps) else f"{min(steps)} to {max(steps)}"
        self.notes.append(f"features of {usual} numbers, {span} step{'' if span == '1' else 's'} a clip")

    def _compare_splits(self, same: Iterable[Sequence[ClipRecord]]) -> None:
        """Warn of clips of different splits whose features are equal to the last bit."""
        shared = [group for group in same if len({record.split for record in group}) > 1]
        if shared:
            shown = [" and ".join(f"'{record.clip_id}' ({record.split})" for record in group[:3]) for group in shared]
            self.warnings.append(
                f"clips of different splits have equal features: {abridge(shown)}; give them one split, or leave one "
                "out: tubeflow labels set CLIP bad=true"
            )

    def _reject(self, record: ClipRecord, reason: str, remedy: str) -> None:
        line = int(self._table.lines[self._index[record.clip_id]])
        self._rows.rejected.append(RejectedRow(record.clip_id, self._table.file, line, reason, remedy))
