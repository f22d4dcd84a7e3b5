"""Whether the other packages are ours: `models`, `tasks` and `data_catalog` are names that other projects use too."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PACKAGES = ("tasks", "models", "data_catalog")
HOME = Path(__file__).resolve().parents[1]


class ShadowedPackage(ImportError):
    """A package or module of another project has the name of one of ours and is found first."""


def refuse_shadowed() -> None:
    """Make sure that the packages beside this one are those that Python finds.

    Raises:
        ShadowedPackage: another one is found first; as a program (`tubeflow`, `python -m flows.cli`) the sentence is
            printed without a traceback instead and the exit status is 1.
    """
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin == str(HOME / name / "__init__.py"):
            continue  # where there is none, Python's own message says so
        origin = Path(found.origin).resolve() if found.origin else None
        if origin == HOME / name / "__init__.py":
            continue  # through a link
        sentence = (
            f"Tubeflow's own package '{name}' is hidden: Python finds {found.origin or 'a folder without __init__.py'} "
            f"instead. Rename that one, or take its folder out of PYTHONPATH or the current directory; Tubeflow's lies "
            f"in {HOME}."
        )
        # `python -m` puts "-m" there until the module is found, which imports its package first.
        if sys.argv[:1] == ["-m"] or Path(sys.argv[0]).stem == "tubeflow":
            sys.exit(sentence)
        raise ShadowedPackage(sentence, name=name)
