"""Finds the weight files that a user names by path or by name; downloads nothing."""

from collections.abc import Sequence
from pathlib import Path


class WeightsNotFound(ValueError):
    """Weights that a detector or tracker needs are not given or not there; the message says where to put them."""


def find_weights(
    what: str, weights: Path | str | None, suffixes: Sequence[str], search: Sequence[Path] = (), hint: str = ""
) -> list[Path]:
    """The files `weights + suffix`, one for each suffix.

    Args:
        what: who needs them, for the message, such as "tracker nano".
        weights: a path (prefix), or a bare name that is looked for in `search` too.
        suffixes: ends of the file names; ("",) where `weights` names the file itself.
        search: folders, the first that holds all files wins.
        hint: where such files come from.

    Raises:
        WeightsNotFound: none given, or no folder holds all of them.
    """
    ends = " and ".join(f"NAME{suffix}" for suffix in suffixes)
    if weights is None or str(weights) == "":
        raise WeightsNotFound(f"The {what} needs weights: set `weights` to the path or name of {ends}. {hint}".strip())
    given = Path(weights).expanduser()
    bare = given.parent == Path(".")
    folders = [Path(), *search] if bare else [Path()]
    for folder in folders:
        files = [folder / given.parent / (given.name + suffix) for suffix in suffixes]
        if all(file.is_file() for file in files):
            return files
    names = " and ".join(given.name + suffix for suffix in suffixes)
    tried = ", ".join(str((folder / given).parent) for folder in folders)
    raise WeightsNotFound(
        f"The {what} needs {names}, not found in {tried}: put the file there or give its path. {hint}".strip()
    )
