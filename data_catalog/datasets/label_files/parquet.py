"""A Parquet file as rows of text, as the other label files are read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_catalog.datasets.label_files.workbook import MAX_COLUMNS, MAX_ROWS
from data_catalog.errors import DatasetError

PARQUET = b"PAR1"
BLOCK = 20_000  # rows that are turned into text at once


def parquet_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Row numbers from 1 and cells: the columns' names, then the rows; an empty cell where there is no value.

    Raises:
        DatasetError: the file is damaged, too large, or a column holds lists or the like.
    """
    try:
        file = pq.ParquetFile(path)
        if file.metadata.num_rows > MAX_ROWS or len(file.schema_arrow) > MAX_COLUMNS:
            raise DatasetError(
                f"{path.name} has {file.metadata.num_rows} rows of {len(file.schema_arrow)} columns; up to {MAX_ROWS} "
                f"and {MAX_COLUMNS} are read"
            )
        nested = [field.name for field in file.schema_arrow if pa.types.is_nested(field.type)]
        if nested:
            raise DatasetError(
                f"column '{nested[0]}' of {path.name} holds several values in a cell; give each its own column, or "
                "write the labels with: tubeflow labels export"
            )
        yield 1, list(file.schema_arrow.names)
        line = 1
        for batch in file.iter_batches(BLOCK):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                line += 1
                yield line, [_text(value) for value in values]
    except (pa.ArrowException, OSError, ValueError) as exc:
        if isinstance(exc, DatasetError):
            raise
        raise DatasetError(f"{path.name} is no whole Parquet file; write it again and ingest again") from exc


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)
