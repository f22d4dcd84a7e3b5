"""What becomes of a file on a bad day, whatever is in it."""

import os
from pathlib import Path


def truncate(path: Path) -> None:
    """Cut it in half."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    """Nothing is left in it."""
    os.truncate(path, 0)


def folder(path: Path) -> None:
    """A folder in its place, with something in it."""
    path.unlink()
    path.mkdir()
    (path / "something").write_text("in it")


def link(path: Path) -> None:
    """A link in its place, to where it is now."""
    elsewhere = path.parent / f"elsewhere-{path.name}.txt"
    path.symlink_to(path.rename(elsewhere))


def pipe(path: Path) -> None:
    """A pipe in its place, without a writer."""
    path.unlink()
    os.mkfifo(path)
