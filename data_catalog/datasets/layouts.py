"""Finds the numbered videos and frame folders of a published dataset, however its users have padded the numbers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data_catalog.datasets.paths import VIDEO_SUFFIXES
from data_catalog.media.frame_folder import has_images, is_image

Key = tuple[int, ...]
_NUMBERS = re.compile(r"\d+(?:[_-]\d+)?")


@dataclass(frozen=True, slots=True)
class Media:
    """A video file or a folder of images; `path` is relative to the dataset root."""

    path: str
    is_folder: bool


def find_numbered(root: Path, places: Iterable[str]) -> dict[Key, Media]:
    """Every entry named by one or two numbers in the `places` below `root`: ``01.mp4`` → (1,), ``01_191`` → (1, 191).

    Numbers are compared as numbers, so two- and three-digit names are the same. Nested folders
    (``01/07``) count as two numbers when the outer one holds no images itself. Where two entries
    have the same numbers the earlier place wins.
    """
    found: dict[Key, Media] = {}
    for place in dict.fromkeys(places):
        folder = root / place
        if not folder.is_dir():
            continue
        for name in sorted(os.listdir(folder)):
            _add(found, root, folder / name)
    return found


def _add(found: dict[Key, Media], root: Path, entry: Path, outer: Key = ()) -> None:
    is_folder = entry.is_dir()
    stem = entry.name if is_folder else entry.stem
    if not _NUMBERS.fullmatch(stem) or (not is_folder and entry.suffix.lower() not in VIDEO_SUFFIXES):
        return
    key = (*outer, *(int(part) for part in re.split("[_-]", stem)))
    if is_folder and not has_images(entry):
        if not outer and len(key) == 1:
            for name in sorted(os.listdir(entry)):
                _add(found, root, entry / name, key)
        return
    found.setdefault(key, Media(entry.relative_to(root).as_posix(), is_folder))


def count_images(folder: Path) -> int:
    """Number of image files directly in `folder`."""
    with os.scandir(folder) as entries:
        return sum(is_image(entry.name) for entry in entries)


def find_file(root: Path, places: Iterable[str], names: Iterable[str]) -> Path | None:
    """The first of `names` that exists in the first of `places` below `root`, letter case ignored."""
    wanted = [name.lower() for name in names]
    for place in places:
        folder = root / place
        if not folder.is_dir():
            continue
        here = {name.lower(): name for name in sorted(os.listdir(folder), reverse=True)}
        for name in wanted:
            if name in here and (folder / here[name]).is_file():
                return folder / here[name]
    return None


def abridge(names: Iterable[str], shown: int = 3) -> str:
    """``a, b, c and 9 more``: a list short enough for one sentence."""
    everything = list(names)
    rest = len(everything) - shown
    return ", ".join(everything[:shown]) + (f" and {rest} more" if rest > 0 else "")


def find_image_folder(root: Path, candidates: Iterable[str]) -> str:
    """The first candidate below `root` that is a folder with images, or empty text.

    For names that the adapter has checked to be plain; links are followed, since large datasets
    are often linked in from another disk.
    """
    for candidate in candidates:
        if (root / candidate).is_dir() and has_images(root / candidate):
            return Path(candidate).as_posix()
    return ""
