"""The text of a label file, in whichever encoding a program saved it."""

from __future__ import annotations

import codecs
import re

from data_catalog.errors import DatasetError

SAVE_AS_UTF8 = (
    "save it as UTF-8 (Excel: file type 'CSV UTF-8'; LibreOffice: character set 'Unicode (UTF-8)'; pandas: "
    "to_csv(encoding='utf-8')) and ingest again"
)
# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_EXAMINED_BYTES = 4096
# How files begin that are no table: what they are, and how a table is made of them.
_NO_TABLE = (
    (rb"\x1f\x8b", "compressed with gzip", "unpack it (gunzip) and ingest again"),
    (rb"%PDF-", "a PDF", "export the table from the program that wrote it, as .xlsx or CSV"),
    (rb"<[!?a-zA-Z]", "HTML or XML", "open it in Excel or LibreOffice, save it as .xlsx and ingest again"),
    (rb"\{\\rtf", "rich text", "save it as plain text or CSV"),
    (rb'\{\s*"|\[\s*[\[{]', "JSON", "save it with pandas: read_json(FILE).to_csv('labels.csv', index=False)"),
)
_NOT_ASCII = re.compile(r"\S*[^\x00-\x7f]\S*")


def decode_label_file(content: bytes, name: str) -> tuple[str, list[str]]:
    """The text of a label file without byte order mark and end-of-file mark.

    Bytes that cannot be decoded become U+FFFD, so that only their rows are lost.

    Args:
        content: the whole file.
        name: the file's name for messages.

    Returns:
        The text, its line ends as they were, and one sentence for each assumption that the user should check.

    Raises:
        DatasetError: the file is binary, or of a kind that is no table.
    """
    head = content[:_EXAMINED_BYTES].removeprefix(codecs.BOM_UTF8).lstrip()
    for begin, kind, remedy in _NO_TABLE:
        if re.match(begin, head):
            raise DatasetError(f"{name} is {kind}, no table; {remedy}")
    text, notes = _decode(content, name)
    # Ctrl-Z is how DOS programs, and Excel in some settings, mark the end of a text file.
    return text.lstrip("\ufeff").rstrip("\x1a\0 \t\r\n") + "\n", notes


def _decode(content: bytes, name: str) -> tuple[str, list[str]]:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace"), []
    head = content[:_EXAMINED_BYTES]
    if head.count(0) > len(head) // 8:
        return content.decode(_utf16_without_mark(head, name), "replace"), []
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError:
        replaced = content.decode("utf-8", "replace")
    if _NOT_ASCII.search(replaced.replace("\ufffd", "")):
        return replaced, []  # UTF-8 but for a few rows
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        return replaced, []
    word = _NOT_ASCII.search(text)
    shown = f" (its first such word reads '{word.group()[:40]}')" if word else ""
    return text, [f"{name} is not UTF-8 and was read as Windows-1252{shown}; if that is wrong, {SAVE_AS_UTF8}"]


def _utf16_without_mark(head: bytes, name: str) -> str:
    """The byte order of text in which every second byte is zero."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) < len(head) // 4 or min(even, odd) * 4 > max(even, odd):
        raise DatasetError(f"{name} is not a text file; give a CSV file or an Excel workbook (.xlsx)")
    return "utf-16-le" if odd > even else "utf-16-be"
