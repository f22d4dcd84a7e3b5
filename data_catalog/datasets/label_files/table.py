"""Reads a label table from CSV as columns of text, keeping the line number of every row."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from data_catalog.datasets.records import DatasetError, RejectedRow
from data_catalog.suggest import nearest


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Columns of stripped text.

    Attributes:
        columns: name → (n,) object array of str, empty text where the cell is empty.
        lines: (n,) int64, row number in the file, the header being line 1.
        file: the file's name for messages.
        unused: columns of the file that nobody asked for.
    """

    columns: dict[str, NDArray[np.object_]]
    lines: NDArray[np.int64]
    file: str
    unused: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.lines)

    def numbers(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Column `name` as numbers: (n,) float64, NaN where empty or unreadable, and (n,) bool, filled."""
        text = self.columns[name]
        values = pd.to_numeric(pd.Series(text, dtype=object), errors="coerce").to_numpy(np.float64)
        return values, text != ""


def read_label_table(
    path: Path, required: Sequence[str], optional: Sequence[str]
) -> tuple[LabelTable, list[RejectedRow]]:
    """Read the named columns of a CSV file; rows with a wrong number of cells are returned as rejected.

    Raises:
        DatasetError: not a readable CSV table, or a required column is missing.
    """
    content, damaged = _read_text(path)
    header = _header(content, path)
    _require(header, required, optional, path)
    broken: list[tuple[int, str]] = []
    wanted = [name for name in (*required, *optional) if name in header]
    table = _parse(content, header, wanted, path, broken)
    lines = _line_numbers(table.num_rows, [line for line, _ in broken])
    columns = {name: _stripped(table.column(name)) for name in wanted}
    unused = tuple(name for name in header if name not in wanted)

    remedy = "give every row as many cells as the header has"
    rejected = [RejectedRow(None, path.name, line, why, remedy) for line, why in broken if why]
    keep = np.zeros(len(lines), dtype=bool)
    for values in columns.values():
        keep |= values != ""  # a blank line is no row at all
    if damaged:
        for index in np.flatnonzero(_any_holds(columns.values(), "\ufffd") & keep):
            reason = "the row is not UTF-8 text"
            rejected.append(RejectedRow(None, path.name, int(lines[index]), reason, "save the file as UTF-8"))
            keep[index] = False
    if not keep.all():
        columns, lines = {name: values[keep] for name, values in columns.items()}, lines[keep]
    return LabelTable(columns, lines, path.name, unused), rejected


def _read_text(path: Path) -> tuple[bytes, bool]:
    """The file as UTF-8 bytes without a byte order mark, and whether damaged characters were replaced."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DatasetError(_no_such_file(path)) from None
    except IsADirectoryError:
        raise DatasetError(
            f"{path} is a folder; give the label file inside it, e.g. --labels {path}/labels.csv"
        ) from None
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:4096]:
        raise DatasetError(f"{path.name} is not UTF-8 text; save it as CSV (UTF-8) and ingest again")
    content = content.removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        raise DatasetError(f"{path.name} is empty; its first line must name the columns")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("utf-8", errors="replace").encode("utf-8"), True
    return content, False


def _no_such_file(path: Path) -> str:
    beside = sorted(p.name for p in path.parent.glob("*.csv")) if path.parent.is_dir() else []
    near = nearest(path.name, beside) or (beside[0] if beside else None)
    hint = f"; did you mean {near}?" if near else "; give the label file with --labels"
    return f"there is no label file {path}{hint}"


def _header(content: bytes, path: Path) -> list[str]:
    first = content.split(b"\n", 1)[0].decode("utf-8").strip("\r")
    if "," not in first:
        for mark, called in ((";", "semicolons"), ("\t", "tabs")):
            if mark in first:
                raise DatasetError(f"{path.name} is separated by {called}; save it with commas and ingest again")
    # One cell of white space would parse as no header at all.
    table = pa.csv.read_csv(io.BytesIO(first.encode() + b"\n")) if first.strip() else None
    header = [name.strip().lower() for name in table.column_names] if table is not None else []
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DatasetError(f"{path.name} names column '{twice[0]}' twice; keep one of them")
    return header


def _require(header: list[str], required: Sequence[str], optional: Sequence[str], path: Path) -> None:
    known = (*required, *optional)
    spare = [name for name in header if name not in known]
    for name in required:
        if name not in header:
            near = nearest(name, spare)
            hint = f"rename column '{near}'" if near else f"add it; the file has {', '.join(header) or 'no columns'}"
            raise DatasetError(f"{path.name} has no column '{name}'; {hint}")


def _parse(content: bytes, header: list[str], wanted: list[str], path: Path, broken: list[tuple[int, str]]) -> pa.Table:
    def skip(row: pa.csv.InvalidRow) -> str:
        blank = not row.text.strip(", \r\n")
        why = f"the row has {row.actual_columns} cells where the header has {row.expected_columns}"
        broken.append((row.number, "" if blank else why))
        return "skip"

    try:
        return pa.csv.read_csv(
            io.BytesIO(content),
            # One thread: only then does the reader know the line of a broken row.
            read_options=pa.csv.ReadOptions(column_names=header, skip_rows=1, use_threads=False),
            parse_options=pa.csv.ParseOptions(
                newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
            ),
            convert_options=pa.csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(header, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as exc:
        if "Empty CSV" in str(exc):
            return pa.table({name: pa.array([], pa.string()) for name in wanted})
        raise DatasetError(f"{path.name} cannot be read as CSV ({exc}); check its quotes and save it again") from exc


def _line_numbers(kept: int, broken: list[int]) -> NDArray[np.int64]:
    everything = np.arange(2, kept + len(broken) + 2, dtype=np.int64)
    return np.setdiff1d(everything, np.asarray(broken, dtype=np.int64))


def _stripped(column: pa.ChunkedArray) -> NDArray[np.object_]:
    text = pc.fill_null(pc.utf8_trim_whitespace(column), "")
    return np.asarray(text.to_pylist(), dtype=object)


def _any_holds(columns: Iterable[NDArray[np.object_]], mark: str) -> NDArray[np.bool_]:
    holds = np.zeros(0, dtype=bool)
    for column in columns:
        here = np.fromiter((mark in cell for cell in column), bool, len(column))
        holds = holds | here if holds.size else here
    return holds
