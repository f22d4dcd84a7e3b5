"""Is this path a video of this folder? One directory listing per folder, so that a million rows are cheap."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from data_catalog.foreign_text import has_control, visible
from data_catalog.media.frame_folder import has_frames
from data_catalog.suggest import nearest

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".ts", ".wmv"})
SUGGESTIONS = 100  # of a file; searching a large folder for what is nearest to a name takes a while
SUGGESTED_AMONG = 5000  # names
_SPACE = re.compile(r"[\s\u200b-\u200d\u2060\ufeff]+")


@dataclass(frozen=True, slots=True)
class VideoPath:
    """A video file or image folder inside the root; `path` is relative to it, with ``/``."""

    path: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a path is not usable, and what to do."""

    reason: str
    remedy: str


class Missing(Refused):
    """There is no such file or folder."""


class VideoFinder:
    """Looks paths up under one root.

    The file of exactly the given name wins. Where there is none, a name that differs in Unicode form, white space,
    letter case, the direction of slashes, a missing extension or the root's own name before it is taken, provided
    that it is the only one.

    Symbolic links are followed only while they stay inside the root: a label file that somebody
    else wrote must not be able to name other files of this machine.

    Args:
        root: the folder.
        noun: what the paths lead to, for messages.
        column: the column that they stand in.

    Attributes:
        renamed: path as given → path as the folder has it, where they differ in more than the way to it.
    """

    def __init__(self, root: Path, noun: str = "video", column: str = "video") -> None:
        self._root = os.path.realpath(root)
        self._noun, self._column = noun, column
        self._folders: dict[str, dict[str, str] | Refused] = {}
        self._folded: dict[tuple[str, Callable[[str], str]], dict[str, list[str]]] = {}
        self._suggestions = SUGGESTIONS
        self.renamed: dict[str, str] = {}

    def find(self, given: str) -> VideoPath | Refused:
        """Locate `given`, a path relative to the root or an absolute one that lies inside it."""
        if has_control(given):
            return Refused(
                f"the {self._noun} path '{visible(given)}' holds a control character",
                f"correct the {self._column} column",
            )
        relative = self._relative(given)
        if relative is None and "\\" not in given:
            return self._leaves(given)
        exact = self._exact(relative) if relative is not None else None
        if isinstance(exact, VideoPath) or (exact is not None and not isinstance(exact, Missing)):
            return exact
        for spelling in self._spellings(given):
            like = self._alike(spelling)
            if isinstance(like, Refused):
                return like
            if like is not None:
                answer = self._exact(like)
                if isinstance(answer, VideoPath):
                    self.renamed[given] = answer.path
                return answer
        if exact is None:
            return self._leaves(given)
        return self._with_suggestion(exact, relative or "")

    @property
    def _folder_name(self) -> str:
        return f"{self._noun}s folder"

    def _leaves(self, given: str) -> Refused:
        return Refused(
            f"the {self._noun} path '{given}' leaves the {self._folder_name}", f"move the {self._noun} inside it"
        )

    def _exact(self, relative: str) -> VideoPath | Refused:
        parent, _, name = relative.rpartition("/")
        folder = self._folder(parent)
        if isinstance(folder, Refused):
            return folder
        kind = folder.get(name)
        if kind == "outside":
            return Refused(
                f"the {self._noun} '{relative}' is a link that leaves the {self._folder_name}",
                "point --videos at the real folder or copy the file into this one",
            )
        if kind == "file":
            return VideoPath(relative)
        if kind == "dir":
            return self._image_folder(relative)
        if kind is None:
            return Missing(f"the {self._noun} '{relative}' does not exist", "add the file or remove the row")
        return Refused(
            f"the {self._noun} '{relative}' is neither a file nor a folder", f"correct the {self._column} column"
        )

    def _spellings(self, given: str) -> Iterable[str]:
        """`given` with slashes, as it stands and without the root's own name before it."""
        relative = self._relative(given.replace("\\", "/"))
        if relative is None:
            return
        yield relative
        first, _, rest = relative.partition("/")
        if rest and fold_path(first) == fold_path(os.path.basename(self._root)):
            yield rest

    def _alike(self, relative: str) -> str | Refused | None:
        """The only path that folds to the same as `relative`, folder by folder; None where there is none."""
        found = ""
        parts = relative.split("/")
        for place, part in enumerate(parts):
            folder = self._folder(found)
            if isinstance(folder, Refused):
                return None
            if part in folder:
                name = part
            else:
                last = place == len(parts) - 1
                names = self._names_like(found, part, (fold_path, fold_stem) if last else (fold_path,))
                if not names:
                    return None
                if len(names) > 1:
                    several = " or ".join(f"'{name}'" for name in sorted(names)[:3])
                    sentence = f"the {self._noun} '{relative}' may be {several}"
                    return Refused(sentence, "write the name of one of them")
                name = names[0]
            found = f"{found}/{name}" if found else name
        return found

    def _names_like(self, parent: str, name: str, folds: Iterable[Callable[[str], str]]) -> list[str]:
        for fold in folds:
            if (parent, fold) not in self._folded:
                folded: dict[str, list[str]] = {}
                folder = self._folder(parent)
                for entry in () if isinstance(folder, Refused) else folder:
                    folded.setdefault(fold(entry), []).append(entry)
                self._folded[parent, fold] = folded
            names = self._folded[parent, fold].get(fold(name), [])
            # One of two extensions may be missing, but another extension is another file.
            if fold is fold_stem:
                names = [entry for entry in names if not (_suffix(name) and _suffix(entry))]
            if names:
                return names
        return []

    def _with_suggestion(self, refused: Refused, relative: str) -> Refused:
        parent, _, name = relative.rpartition("/")
        folder = self._folder(parent)
        if isinstance(folder, Refused) or not self._suggestions or len(folder) > SUGGESTED_AMONG:
            return refused
        self._suggestions -= 1
        names = {entry.lower(): entry for entry in folder}
        near = nearest(name, names)
        if near is None:
            return refused
        path = f"{parent}/{names[near]}" if parent else names[near]
        return Refused(refused.reason, f"did you mean '{visible(path)}'? Otherwise {refused.remedy}")

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
                f"the folder '{parent}' is a link that leaves the {self._folder_name}",
                "point --videos at the real folder or copy the files into this one",
            )
        try:
            with os.scandir(absolute) as entries:
                return {entry.name: self._kind(entry) for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return Missing(f"the folder '{parent}' does not exist", f"add it or correct the {self._column} column")
        except PermissionError:
            return Refused(f"the folder '{parent}' may not be read", "allow reading it (chmod u+rx)")
        except OSError as exc:  # such as a name that is too long
            sentence = f"the folder '{parent[:60]}' can't be read ({exc.strerror})"
            return Refused(sentence, f"correct the {self._column} column")

    def _kind(self, entry: os.DirEntry[str]) -> str:
        if entry.is_symlink() and not _inside(os.path.realpath(entry.path), self._root):
            return "outside"
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "dir"
        # A dangling link is a missing file for the user, whatever the file system calls it.
        return "other" if os.path.exists(entry.path) else "gone"

    def _image_folder(self, relative: str) -> VideoPath | Refused:
        if self._noun != "video":
            sentence = f"the {self._noun} '{relative}' is a folder, not a file"
            return Refused(sentence, f"correct the {self._column} column")
        if has_frames(os.path.join(self._root, relative)):
            return VideoPath(relative)
        return Refused(f"the folder '{relative}' holds no images", "extract the frames into it as .jpg or .png")


def fold_path(name: str) -> str:
    """A file's name without Unicode form, letter case and white space, invisible characters among it."""
    return _SPACE.sub("", unicodedata.normalize("NFKC", name)).casefold()


def fold_stem(name: str) -> str:
    """As `fold_path`, also without a video's extension."""
    return fold_path(name).removesuffix(_suffix(name))


def _suffix(name: str) -> str:
    """The video's extension that a folded name ends with, or empty text."""
    suffix = os.path.splitext(fold_path(name))[1]
    return suffix if suffix in VIDEO_SUFFIXES else ""


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
