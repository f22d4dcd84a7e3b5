"""What was found damaged and mended in this process and nobody has been told yet.

Most commands have a result to print and no place for such a sentence; so they are kept here, and whoever runs commands
prints what is left when one ends. A command that shows them itself says so with `told`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

_guard = threading.Lock()
_left: dict[str, None] = {}


def add(sentence: str) -> None:
    """Something was found, or mended."""
    with _guard:
        _left[sentence] = None


def told(sentences: Iterable[str]) -> None:
    """The user has seen these."""
    with _guard:
        for sentence in sentences:
            _left.pop(sentence, None)


def take() -> list[str]:
    """What nobody has been told yet, in order; from now on it counts as told."""
    with _guard:
        left = list(_left)
        _left.clear()
    return left
