"""Reads a label table from CSV, a workbook or Parquet as columns of text, keeping the line number of every row."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.label_files.header import find_header, header_names, is_comment, one_line
from data_catalog.datasets.label_files.numbers import MISSING, Numbers, read_numbers
from data_catalog.datasets.label_files.parquet import PARQUET, parquet_rows
from data_catalog.datasets.label_files.text import SAVE_AS_UTF8, decode_label_file
from data_catalog.datasets.label_files.workbook import is_workbook, read_workbook
from data_catalog.datasets.records import RejectedRow
from data_catalog.errors import DatasetError
from data_catalog.suggest import nearest

DELIMITERS = (",", ";", "\t", "|")
HEADER_WITHIN = 40  # rows; a table whose header comes later is taken for one without
SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".parquet")
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)[\s"]*', re.IGNORECASE)
# What a spreadsheet writes that took each line of a CSV file for one cell.
_WHOLE_LINE_QUOTED = re.compile(r'^"(.*)"[ \t,;]*(?=\r?$)', re.MULTILINE)
_BLOCK = 20_000  # rows that are turned into columns at once, so that a long table is not held twice
_QUOTES = "“”„‟"  # what word processors make of the quotes around a cell

Row = tuple[int, list[str]]  # line in the file, cells


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Columns of stripped text.

    Attributes:
        columns: name → (n,) object array of str, empty text where the cell is empty.
        lines: (n,) int64, line of the file (row of the sheet) that each row begins in, counted from 1.
        file: the file's name for messages.
        unused: columns of the file that nobody asked for, as the file writes them.
        notes: what was assumed or passed over while reading, one sentence each.
        warnings: as `notes`, where the user should look.
        decimal_comma: the file's separator speaks for a decimal comma.
    """

    columns: dict[str, NDArray[np.object_]]
    lines: NDArray[np.int64]
    file: str
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    decimal_comma: bool = False

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.lines)

    def numbers(self, name: str) -> Numbers:
        """Column `name` as numbers."""
        return read_numbers(self.columns[name], self.decimal_comma)


@dataclass
class _Grid:
    """The rows of a file before anything is known of their meaning."""

    name: str
    rows: Iterator[Row]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    decimal_comma: bool = False


def read_label_table(
    path: Path, required: Sequence[str], optional: Sequence[str], targets: Sequence[str] = ()
) -> tuple[LabelTable, list[RejectedRow]]:
    """Read the named columns of a label file; rows with a wrong number of cells are returned as rejected.

    Args:
        path: a CSV file with any of `DELIMITERS`, an Excel workbook, or a Parquet file.
        required: columns that the file must have.
        optional: columns that it may have; words such as ``NA`` count as empty in them.
        targets: those of `optional` of which a row must have one; a row that ends before them is not padded.

    Raises:
        DatasetError: not a readable table, or a required column is missing.
    """
    known = (*required, *optional)
    grid = _open_grid(path, known)
    head = list(itertools.islice(grid.rows, HEADER_WITHIN))
    if not any(any(cells) for _, cells in head):
        raise DatasetError(f"{path.name} is empty; its first line must name the columns")
    place, _ = find_header([cells for _, cells in head], known)
    for line, cells in head[:place]:
        if any(cells):
            shown = one_line(" ".join(cells))[:60]
            grid.notes.append(f"{grid.name} line {line} ('{shown}') stands above the header and was left out")
    names, other_words = header_names(head[place][1], known)
    grid.notes += [f"column '{cell}' of {grid.name} was read as '{name}'" for cell, name in other_words.items()]
    _require(names, required, optional, path)
    first_target = min((names.index(name) for name in targets if name in names), default=0)
    last_needed = max(first_target, *(names.index(name) for name in required))
    body = _Body(grid.name, names, head[place][1], last_needed)
    body.read(itertools.chain(head[place + 1 :], grid.rows))
    return body.table(grid, required, optional), body.rejected


# ---- files ----


