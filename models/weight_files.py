"""Checks that the weight files of a detector or tracker are there; names are resolved, and files pulled, elsewhere."""

from collections.abc import Sequence
from pathlib import Path


class WeightsNotFound(ValueError):
    """Weights that a detector or tracker needs are not given or not there; the message says where to put them."""


def find_weights(what: str, weights: Path | str | None, suffixes: Sequence[str], hint: str = "") -> list[Path]:
    """The files `weights + suffix`, one for each suffix.

    Args:
        what: who needs them, for the message, such as "tracker nano".
        weights: a path, or what the paths of several files have in common.
        suffixes: ends of the file names; ("",) where `weights` is the file itself.
        hint: where such files come from.

    Raises:
        WeightsNotFound: none given, or a file is missing.
    """
    if weights is None or str(weights) == "":
        ends = " and ".join(f"NAME{suffix}" for suffix in suffixes)
        raise WeightsNotFound(f"The {what} needs weights: set `weights` to the path or name of {ends}. {hint}".strip())
    given = Path(weights).expanduser()
    files = [given.with_name(given.name + suffix) for suffix in suffixes]
    if all(file.is_file() for file in files):
        return files
    names = " and ".join(file.name for file in files)
    raise WeightsNotFound(
        f"The {what} needs {names}, not found in {given.parent}: put the file there or give its path. {hint}".strip()
    )
