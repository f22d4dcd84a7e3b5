"""The nearest valid word, for messages about misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid word most like `word`, or None when nothing is alike."""
    near = difflib.get_close_matches(word.lower(), list(valid), n=1)
    return near[0] if near else None