def _open_grid(path: Path, known: Sequence[str]) -> _Grid:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DatasetError(f"{path} is no regular file; give the label file with --labels")  # a pipe would hang
    try:
        with path.open("rb") as file:
            head = file.read(8)
        if is_workbook(head):
            return _workbook_grid(path, known)
        if head.startswith(PARQUET):
            return _Grid(path.name, parquet_rows(path))
        text, warnings = decode_label_file(path.read_bytes(), path.name)
    except FileNotFoundError:
        raise DatasetError(_no_such_file(path)) from None
    except IsADirectoryError:
        raise DatasetError(
            f"{path} is a folder; give the label file inside it, e.g. --labels {path}/labels.csv"
        ) from None
    except PermissionError:
        raise DatasetError(f"{path} may not be read; allow reading it (chmod u+r)") from None
    except OSError as exc:
        raise DatasetError(f"{path} cannot be read ({exc.strerror}); give the label file with --labels") from exc
    return _text_grid(text, path.name, known, warnings)


def _no_such_file(path: Path) -> str:
    folder = path.parent
    beside = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    near = nearest(path.name, beside) or (beside[0] if beside else None)
    hint = f"; did you mean {near}?" if near else "; give the label file with --labels"
    return f"there is no label file {path}{hint}"


def _workbook_grid(path: Path, known: Sequence[str]) -> _Grid:
    sheets = read_workbook(path)
    if not sheets:
        raise DatasetError(f"{path.name} has no sheet with cells; put the labels into its first sheet")
    ranks = [find_header(sheet.rows[:HEADER_WITHIN], known)[1] for sheet in sheets]
    chosen = ranks.index(max(ranks))
    notes = [f"the labels were read from sheet '{one_line(sheets[chosen].name)}' of {path.name}"]
    return _Grid(path.name, enumerate(sheets[chosen].rows, start=1), notes if len(sheets) > 1 else [])


def _text_grid(text: str, name: str, known: Sequence[str], warnings: list[str]) -> _Grid:
    first = re.match(r"\s*[^\r\n]*", text)
    announced = _SEPARATOR_LINE.match(first.group()) if first else None
    skipped = 0
    if announced is not None and first is not None and not first.group()[announced.end() :].strip(announced.group(1)):
        rest = text[first.end() :]
        skipped = text[: first.end()].count("\n") or text[: first.end()].count("\r")
        delimiter, text = announced.group(1), rest
    else:
        delimiter = _best_delimiter(text, known)
        if _rank(text, delimiter, known)[0] < 2:
            unquoted = _WHOLE_LINE_QUOTED.sub(lambda found: found.group(1).replace('""', '"'), text)
            if _rank(unquoted, other := _best_delimiter(unquoted, known), known)[0] >= 2:
                text, delimiter = unquoted, other
    rows = _csv_rows(text, delimiter, name)
    if skipped:
        rows = ((line + skipped, cells) for line, cells in rows)
    return _Grid(name, rows, warnings=warnings, decimal_comma=delimiter == ";")


def _best_delimiter(text: str, known: Sequence[str]) -> str:
    return max(DELIMITERS, key=lambda mark: _rank(text, mark, known))


def _rank(text: str, delimiter: str, known: Sequence[str]) -> tuple[int, int]:
    """How well a delimiter explains the top of the text: known columns in the header, then cells in a row."""
    try:
        rows = [cells for _, cells in itertools.islice(_csv_rows(text, delimiter, ""), HEADER_WITHIN)]
    except DatasetError:
        return 0, 0
    place, named = find_header(rows, known)
    return named, len(rows[place]) if rows else 0


