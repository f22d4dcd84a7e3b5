"""A folder of the user's own clips with a labels.csv: every row is checked by itself, the good ones go on.

Columns: ``clip_id, video, split, score``; optional ``action, difficulty, judge_1..judge_20, label``, the
first-frame box ``x, y, w, h`` in pixels of the source video, ``athlete``, ``start_frame, end_frame``.
Several rows of one clip_id are several athletes when their boxes or their ``athlete`` differ; cells
that such a later row leaves empty are those of the clip's first row.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from data_catalog.datasets.label_files.table import SUFFIXES, LabelTable, read_label_table
from data_catalog.datasets.label_rows import BOX, OPTIONAL, REQUIRED, TARGETS, LabelRows
from data_catalog.datasets.paths import VideoFinder
from data_catalog.datasets.records import Check, Listing
from data_catalog.errors import DatasetError
from data_catalog.suggest import nearest


class FolderAdapter:
    """`labels.csv` beside, or given for, a folder of video files or image folders."""

    def read(self, root: Path, labels: Path | None = None) -> Listing:
        """List the clips of `labels` (default ``root/labels.csv``) whose videos lie under `root`.

        Raises:
            DatasetError: no such folder or file, or a required column is missing.
        """
        if not root.is_dir():
            raise DatasetError(f"there is no folder {root}; give the folder that holds the videos")
        path = labels if labels is not None else find_labels(root)
        table, broken = read_label_table(path, REQUIRED, OPTIONAL, TARGETS)
        if "score" not in table.columns and "label" not in table.columns:
            unused = {name.casefold(): name for name in table.unused}
            near = nearest("score", unused)
            hint = f"rename column '{unused[near]}' to 'score'" if near else "add one of them"
            raise DatasetError(f"{path.name} has neither a column 'score' nor a column 'label'; {hint}")
        if any(name in table.columns for name in BOX) and not all(name in table.columns for name in BOX):
            raise DatasetError(f"{path.name} has only some of the columns x, y, w, h; give all four or none")
        with _no_garbage_collection():
            rows = LabelRows(table, broken)
            records = rows.records(VideoFinder(root))
        if not len(table) and not broken:
            raise DatasetError(f"{path.name} has a header but no rows; add one row for each clip")
        return Listing(
            tuple(records),
            tuple(sorted(rows.rejected, key=lambda r: r.line or 0)),
            (*table.warnings, *unused_columns(table, (*REQUIRED, *OPTIONAL))),
            (*table.notes, *rows.notes),
        )

    def check(self, listing: Listing) -> list[Check]:
        """A user's own folder has no published figures; what can be checked is that every row was usable."""
        return [Check.equal("rows rejected", 0, len(listing.rejected))]


def find_labels(root: Path) -> Path:
    """``labels.csv`` in `root`, or else the only ``labels.*`` that is there; raises nothing where there is none."""
    there = [path for suffix in SUFFIXES if (path := root / f"labels{suffix}").is_file()]
    return there[0] if there else root / "labels.csv"


def unused_columns(table: LabelTable, known: Sequence[str]) -> list[str]:
    """One sentence for each column that was not read, with the one of `known` that may have been meant."""
    notes = []
    for name in table.unused:
        near = nearest(name, known)
        hint = f"; did you mean '{near}'?" if near and near not in table.columns else ""
        notes.append(f"column '{name}' of {table.file} is not used{hint}")
    return notes


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A million small records hold no cycles; walking them again and again doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
