"""Numbers as people's spreadsheets write them: decimal comma or point, thousands, typographic minus signs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# What programs and people write where there is no value.
MISSING = frozenset(
    "na n/a n.a. n.a n/d nd nan null none nil - -- – — ? . #n/a #na #nv <na> nat missing unknown".split()  # noqa: SIM905
)
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_GROUPS = re.compile(r"(?<=\d)[ '’](?=\d{3}(?!\d))")
_POINT_AND_COMMAS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+\.\d+")
_COMMA_AND_POINTS = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+,\d+")
_MANY_COMMAS = re.compile(r"[+-]?\d{1,3}(?:,\d{3}){2,}")
_MANY_POINTS = re.compile(r"[+-]?\d{1,3}(?:\.\d{3}){2,}")
_ONE_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_THREE_AFTER_COMMA = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_THREE_AFTER_POINT = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
_UNIT = re.compile(r"([+-]?[\d.,]*\d)\s*([^\d\s.,].{0,20})")
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?( .*)?|\d\d?[./ -]+[^\W\d]{3,9}[./ -]*\d{0,4}|[^\W\d]{3,9}[./ -]+\d{2,4}")
_MINUS = str.maketrans(dict.fromkeys("−–‒﹣－", "-"))


class Fault(NamedTuple):
    """Why a cell is no number, to stand behind the cell's text, and what to do."""

    reason: str
    remedy: str


NO_NUMBER = Fault("is not a finite number", "write a number such as 84.15")


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column read as numbers.

    Attributes:
        values: (n,) float64, NaN where the cell is empty or no finite number.
        filled: (n,) bool, the cell is not empty.
        faults: text of a cell that is no number → why.
    """

    values: NDArray[np.float64]
    filled: NDArray[np.bool_]
    faults: Mapping[str, Fault]


def read_numbers(texts: NDArray[np.object_], decimal_comma: bool = False) -> Numbers:
    """Read a column of text.

    A cell such as ``1,234`` is read as the rest of the column is written; where that leaves a doubt, it is a fault.

    Args:
        texts: (n,) object array of stripped str, empty text where there is no value.
        decimal_comma: whether the file's separator speaks for a decimal comma.
    """
    values = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64, copy=True)
    filled = texts != ""
    odd = np.flatnonzero(filled & ~np.isfinite(values))
    if not odd.size:
        return Numbers(values, filled, {})
    plain = {text: _normal(text) for text in dict.fromkeys(texts[odd].tolist())}
    commas = any(_ONE_COMMA.fullmatch(t) and not _THREE_AFTER_COMMA.fullmatch(t) for t in plain.values())
    commas = commas or any(_COMMA_AND_POINTS.fullmatch(t) for t in plain.values())
    points = any("." in t and not _THREE_AFTER_POINT.fullmatch(t) for t in texts[filled & np.isfinite(values)])
    points = points or any(_POINT_AND_COMMAS.fullmatch(t) for t in plain.values())
    comma_is_decimal = commas if commas != points else (None if commas else decimal_comma or None)
    read = {text: _number(normal, comma_is_decimal) for text, normal in plain.items()}
    values[odd] = [number if isinstance(number := read[text], float) else np.nan for text in texts[odd]]
    faults = {text: fault for text, fault in read.items() if isinstance(fault, Fault)}
    if commas and not points:
        _refuse_doubtful_points(texts, values, faults)
    return Numbers(values, filled, faults)


def _normal(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).translate(_MINUS).strip().strip("\"“”„'‘’").strip()
    return _GROUPS.sub("", plain)


def _number(text: str, comma_is_decimal: bool | None) -> float | Fault:
    if _POINT_AND_COMMAS.fullmatch(text) or _MANY_COMMAS.fullmatch(text):
        text = text.replace(",", "")
    elif _COMMA_AND_POINTS.fullmatch(text) or _MANY_POINTS.fullmatch(text):
        text = text.replace(".", "").replace(",", ".")
    elif _THREE_AFTER_COMMA.fullmatch(text):
        if comma_is_decimal is None:
            return _doubtful(text)
        text = text.replace(",", "." if comma_is_decimal else "")
    elif _ONE_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    if _PLAIN.fullmatch(text):
        value = float(text)
        return value if np.isfinite(value) else NO_NUMBER
    return _fault(text)


def _doubtful(text: str) -> Fault:
    digits = text.replace(",", ".")
    return Fault(f"may mean {digits.replace('.', '')} or {digits}", "write it without a thousands separator")


def _refuse_doubtful_points(
    texts: NDArray[np.object_], values: NDArray[np.float64], faults: dict[str, Fault]
) -> None:
    """In a column of decimal commas ``1.234`` is rather a thousand; nobody can be sure."""
    for index in np.flatnonzero(np.isfinite(values)):
        if _THREE_AFTER_POINT.fullmatch(texts[index]):
            faults[texts[index]] = _doubtful(texts[index])
            values[index] = np.nan


def _fault(text: str) -> Fault:
    if _DATE.fullmatch(text):
        return Fault("is a date", "format the column as Text or Number in the spreadsheet, then type the number again")
    unit = _UNIT.fullmatch(text)
    if unit is not None:
        return Fault(
            f"is not a finite number: it has '{unit.group(2)}' behind it",
            f"write {unit.group(1)} alone; in Excel and LibreOffice, Find and Replace takes the unit out of the column",
        )
    return NO_NUMBER
