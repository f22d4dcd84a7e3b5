"""What can be wrong with a file that a user gave us, or that a workspace keeps."""

from __future__ import annotations

from pathlib import Path


class BadVideo(Exception):
    """A video, image folder or stored frame that cannot be read; no retry will mend it.

    Args:
        reason: one plain sentence naming the file and what is wrong with it.
        remedy: what the user can do about it, as an imperative sentence.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason} {remedy}")
        self.reason = reason
        self.remedy = remedy


class ArtifactDamaged(Exception):
    """A file of the workspace is there but not what was written; the message is one plain sentence."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} {what}; it will be made again.")
        self.path, self.what = path, what

    def __reduce__(self) -> tuple[type[ArtifactDamaged], tuple[Path, str]]:
        return type(self), (self.path, self.what)  # so that it comes back whole from another process


class CatalogError(Exception):
    """Something that the user can put right; the message is one plain sentence with the remedy."""


class DatasetError(ValueError):
    """The dataset as a whole cannot be read; the message is one plain sentence with the remedy."""


def os_sentence(exc: OSError) -> str:
    """What the operating system refused, and what to do (disk full, permission denied, and such)."""
    place = f"{exc.filename}: " if exc.filename else ""
    if isinstance(exc, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        return f"{place}{exc.strerror or exc}. Check the path."
    return f"{place}{exc.strerror or exc}. Free the disk or the permissions, then run again; what is done is kept."
