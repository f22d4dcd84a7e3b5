"""Whether the user named a Prefect server, told without Prefect wherever that can be: it takes seconds to import.

Prefect has the address from a variable, from the profiles in its home folder, or from `prefect.toml`, `.env` and
`pyproject.toml` in the current folder. Where none of them is about servers, none is named; where one is, Prefect says.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tomllib
from pathlib import Path

OURS: list[str] = []
"""The address of this process's own server, while it runs."""


def server_is_named() -> bool:
    """Whether the user named a Prefect server (`PREFECT_API_URL`, a profile); ours doesn't count."""
    if OURS or ("prefect.settings" not in sys.modules and not _can_be_named()):
        return False
    from prefect.settings import get_current_settings

    return bool(get_current_settings().api.url)


def _can_be_named() -> bool:
    """False only where Prefect could read of no server anywhere."""
    variables = {name.upper(): value for name, value in os.environ.items()}
    if variables.get("PREFECT_API_URL"):
        return True
    if Path("prefect.toml").exists() or _mentions(Path(".env"), "prefect") or _has_settings(Path("pyproject.toml")):
        return True
    home = Path(variables.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    profiles = variables.get("PREFECT_PROFILES_PATH") or home / "profiles.toml"
    return _mentions(Path(profiles), "api_url")


def _mentions(file: Path, words: str) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return words in file.read_text(encoding="utf-8", errors="replace").lower()
    return False


def _has_settings(file: Path) -> bool:
    """Whether a pyproject.toml has a table for Prefect; one that can't be read may have."""
    try:
        return "prefect" in tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError):
        return True
