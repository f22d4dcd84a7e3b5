"""The labels of a dataset, corrections included, as a table that the adapter `folder` reads again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from data_catalog.atomic import replacing
from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.label_rows import JUDGES
from data_catalog.datasets.records import ClipRecord, judge_places
from flows.config import ConfigError
from flows.datasets.clips import every_clip

SUFFIXES = (".csv", ".parquet", ".xlsx")


def export_labels(workspace: Workspace, dataset: str, path: Path) -> int:
    """Write the labels into a file of the kind that its ending names; returns how many clips there are.

    A row a clip, and one more for each further athlete with a first-frame box. Clips that are marked bad are left out.

    Raises:
        ConfigError: another ending.
        CatalogError: no such dataset, no clips, or a package for workbooks is missing.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"Labels are written as {', '.join(SUFFIXES)}, not as '{path.name}'.")
    root = Path(workspace.datasets.info(dataset).root)
    clips = [clip for clip in every_clip(workspace, dataset) if not clip.bad]
    if not clips:
        raise CatalogError(f"Dataset '{dataset}' has no clips whose labels could be written; look at: tubeflow catalog")
    table = label_table(clips, root)
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            pc.write_csv(table, temporary)
        elif path.suffix == ".parquet":
            pq.write_table(table, temporary)
        else:
            _write_workbook(table, temporary)
    return len(clips)


def label_table(clips: Sequence[ClipRecord], root: Path) -> pa.Table:
    """The rows; `video` relative to the dataset's folder `root`."""
    rows: list[dict[str, object]] = []
    for clip in clips:
        video = Path(clip.video)
        common: dict[str, object] = {
            "clip_id": clip.clip_id,
            "video": video.relative_to(root).as_posix() if video.is_relative_to(root) else str(video),
            "split": clip.split, "action": clip.action, "score": clip.score, "difficulty": clip.difficulty,
            **dict(zip(JUDGES, clip.judges, strict=False)), "label": clip.label, "start_frame": clip.start_frame,
            "end_frame": clip.end_frame,
        }  # fmt: skip
        boxes = [dict(zip("xywh", box, strict=True)) for box in clip.boxes] or [{}]
        rows += [{**common, "athlete": number if len(boxes) > 1 else None, **box} for number, box in enumerate(boxes)]
    return pa.Table.from_pylist(rows, schema=_schema(judge_places([clip.judges for clip in clips])))


def _schema(judges: int) -> pa.Schema:
    return pa.schema([
        ("clip_id", pa.string()), ("video", pa.string()), ("split", pa.string()), ("action", pa.string()),
        ("score", pa.float64()), ("difficulty", pa.float64()), *((name, pa.float64()) for name in JUDGES[:judges]),
        ("label", pa.int64()), ("start_frame", pa.int64()), ("end_frame", pa.int64()), ("athlete", pa.int64()),
        *((name, pa.float64()) for name in ("x", "y", "w", "h")),
    ])  # fmt: skip


def _write_workbook(table: pa.Table, path: Path) -> None:
    try:
        from openpyxl import Workbook  # only workbooks need it
        from openpyxl.cell import WriteOnlyCell
    except ImportError as exc:
        raise CatalogError('Workbooks need openpyxl: pip install "tubeflow[excel]"; or write .csv.') from exc
    book = Workbook(write_only=True)
    sheet = book.create_sheet("labels")
    sheet.append(table.column_names)
    for row in table.to_pylist():
        cells = [WriteOnlyCell(sheet, value) for value in row.values()]
        for cell, value in zip(cells, row.values(), strict=True):
            if isinstance(value, str):
                cell.data_type = "s"  # a name that begins with = is no formula
        sheet.append(cells)
    with path.open("wb") as file:
        book.save(file)
