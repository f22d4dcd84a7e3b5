"""Tubeflow for Python and notebooks: `import tubeflow`, then `tubeflow.Workspace(path)`; see docs/api.md.

Nothing but names: what they stand for is in `flows.api`, and imported when it is asked for. The `tubeflow` program
begins here as well, because `flows` is a name that others use as well: see docs/adr/0004-top-level-packages.md.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.api import (
        CompareResult,
        IngestResult,
        Masks,
        PlanResult,
        PredictResult,
        RunResult,
        TubeflowError,
        Tubes,
        Workspace,
    )

__all__ = [
    "CompareResult",
    "IngestResult",
    "Masks",
    "PlanResult",
    "PredictResult",
    "RunResult",
    "TubeflowError",
    "Tubes",
    "Workspace",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'tubeflow' has no attribute '{name}'; it has: {', '.join(__all__)}")
    if (sentence := _hidden()) is not None:
        raise ImportError(sentence)
    return getattr(importlib.import_module("flows.api"), name)


def __dir__() -> list[str]:
    return [*__all__, "main"]


def main() -> None:
    """Run the command line, or say in one sentence that another package called `flows` is in its way."""
    if (sentence := _hidden()) is not None:
        sys.exit(sentence)
    # Imported here because it must not be before the check.
    from flows.cli import app

    app()


def _hidden() -> str | None:
    """The sentence that says which package called `flows` comes before ours; None where ours is found."""
    home = Path(__file__).resolve().parents[1]
    found = importlib.util.find_spec("flows")
    # A namespace package (a folder without __init__.py) has no origin; ours, wherever it is installed, comes before it.
    if found is not None and found.origin is not None and (Path(found.origin).parent / "shadowed.py").is_file():
        return None
    where = "nowhere" if found is None else found.origin or ", ".join(found.submodule_search_locations or ())
    return (
        f"Tubeflow's own package 'flows' is hidden: Python finds {where} instead. Rename that one, or take its "
        f"folder out of PYTHONPATH; Tubeflow's lies in {home}."
    )
