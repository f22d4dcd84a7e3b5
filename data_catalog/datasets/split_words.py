"""The split that a word in a label file means."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from data_catalog.datasets.records import SPLITS
from data_catalog.suggest import nearest

_WORDS = {
    "train": ("train", "training", "trn", "tr", "trainset"),
    "val": ("val", "valid", "validation", "validate", "vali", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "te", "heldout", "holdout"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_EITHER = frozenset({"eval", "evaluation"})  # of some people the validation clips, of others the test clips
_NO_LETTER = re.compile(r"[\W_]+")
_TAIL = re.compile(r"(?:set|split|data)$")


def read_splits(words: Iterable[str]) -> dict[str, str]:
    """The split of every word that means one, whatever its case, spaces and hyphens.

    ``eval`` is the one of val and test that no other word of the file means; where neither or both are named
    otherwise it stays unknown.
    """
    folded = {word: _fold(word) for word in words}
    splits = {word: _SPLIT_OF[fold] for word, fold in folded.items() if fold in _SPLIT_OF}
    free = {"val", "test"} - set(splits.values())
    if len(free) == 1:
        splits |= {word: next(iter(free)) for word, fold in folded.items() if fold in _EITHER}
    return splits


def why_no_split(word: str) -> str:
    """One clause on a word that means no split."""
    if not word:
        return "the split is missing"
    if _fold(word) in _EITHER:
        return f"the split '{word}' may mean val or test"
    near = nearest(word, SPLITS)
    return f"the split '{word}' is unknown" + (f", perhaps '{near}' is meant" if near else "")


def _fold(word: str) -> str:
    fold = _NO_LETTER.sub("", unicodedata.normalize("NFKC", word)).casefold()
    return fold if fold in _SPLIT_OF else _TAIL.sub("", fold)
