"""The sheets of an Excel workbook as rows of text, the way that its reader sees them.

Workbooks come from strangers: what they may unpack to is bounded, formulas are never computed, nothing is followed.
"""

from __future__ import annotations

import datetime
import importlib.util
import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_catalog.errors import DatasetError

if TYPE_CHECKING:
    from openpyxl.cell import Cell

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MAX_ROWS, MAX_COLUMNS = 1_048_576, 256  # rows that Excel has; columns that a label table can sensibly use
MAX_UNPACKED_BYTES = 1 << 30
SAVE_AS = "save it as an Excel workbook (.xlsx) or as 'CSV UTF-8' and ingest again"
_ZEROS = re.compile("0+")


@dataclass(frozen=True)
class Sheet:
    """One sheet: its name, and its rows of cells as text; empty text where a cell is empty."""

    name: str
    rows: list[list[str]]


def is_workbook(content: bytes) -> bool:
    """Whether the file begins as .xlsx (a zip archive) or .xls (an OLE file) do, whatever its name is."""
    return content.startswith((ZIP, OLE))


def read_workbook(path: Path) -> list[Sheet]:
    """All sheets of an .xlsx or .xls file.

    Raises:
        DatasetError: the file is damaged, locked by a password, too large, of another program, or of a kind whose
            package isn't installed; says what to do.
    """
    with path.open("rb") as file:
        is_zip = file.read(len(ZIP)) == ZIP
    try:
        if is_zip:
            _require_xlsx(path)
        _require_package("openpyxl" if is_zip else "xlrd", path)
        return list(_xlsx_sheets(path) if is_zip else _xls_sheets(path))
    except DatasetError:
        raise
    # openpyxl and xlrd report a damaged file by whatever their parsers run into.
    except Exception as exc:
        raise DatasetError(
            f"{path.name} is damaged, locked by a password or no Excel workbook ({type(exc).__name__}); "
            f"open it in Excel or LibreOffice, {SAVE_AS}"
        ) from exc


def _require_xlsx(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = {entry.filename for entry in entries}
        if "xl/workbook.xml" not in names:
            kind = "a zip archive without a workbook"
            if "mimetype" in names and b"opendocument" in archive.read("mimetype")[:100]:
                kind = "an OpenDocument file"
            elif any(name.startswith("Index/") for name in names):
                kind = "a document of Apple Numbers"
            raise DatasetError(f"{path.name} is {kind}; open it in the program that wrote it, {SAVE_AS}")
        if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
            raise DatasetError(f"{path.name} unpacks to more than 1 GiB; keep only the label sheet, {SAVE_AS}")


def _require_package(package: str, path: Path) -> None:
    if importlib.util.find_spec(package) is None:
        raise DatasetError(
            f"{path.name} is an Excel workbook, and the package that reads it ({package}) isn't installed; "
            "pip install 'tubeflow[excel]', or save it as 'CSV UTF-8' and ingest again"
        )


def _xlsx_sheets(path: Path) -> Iterator[Sheet]:
    import openpyxl  # takes as long to import as many label files to read

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of features of Excel that have no part in the cells' values
        # A file object, for openpyxl refuses a path that is not called .xlsx.
        file = path.open("rb")
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # what the file says of its own size need not be true
                rows: list[list[str]] = []
                for row in sheet.iter_rows(max_col=MAX_COLUMNS):
                    if len(rows) == MAX_ROWS:
                        raise DatasetError(f"{path.name} has more than {MAX_ROWS} rows; save the labels as CSV")
                    rows.append(_without_empty_end([_shown(cell) for cell in row]))
                yield Sheet(sheet.title, rows)
        finally:
            file.close()


def _xls_sheets(path: Path) -> Iterator[Sheet]:
    import xlrd

    log = io.StringIO()  # xlrd would print what it doubts
    with xlrd.open_workbook(str(path), logfile=log, on_demand=True) as book:
        for sheet in book.sheets():
            rows = []
            for line in range(sheet.nrows):
                values: list[object] = []
                for cell in sheet.row(line)[:MAX_COLUMNS]:
                    value: object = cell.value
                    if cell.ctype == xlrd.XL_CELL_DATE:
                        value = xlrd.xldate_as_datetime(cell.value, book.datemode)
                    elif cell.ctype == xlrd.XL_CELL_ERROR:
                        value = xlrd.error_text_from_code.get(cell.value, "#N/A")
                    elif cell.ctype == xlrd.XL_CELL_BOOLEAN:
                        value = bool(cell.value)
                    values.append(value)
                rows.append(_without_empty_end([cell_text(value) for value in values]))
            yield Sheet(sheet.name, rows)


def _shown(cell: Cell) -> str:
    value = cell.value
    # 1 in the format 000 is shown as 001, and is meant as that.
    if isinstance(value, int) and not isinstance(value, bool) and _ZEROS.fullmatch(cell.number_format or ""):
        return str(value).zfill(len(cell.number_format))
    return cell_text(value)


def cell_text(value: object) -> str:
    """A cell's value as text: whole numbers without a point, for Excel keeps 308 as 308.0; dates as ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value).strip()


def _without_empty_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells.pop()
    return cells