def _csv_rows(text: str, delimiter: str, name: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            raise DatasetError(
                f"{name} cannot be read from line {line} on ({exc}); close the quotes there, or {SAVE_AS_UTF8}"
            ) from exc
        yield line, [cell.strip() for cell in cells]
        line = reader.line_num + 1


# ---- the header ----


def _require(names: list[str], required: Sequence[str], optional: Sequence[str], path: Path) -> None:
    known = (*required, *optional)
    spare = {name.casefold(): name for name in names if name and name not in known}
    for name in required:
        if name not in names:
            near = nearest(name, spare)
            has = ", ".join(filter(None, names))[:200] or "no columns"
            hint = f"rename column '{spare[near]}'" if near else f"add it; the file has {has}"
            raise DatasetError(f"{path.name} has no column '{name}'; {hint}")


# ---- the rows below it ----


class _Body:
    """The columns while they grow, and the rows that have no place in them."""

    def __init__(self, file: str, names: Sequence[str], header: Sequence[str], last_needed: int) -> None:
        self.rejected: list[RejectedRow] = []
        self.comments = 0
        self._file, self._names, self._header, self._last_needed = file, names, list(header), last_needed
        self._columns: list[list[str]] = [[] for _ in names]
        self._lines: list[int] = []

    def read(self, rows: Iterable[Row]) -> None:
        """Take all rows, a block at a time."""
        fitted = filter(None, map(self._fitted, rows))
        while block := list(itertools.islice(fitted, _BLOCK)):
            self._lines += [line for line, _ in block]
            for column, cells in zip(self._columns, zip(*(cells for _, cells in block), strict=True), strict=True):
                column += cells

    def _fitted(self, row: Row) -> Row | None:
        """The row with as many cells as the header, or None where it is no row or was rejected."""
        line, cells = row
        width = len(self._names)
        if not any(cells) or cells == self._header:
            return None
        if is_comment(cells):
            self.comments += 1
            return None
        if len(cells) == width:
            return row
        if len(cells) > width and not any(cells[width:]):
            return line, cells[:width]
        if len(cells) < width and self._last_needed < len(cells) and not any("\n" in cell for cell in cells):
            return line, cells + [""] * (width - len(cells))
        self._reject(line, cells)
        return None

    def _reject(self, line: int, cells: list[str]) -> None:
        reason = f"the row has {len(cells)} cells where the header has {len(self._names)}"
        remedy = "give every row as many cells as the header has"
        if any("\n" in cell for cell in cells):
            reason += f" and runs over {1 + sum(cell.count(chr(10)) for cell in cells)} lines"
            remedy = "close the quotes that open in it"
        elif len(cells) > len(self._names):
            remedy += "; a decimal comma needs quotes or a file that is separated by semicolons"
        self.rejected.append(RejectedRow(None, self._file, line, reason, remedy))

    def table(self, grid: _Grid, required: Sequence[str], optional: Sequence[str]) -> LabelTable:
        """The wanted columns; rows that hold undecodable bytes are rejected.

        Raises:
            DatasetError: a column is there twice with different cells.
        """
        columns: dict[str, NDArray[np.object_]] = {}
        unused: list[str] = []
        for place, (name, cells) in enumerate(zip(self._names, self._columns, strict=True), start=1):
            if name not in required and name not in optional:
                unused += [name] if name else []
                if not name and any(cells):  # such as the index that pandas writes
                    grid.notes.append(f"column {place} of {self._file} has no name and was not used")
            elif name not in columns:
                columns[name] = _column(cells, optional=name in optional)
            elif (_column(cells, optional=name in optional) != columns[name]).any():
                raise DatasetError(f"{self._file} names column '{name}' twice, with different cells; keep one of them")
            else:
                grid.notes.append(f"{self._file} has column '{name}' twice with the same cells; the first was read")
        if self.comments:
            grid.notes.append(f"{self.comments} comment lines of {self._file} (beginning with #) were left out")
        lines = np.asarray(self._lines, dtype=np.int64)
        whole = self._decodable(columns, lines)
        if not whole.all():
            columns, lines = {name: values[whole] for name, values in columns.items()}, lines[whole]
        notes, warnings = tuple(grid.notes), tuple(grid.warnings)
        return LabelTable(columns, lines, self._file, tuple(unused), notes, warnings, grid.decimal_comma)

    def _decodable(self, columns: dict[str, NDArray[np.object_]], lines: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) bool: no cell holds a character that could not be decoded; the other rows are rejected."""
        whole = np.ones(len(lines), dtype=bool)
        for values in columns.values():
            whole &= np.fromiter(("\ufffd" not in cell for cell in values), bool, len(values))
        for index in np.flatnonzero(~whole):
            reason = "the row is not UTF-8 text"
            self.rejected.append(RejectedRow(None, self._file, int(lines[index]), reason, SAVE_AS_UTF8))
        return whole


def _column(cells: list[str], optional: bool) -> NDArray[np.object_]:
    distinct = set(cells)
    changed = {cell: cell.strip(_QUOTES) for cell in distinct if cell and cell[0] in _QUOTES and cell[-1] in _QUOTES}
    if optional:
        changed |= {cell: "" for cell in distinct if len(cell) <= 8 and cell.casefold() in MISSING}
    if changed:
        cells = [changed.get(cell, cell) for cell in cells]
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column
