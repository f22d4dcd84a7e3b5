"""The `tubeflow` program.

It is a module of its own because `flows` is a name that others use as well: see docs/adr/0004-top-level-packages.md.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main() -> None:
    """Run the command line, or say in one sentence that another package called `flows` is in its way."""
    home = Path(__file__).resolve().parent
    found = importlib.util.find_spec("flows")
    # A namespace package (a folder without __init__.py) has no origin; ours, wherever it is installed, comes before it.
    if found is None or found.origin is None or not (Path(found.origin).parent / "shadowed.py").is_file():
        where = "nowhere" if found is None else found.origin or ", ".join(found.submodule_search_locations or ())
        sys.exit(
            f"Tubeflow's own package 'flows' is hidden: Python finds {where} instead. Rename that one, or take its "
            f"folder out of PYTHONPATH; Tubeflow's lies in {home}."
        )
    # Imported here because it must not be before the check.
    from flows.cli import app

    app()


if __name__ == "__main__":
    main()
