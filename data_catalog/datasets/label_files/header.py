"""Where the header of a label table stands, and which of our columns each of its cells names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

# Other words for a column, used where the file has no column of that name itself; a note says so.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "clip_id": ("clip", "clip name", "clip no", "id"),
    "video": ("video file", "video path", "video name", "file", "file name", "path", "clip path"),
    "split": ("set", "subset", "partition"),
    "score": ("final score", "total score", "overall score", "points", "total points"),
    "difficulty": ("dd", "degree of difficulty", "difficulty degree"),
    "label": ("class", "class id"),
    "step": ("step name", "step number", "phase"),
    "start": ("start frame", "first frame", "from"),
    "end": ("end frame", "to"),
    **{f"judge_{number}": (f"j{number}",) for number in range(1, 8)},
}
_SUFFIX = re.compile(r"[(\[].*[)\]]\s*$", re.DOTALL)
_NO_LETTER = re.compile(r"[\W_]+")
_UNNAMED = re.compile(r"unnamed\d+")  # what pandas calls a column without a name when it reads one


def fold_name(text: str) -> str:
    r"""A column's name without letter case, white space, punctuation and a unit or remark in parentheses.

    `"Score\n(final)"`, `"Score [pts]"` and `"SCORE "` fold to the same name.
    """
    plain = unicodedata.normalize("NFKC", text)
    return _NO_LETTER.sub("", _SUFFIX.sub("", plain) or plain).casefold()


class HeaderNames(NamedTuple):
    """What the cells of a header row name.

    Attributes:
        names: for each cell the known column that it names, by itself or by another word for it; the cell in one
            line where it names none; empty text where the column has no name.
        other_words: cell as written → the known column that it was taken for.
    """

    names: list[str]
    other_words: dict[str, str]


def header_names(cells: Sequence[str], columns: Iterable[str]) -> HeaderNames:
    """Match the cells of a header row with `columns`, the names that the reader knows."""
    known = {fold_name(name): name for name in columns}
    folded = [fold_name(cell) for cell in cells]
    names = [known.get(fold, "") or one_line(cell) for fold, cell in zip(folded, cells, strict=True)]
    other_words = {}
    for name, aliases in ALIASES.items():
        words = {fold_name(alias) for alias in aliases}
        places = [place for place, fold in enumerate(folded) if fold in words and fold not in known]
        if name in known.values() and name not in names and len(places) == 1:
            names[places[0]] = name
            other_words[one_line(cells[places[0]])] = name
    names = ["" if _UNNAMED.fullmatch(fold) else name for name, fold in zip(names, folded, strict=True)]
    return HeaderNames(names, other_words)


def find_header(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> tuple[int, int]:
    """The row that names most of `columns`, the first of several; its place in `rows`, and how many it names.

    Where no row names two of them, it is the first one that is neither empty nor a comment.
    """
    counts = [len(set(header_names(row, columns).names) & set(columns)) for row in rows]
    best = max(counts, default=0)
    if best >= 2:
        return counts.index(best), best
    first = next((place for place, row in enumerate(rows) if any(row) and not is_comment(row)), 0)
    return first, best


def is_comment(cells: Sequence[str]) -> bool:
    """Whether a row is a remark: one that begins with ``#`` and has nothing in other cells."""
    return bool(cells) and cells[0].startswith("#") and not any(cells[1:])


def one_line(text: str) -> str:
    """`text` with each run of white space, line breaks among it, as one space."""
    return " ".join(text.split())
