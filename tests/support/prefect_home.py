"""A home for Prefect whose database is there already: to make its tables takes eight processor seconds each time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import prefect

from data_catalog.locks import hold_lock
from tests.support import REPO

_KEPT = REPO / ".pytest_cache" / f"prefect-{prefect.__version__}"   # for the next test runs too


def prefect_home(folder: Path) -> Path:
    """`folder`; where it isn't a home yet, it is made one in whose database Prefect has nothing to change."""
    if (folder / "prefect.db").exists():
        return folder
    _KEPT.mkdir(parents=True, exist_ok=True)
    with (_KEPT / "lock").open("a") as lock:
        hold_lock(lock)
        if not (_KEPT / "home").is_dir():
            _make(_KEPT / "home")
    return Path(shutil.copytree(_KEPT / "home", folder, dirs_exist_ok=True))


def _make(home: Path) -> None:
    """As `prefect server start` does it, in a process that ends: only then all is in the one file."""
    unfinished = home.with_name("unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(unfinished), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    subprocess.run(command, cwd=REPO, env=environment, check=True, capture_output=True)
    unfinished.rename(home)
