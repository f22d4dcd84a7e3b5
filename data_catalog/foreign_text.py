"""Text that strangers wrote, made fit for a terminal, a table and a file name."""

from __future__ import annotations

import unicodedata

# Marks that reorder the text after them, so that a name can read as another one.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")


def has_control(text: str) -> bool:
    """Whether `text` holds a control character (Unicode category Cc) or a lone surrogate (Cs)."""
    return not text.isprintable() and any(unicodedata.category(char) in ("Cc", "Cs") for char in text)


def visible(text: str) -> str:
    r"""`text` in which what a terminal would obey is spelled out: ``\x1b``, ``\u202e``.

    Control characters, line separators, lone surrogates (file names that are not UTF-8) and marks of writing
    direction; everything else stays as it is.
    """
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if char in _BIDI or unicodedata.category(char) in _UNPRINTABLE
        else char
        for char in text
    )


def spreadsheet_cell(value: object) -> object:
    """`value` for a CSV file: text that begins like a formula gets a quote before it, or a spreadsheet runs it."""
    if not isinstance(value, str):
        return value
    return f"'{visible(value)}" if value.startswith(_FORMULA) else visible(value)
