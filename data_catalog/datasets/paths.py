"""Is this path a video of this folder? One directory listing per folder, so that a million rows are cheap."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from data_catalog.media.frame_folder import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".ts", ".wmv"})


@dataclass(frozen=True, slots=True)
class Found:
    """A video file or image folder inside the root; `path` is relative to it, with ``/``."""

    path: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a path is not usable, and what to do."""

    reason: str
    remedy: str


class VideoFinder:
    """Looks paths up under one root.

    Symbolic links are followed only while they stay inside the root: a label file that somebody
    else wrote must not be able to name other files of this machine.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._folders: dict[str, dict[str, str] | Refused] = {}

    def find(self, given: str) -> Found | Refused:
        """Locate `given`, a path relative to the root or an absolute one that lies inside it."""
        if not given.isprintable():
            return Refused(f"the video path {given!r} holds a control character", "correct the video column")
        relative = self._relative(given)
        if relative is None:
            return Refused(f"the video path '{given}' leaves the videos folder", "move the video inside it")
        parent, _, name = relative.rpartition("/")
        folder = self._folder(parent)
        if isinstance(folder, Refused):
            return folder
        kind = folder.get(name)
        if kind == "outside":
            return Refused(
                f"the video '{relative}' is a link that leaves the videos folder",
                "point --videos at the real folder or copy the file into this one",
            )
        if kind == "file":
            return Found(relative)
        if kind == "dir":
            return self._image_folder(relative)
        if kind is None:
            return Refused(f"the video '{relative}' does not exist", "add the file or remove the row")
        return Refused(f"the video '{relative}' is neither a file nor a folder", "correct the video column")

    def _relative(self, given: str) -> str | None:
        plain = not given.startswith("/") and "//" not in given and "." not in given.split("/")
        if plain and ".." not in given and given and not given.endswith("/"):
            return given
        absolute = os.path.normpath(os.path.join(self._root, given))
        if absolute.startswith(self._root + os.sep):
            return os.path.relpath(absolute, self._root).replace(os.sep, "/")
        # An absolute path may spell the same folder through a link of its own.
        parent = os.path.realpath(os.path.dirname(absolute))
        if os.path.isabs(given) and _inside(parent, self._root):
            return os.path.relpath(os.path.join(parent, os.path.basename(absolute)), self._root).replace(os.sep, "/")
        return None

    def _folder(self, parent: str) -> dict[str, str] | Refused:
        if parent not in self._folders:
            self._folders[parent] = self._list(parent)
        return self._folders[parent]

    def _list(self, parent: str) -> dict[str, str] | Refused:
        absolute = os.path.join(self._root, parent)
        if not _inside(os.path.realpath(absolute), self._root):
            return Refused(
                f"the folder '{parent}' is a link that leaves the videos folder",
                "point --videos at the real folder or copy the files into this one",
            )
        try:
            with os.scandir(absolute) as entries:
                return {entry.name: self._kind(entry) for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return Refused(f"the folder '{parent}' does not exist", "add it or correct the video column")
        except PermissionError:
            return Refused(f"the folder '{parent}' may not be read", "allow reading it (chmod u+rx)")

    def _kind(self, entry: os.DirEntry[str]) -> str:
        if entry.is_symlink() and not _inside(os.path.realpath(entry.path), self._root):
            return "outside"
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "dir"
        # A dangling link is a missing file for the user, whatever the file system calls it.
        return "other" if os.path.exists(entry.path) else "gone"

    def _image_folder(self, relative: str) -> Found | Refused:
        if has_images(os.path.join(self._root, relative)):
            return Found(relative)
        return Refused(f"the folder '{relative}' holds no images", "extract the frames into it as .jpg or .png")


def has_images(folder: str | Path) -> bool:
    """Whether `folder` directly holds at least one image file; stops at the first."""
    with os.scandir(folder) as entries:
        return any(is_image(entry.name) for entry in entries)


def is_image(name: str) -> bool:
    """Whether a file of this name counts as a frame; hidden files (macOS leaves ``._img.jpg``) do not."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
